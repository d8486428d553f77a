#include "adapters/jwt/key.h"

#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <iterator>
#include <rhonabwy.h>
#include <system_error>
#include <utility>

#include "adapters/jwt/jwt.h"

namespace doorbuster::jwt {
namespace {

namespace json = boost::json;

constexpr std::size_t kSha256Bytes = 32;
constexpr std::size_t kPairBytes = 64;             // ES256 and Ed25519: two numbers of 32 bytes
constexpr unsigned kRsaBitsMax = 16'384;           // above, one check takes milliseconds
constexpr std::size_t kFileBytesMax = 1024 * 1024; // far above any set of keys
constexpr std::size_t kKeysMax = 64;               // a token may be tried with each of them

struct FreeJwk {
    void operator()(jwk_t* jwk) const { r_jwk_free(jwk); }
};
using Jwk = std::unique_ptr<jwk_t, FreeJwk>;

Jwk make_jwk() {
    // Once a process; a function's static is initialised by one thread.
    static const int initialised = r_global_init();
    jwk_t* jwk = nullptr;
    if (initialised != RHN_OK || r_jwk_init(&jwk) != RHN_OK) return nullptr;
    return Jwk(jwk);
}

std::string_view property(jwk_t* jwk, const char* name) {
    const char* text = r_jwk_get_property_str(jwk, name);
    return text == nullptr ? std::string_view() : std::string_view(text);
}

gnutls_datum_t datum(std::string_view bytes) {
    gnutls_datum_t out{};
    // GnuTLS reads through these pointers only, but its struct has no const.
    out.data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
    out.size = static_cast<unsigned>(bytes.size());
    return out;
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kSpaces = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kSpaces);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

Result<std::string> read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::string text(kFileBytesMax + 1, '\0');
    if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!in.is_open() || in.bad()) return fail(Errc::invalid, "cannot read " + path);
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > kFileBytesMax) return fail(Errc::invalid, path + " is too long for keys");
    return text;
}

// A key of a set that is for something else than what we do: passed over there, an error alone.
enum class Fit : std::uint8_t { ours, for_something_else };

} // namespace

void Key::Close::operator()(gnutls_pubkey_st* key) const { gnutls_pubkey_deinit(key); }

std::optional<Algorithm> algorithm_of(std::string_view name) {
    for (const Algorithm algorithm :
         {Algorithm::hs256, Algorithm::rs256, Algorithm::es256, Algorithm::eddsa}) {
        if (name == to_string(algorithm)) return algorithm;
    }
    return std::nullopt;
}

const char* to_string(Algorithm algorithm) {
    switch (algorithm) {
    case Algorithm::hs256: return "HS256";
    case Algorithm::rs256: return "RS256";
    case Algorithm::es256: return "ES256";
    case Algorithm::eddsa: return "EdDSA";
    }
    return "";
}

bool Key::fits(std::size_t signature_bytes) const { return signature_bytes == signature_bytes_; }

bool Key::signed_this(std::string_view text, std::string_view signature) const {
    if (!fits(signature.size())) return false;
    const gnutls_datum_t data = datum(text);
    const gnutls_datum_t given = datum(signature);
    const auto check = [&](gnutls_sign_algorithm_t how, const gnutls_datum_t& what) {
        return gnutls_pubkey_verify_data2(public_key_.get(), how, 0, &data, &what) >= 0;
    };
    switch (algorithm_) {
    case Algorithm::hs256: {
        std::array<unsigned char, kSha256Bytes> expected{};
        return gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret_.data(), secret_.size(), text.data(),
                                text.size(), expected.data()) >= 0 &&
               gnutls_memcmp(expected.data(), signature.data(), expected.size()) == 0;
    }
    case Algorithm::rs256: return check(GNUTLS_SIGN_RSA_SHA256, given);
    case Algorithm::eddsa: return check(GNUTLS_SIGN_EDDSA_ED25519, given);
    case Algorithm::es256: {
        // A token has r and s side by side (RFC 7518 section 3.4), GnuTLS takes them in DER.
        const gnutls_datum_t r = datum(signature.substr(0, kPairBytes / 2));
        const gnutls_datum_t s = datum(signature.substr(kPairBytes / 2));
        gnutls_datum_t der{};
        if (gnutls_encode_rs_value(&der, &r, &s) < 0) return false;
        const bool valid = check(GNUTLS_SIGN_ECDSA_SHA256, der);
        gnutls_free(der.data);
        return valid;
    }
    }
    return false;
}

// Reads the keys of one item, whatever form it has.
class KeyReader {
public:
    [[nodiscard]] Result<std::vector<Key>> read(std::string_view item) {
        std::string content;
        item = trimmed(item);
        if (constexpr std::string_view kFile = "file:"; item.starts_with(kFile)) {
            auto text = read_file(std::string(item.substr(kFile.size())));
            if (!text) return tl::unexpected<Error>(text.error());
            content = std::move(*text);
            item = trimmed(content);
        }
        Result<void> done = read_content(item);
        if (!done) return tl::unexpected<Error>(done.error());
        if (keys_.empty()) return fail(Errc::invalid, "no key for HS256, RS256, ES256 or EdDSA");
        if (keys_.size() > kKeysMax) return fail(Errc::invalid, "more than 64 keys");
        return std::move(keys_);
    }

private:
    [[nodiscard]] Result<void> read_content(std::string_view item) {
        constexpr std::string_view kSecret = "hs256:";
        if (item.starts_with(kSecret)) {
            return add_secret(std::string(item.substr(kSecret.size())), "");
        }
        if (item.starts_with("-----BEGIN ")) return read_pems(item);
        if (item.starts_with('{') || item.starts_with('[')) return read_json(item);
        if (const char* what = public_thing(item)) {
            return fail(Errc::invalid, std::string(what) + ", no HS256 secret");
        }
        return add_secret(std::string(item), "");
    }

    // Text that is a secret only by mistake: others know it or can guess it, and could sign with
    // it. Null: none of these.
    [[nodiscard]] static const char* public_thing(std::string_view item) {
        const std::string text(item);
        if (item.find("BEGIN ") != std::string_view::npos ||
            item.find("-----END ") != std::string_view::npos) {
            return "damaged PEM text";
        }
        if (item.find("\"kty\"") != std::string_view::npos) return "a damaged JWK";
        if (item.find("://") != std::string_view::npos) return "an address";
        std::error_code error;
        if (item.starts_with('/') || std::filesystem::exists(text, error)) {
            return "a path (write file:PATH)";
        }
        return is_bare_public_key(item) ? "a public key without its PEM frame" : nullptr;
    }

    [[nodiscard]] static bool is_bare_public_key(std::string_view item) {
        const gnutls_datum_t text = datum(item);
        gnutls_datum_t der{};
        if (gnutls_base64_decode2(&text, &der) < 0) return false;
        gnutls_pubkey_t key = nullptr;
        gnutls_x509_crt_t certificate = nullptr;
        const bool is_key = gnutls_pubkey_init(&key) >= 0 &&
                            gnutls_pubkey_import(key, &der, GNUTLS_X509_FMT_DER) >= 0;
        const bool is_certificate =
            gnutls_x509_crt_init(&certificate) >= 0 &&
            gnutls_x509_crt_import(certificate, &der, GNUTLS_X509_FMT_DER) >= 0;
        gnutls_pubkey_deinit(key);
        gnutls_x509_crt_deinit(certificate);
        gnutls_free(der.data);
        return is_key || is_certificate;
    }

    // One block or several, one after the other.
    [[nodiscard]] Result<void> read_pems(std::string_view text) {
        while (!text.empty()) {
            const std::size_t next = text.find("-----BEGIN ", 1);
            const std::string_view block = trimmed(text.substr(0, next));
            text.remove_prefix(next == std::string_view::npos ? text.size() : next);
            if (block.find("PRIVATE KEY-----") != std::string_view::npos) return is_private();
            const bool certificate = block.starts_with("-----BEGIN CERTIFICATE-----");
            const Jwk jwk = make_jwk();
            if (!jwk || r_jwk_import_from_pem_der(
                            jwk.get(), certificate ? R_X509_TYPE_CERTIFICATE : R_X509_TYPE_PUBKEY,
                            R_FORMAT_PEM, reinterpret_cast<const unsigned char*>(block.data()),
                            block.size()) != RHN_OK) {
                return fail(Errc::invalid, "the PEM text is not a public key or certificate");
            }
            // A key id that the library makes up for PEM is not one that an issuer writes.
            auto fit = add_jwk(jwk.get(), "");
            if (!fit) return tl::unexpected<Error>(fit.error());
            if (*fit != Fit::ours) return is_for_something_else();
        }
        return {};
    }

    [[nodiscard]] Result<void> read_json(std::string_view text) {
        json::error_code error;
        const json::value root = json::parse(text, error);
        if (error || !root.is_object()) return fail(Errc::invalid, "the JSON text is not valid");
        const json::value* set = root.as_object().if_contains("keys");
        if (set == nullptr) {
            auto fit = read_jwk(root);
            if (!fit) return tl::unexpected<Error>(fit.error());
            return *fit == Fit::ours ? Result<void>() : is_for_something_else();
        }
        if (!set->is_array()) return fail(Errc::invalid, "\"keys\" is not a list");
        for (const json::value& item : set->as_array()) {
            const auto fit = read_jwk(item);
            if (!fit) return tl::unexpected<Error>(fit.error());
        }
        return {};
    }

    [[nodiscard]] Result<Fit> read_jwk(const json::value& value) {
        if (!value.is_object()) return fail(Errc::invalid, "a JWK is not an object");
        const json::object& members = value.as_object();
        const auto text_of = [&](std::string_view name) {
            const json::value* member = members.if_contains(name);
            return member != nullptr && member->is_string() ? std::string(member->as_string())
                                                            : std::string();
        };
        const std::string type = text_of("kty");
        const std::string use = text_of("use");
        const std::string algorithm = text_of("alg");
        if (!use.empty() && use != "sig") return Fit::for_something_else;
        if (!algorithm.empty() && !algorithm_of(algorithm)) return Fit::for_something_else;
        if (type != "oct" && type != "RSA" && type != "EC" && type != "OKP") {
            return Fit::for_something_else;
        }
        if (type != "oct" && members.contains("d")) {
            const Result<void> refused = is_private();
            return tl::unexpected<Error>(refused.error());
        }
        const std::size_t before = keys_.size();
        auto fit = type == "oct" ? read_oct(text_of("k"), text_of("kid"))
                                 : read_public(json::serialize(value), text_of("kid"));
        if (fit && keys_.size() > before && !algorithm.empty() &&
            algorithm_of(algorithm) != keys_.back().algorithm()) {
            return fail(Errc::invalid, "the JWK's alg " + algorithm + " does not fit its kty");
        }
        return fit;
    }

    [[nodiscard]] Result<Fit> read_oct(const std::string& k, const std::string& id) {
        auto secret = decode_base64url(k);
        if (!secret) return fail(Errc::invalid, "the JWK's k is not base64url");
        const auto done = add_secret(std::move(*secret), id);
        if (!done) return tl::unexpected<Error>(done.error());
        return Fit::ours;
    }

    [[nodiscard]] Result<Fit> read_public(const std::string& text, const std::string& id) {
        const Jwk jwk = make_jwk();
        if (!jwk || r_jwk_import_from_json_str(jwk.get(), text.c_str()) != RHN_OK) {
            return fail(Errc::invalid, "the JWK is not valid");
        }
        return add_jwk(jwk.get(), id);
    }

    [[nodiscard]] Result<void> add_secret(std::string secret, const std::string& id) {
        if (secret.size() < kHmacBytesMin) {
            return fail(Errc::invalid, "the HS256 secret has " + std::to_string(secret.size()) +
                                           " bytes; it must have at least " +
                                           std::to_string(kHmacBytesMin));
        }
        // Everybody has the public key: as a secret it would let everybody sign.
        if (secret.find("-----BEGIN ") != std::string::npos) {
            return fail(Errc::invalid, "PEM text is no HS256 secret");
        }
        Key key;
        key.algorithm_ = Algorithm::hs256;
        key.id_ = id;
        key.secret_ = std::move(secret);
        key.signature_bytes_ = kSha256Bytes;
        keys_.push_back(std::move(key));
        return {};
    }

    [[nodiscard]] Result<Fit> add_jwk(jwk_t* jwk, const std::string& id) {
        const std::string_view curve = property(jwk, "crv");
        const std::string_view type = property(jwk, "kty");
        if (type == "EC" && curve != "P-256") return Fit::for_something_else;
        if (type == "OKP" && curve != "Ed25519") return Fit::for_something_else;
        Key key;
        key.id_ = id;
        key.public_key_.reset(r_jwk_export_to_gnutls_pubkey(jwk, R_FLAG_IGNORE_REMOTE));
        if (!key.public_key_) return fail(Errc::invalid, "the public key is not valid");
        unsigned bits = 0;
        const int kind = gnutls_pubkey_get_pk_algorithm(key.public_key_.get(), &bits);
        if (type == "RSA" && kind == GNUTLS_PK_RSA) {
            if (bits < kRsaBitsMin || bits > kRsaBitsMax) {
                return fail(Errc::invalid, "the RSA key has " + std::to_string(bits) +
                                               " bits; it must have 2048 to 16384");
            }
            key.algorithm_ = Algorithm::rs256;
            key.signature_bytes_ = (bits + 7) / 8;
        } else if (type == "EC" && kind == GNUTLS_PK_ECDSA) {
            key.algorithm_ = Algorithm::es256;
            key.signature_bytes_ = kPairBytes;
        } else if (type == "OKP" && kind == GNUTLS_PK_EDDSA_ED25519) {
            key.algorithm_ = Algorithm::eddsa;
            key.signature_bytes_ = kPairBytes;
        } else {
            return Fit::for_something_else;
        }
        keys_.push_back(std::move(key));
        return Fit::ours;
    }

    [[nodiscard]] static Result<void> is_private() {
        return fail(Errc::invalid, "a private key: give the public one");
    }
    [[nodiscard]] static Result<void> is_for_something_else() {
        return fail(Errc::invalid, "not a key for HS256, RS256, ES256 (P-256) or EdDSA (Ed25519)");
    }

    std::vector<Key> keys_;
};

Result<std::vector<Key>> read_keys(std::string_view item) { return KeyReader().read(item); }

std::optional<std::string> decode_base64url(std::string_view text) {
    if (text.size() % 4 == 1) return std::nullopt;
    std::string out;
    out.reserve(text.size() * 3 / 4);
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : text) {
        std::uint32_t value = 0;
        if (c >= 'A' && c <= 'Z') {
            value = static_cast<std::uint32_t>(c - 'A');
        } else if (c >= 'a' && c <= 'z') {
            value = static_cast<std::uint32_t>(c - 'a' + 26);
        } else if (c >= '0' && c <= '9') {
            value = static_cast<std::uint32_t>(c - '0' + 52);
        } else if (c == '-' || c == '_') {
            value = c == '-' ? 62 : 63;
        } else {
            return std::nullopt;
        }
        bits = bits << 6 | value;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        out += static_cast<char>(bits >> count & 0xff);
    }
    if ((bits & ((1U << count) - 1)) != 0) return std::nullopt;
    return out;
}

} // namespace doorbuster::jwt
