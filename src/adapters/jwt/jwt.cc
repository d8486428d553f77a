#include "adapters/jwt/jwt.h"

#include <algorithm>
#include <utility>

#include "adapters/jwt/key.h"
#include "adapters/jwt/members.h"
#include "domain/ids.h"

namespace doorbuster::jwt {
namespace {

constexpr std::size_t kKeyIdMax = 256; // bytes; an issuer's are digests or dates

// The three parts of a token as sent, and what the signature covers.
struct Parts {
    std::string_view header;
    std::string_view claims;
    std::string_view signature;
    std::string_view signed_text;
};

std::optional<Parts> split(std::string_view token) {
    if (token.empty() || token.size() > kTokenBytesMax) return std::nullopt;
    const std::size_t first = token.find('.');
    if (first == std::string_view::npos) return std::nullopt;
    const std::size_t second = token.find('.', first + 1);
    if (second == std::string_view::npos) return std::nullopt;
    Parts parts{token.substr(0, first), token.substr(first + 1, second - first - 1),
                token.substr(second + 1), token.substr(0, second)};
    if (parts.header.empty() || parts.claims.empty() || parts.signature.empty()) {
        return std::nullopt;
    }
    return parts;
}

std::optional<Members> decode_members(std::string_view part) {
    const auto text = decode_base64url(part);
    return text ? Members::parse(*text) : std::nullopt;
}

const std::string* text_of(const Members& members, std::string_view name) {
    const MemberValue* value = members.find(name);
    return value == nullptr ? nullptr : std::get_if<std::string>(value);
}

const double* number_of(const Members& members, std::string_view name) {
    const MemberValue* value = members.find(name);
    return value == nullptr ? nullptr : std::get_if<double>(value);
}

auto refuse(const char* why) { return fail(Errc::invalid, why); }

bool is_for(const Members& claims, const std::string& audience) {
    const MemberValue* value = claims.find("aud");
    if (value == nullptr) return false;
    if (const auto* text = std::get_if<std::string>(value)) return *text == audience;
    const auto* list = std::get_if<std::vector<std::string>>(value);
    return list != nullptr && std::ranges::find(*list, audience) != list->end();
}

} // namespace

struct Verifier::State {
    std::vector<Key> keys;
    std::optional<std::string> issuer;
    std::optional<std::string> audience;
    double leeway_s = 0;

    [[nodiscard]] Result<std::string> check_claims(const Members& claims, TimePoint now) const;
};

// Seconds as doubles: NumericDate may have a fraction (RFC 7519 section 2), and no value overflows.
Result<std::string> Verifier::State::check_claims(const Members& claims, TimePoint now) const {
    const double now_s = static_cast<double>(now.time_since_epoch().count()) / 1000.0;
    const double* expires = number_of(claims, "exp");
    if (expires == nullptr) return refuse("the token has no exp");
    if (now_s >= *expires + leeway_s) return refuse("the token has expired");
    if (claims.find("nbf") != nullptr) {
        const double* not_before = number_of(claims, "nbf");
        if (not_before == nullptr) return refuse("the token's nbf is not a number");
        if (now_s + leeway_s < *not_before) return refuse("the token is not valid yet");
    }
    if (issuer) {
        const std::string* given = text_of(claims, "iss");
        if (given == nullptr || *given != *issuer) return refuse("the token's iss is another");
    }
    if (audience && !is_for(claims, *audience)) return refuse("the token's aud is another");
    const std::string* subject = text_of(claims, "sub");
    if (subject == nullptr || !is_user_id(*subject)) return refuse("the token's sub is no user id");
    return *subject;
}

Verifier::Verifier(std::unique_ptr<State> state) : state_(std::move(state)) {}
Verifier::Verifier(Verifier&&) noexcept = default;
Verifier& Verifier::operator=(Verifier&&) noexcept = default;
Verifier::~Verifier() = default;

Result<Verifier> Verifier::create(const Options& options) {
    auto state = std::make_unique<State>();
    for (std::size_t i = 0; i < options.keys.size(); ++i) {
        auto keys = read_keys(options.keys[i]);
        if (!keys) {
            return fail(Errc::invalid,
                        "key " + std::to_string(i + 1) + ": " + keys.error().context);
        }
        std::ranges::move(*keys, std::back_inserter(state->keys));
    }
    if (state->keys.empty()) return fail(Errc::invalid, "there is no key to check tokens with");
    state->issuer = options.issuer;
    state->audience = options.audience;
    state->leeway_s = static_cast<double>(options.leeway_s);
    return Verifier(std::move(state));
}

Result<std::string> Verifier::verify(std::string_view token, TimePoint now) const {
    const auto parts = split(token);
    if (!parts) return refuse("not a token of three parts in at most 8 KiB");
    const auto header = decode_members(parts->header);
    if (!header) return refuse("the token's header cannot be read");
    const std::string* name = text_of(*header, "alg");
    const auto algorithm = name == nullptr ? std::nullopt : algorithm_of(*name);
    if (!algorithm) return refuse("the token's alg is not HS256, RS256, ES256 or EdDSA");
    // We understand no extension, so one that must be understood refuses the token (RFC 7515
    // section 4.1.11).
    if (header->find("crit") != nullptr) return refuse("the token has a crit header");
    const std::string* id = text_of(*header, "kid");
    if (header->find("kid") != nullptr && (id == nullptr || id->size() > kKeyIdMax)) {
        return refuse("the token's kid is not a key id");
    }
    const auto signature = decode_base64url(parts->signature);
    if (!signature) return refuse("the token's signature cannot be read");
    const auto may_have_signed = [&](const Key& key) {
        return key.algorithm() == *algorithm && key.fits(signature->size()) &&
               (id == nullptr || key.id().empty() || key.id() == *id);
    };
    if (std::ranges::none_of(state_->keys, may_have_signed)) {
        return refuse("no key fits the token's alg, kid and signature");
    }
    const auto claims = decode_members(parts->claims);
    if (!claims) return refuse("the token's claims cannot be read");
    auto user = state_->check_claims(*claims, now);
    if (!user) return user;
    for (const Key& key : state_->keys) {
        if (may_have_signed(key) && key.signed_this(parts->signed_text, *signature)) return user;
    }
    return refuse("the token's signature is wrong");
}

} // namespace doorbuster::jwt
