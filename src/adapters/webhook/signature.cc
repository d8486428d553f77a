#include "adapters/webhook/signature.h"

#include <algorithm>
#include <array>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <optional>
#include <utility>

#include "base/assert.h"

namespace doorbuster::webhook {
namespace {

constexpr std::string_view kPrefix = "whsec_";
constexpr std::string_view kSpaces = " \t\r\n"; // a secret's file may have lines
constexpr std::string_view kHowTo =
    "a secret is whsec_ and the base64 of 24 to 64 bytes; make one with: "
    "echo \"whsec_$(openssl rand -base64 32)\"";

const unsigned char* bytes_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}

bool is_base64(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

std::optional<std::string> decode_base64(std::string_view text) {
    std::size_t padding = 0;
    while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') {
        ++padding;
    }
    // EVP_DecodeBlock is more lenient than a receiver's library may be.
    if (text.empty() || text.size() % 4 != 0) return std::nullopt;
    if (!std::ranges::all_of(text.substr(0, text.size() - padding), is_base64)) {
        return std::nullopt;
    }
    std::string out(text.size() / 4 * 3, '\0');
    const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes_of(text),
                                     static_cast<int>(text.size()));
    if (size < 0) return std::nullopt;
    out.resize(static_cast<std::size_t>(size) - padding);
    return out;
}

std::optional<SigningKey> key_of(std::string_view secret) {
    constexpr std::size_t kTextMax = (kSecretBytesMax + 2) / 3 * 4;
    if (!secret.starts_with(kPrefix)) return std::nullopt;
    secret.remove_prefix(kPrefix.size());
    if (secret.size() > kTextMax) return std::nullopt;
    auto key = decode_base64(secret);
    if (!key || key->size() < kSecretBytesMin || key->size() > kSecretBytesMax) return std::nullopt;
    return key;
}

std::string hmac_base64(const SigningKey& key, std::string_view content) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    const unsigned char* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                                     bytes_of(content), content.size(), digest.data(), &size);
    DB_ASSERT(done != nullptr);
    std::array<unsigned char, 2 * EVP_MAX_MD_SIZE> text{};
    const int length = EVP_EncodeBlock(text.data(), digest.data(), static_cast<int>(size));
    return {reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(length)};
}

} // namespace

Result<std::vector<SigningKey>> parse_secrets(std::string_view text) {
    std::vector<SigningKey> keys;
    for (std::size_t begin = text.find_first_not_of(kSpaces); begin != std::string_view::npos;) {
        const std::size_t end = std::min(text.find_first_of(kSpaces, begin), text.size());
        auto key = key_of(text.substr(begin, end - begin));
        if (!key) return fail(Errc::invalid, std::string(kHowTo));
        if (keys.size() == kSecretsMax) {
            return fail(Errc::invalid, "more than " + std::to_string(kSecretsMax) +
                                           " secrets; a change needs two");
        }
        keys.push_back(std::move(*key));
        begin = text.find_first_not_of(kSpaces, end);
    }
    if (keys.empty()) return fail(Errc::invalid, std::string(kHowTo));
    return keys;
}

std::string sign(const std::vector<SigningKey>& keys, std::string_view id, std::int64_t timestamp_s,
                 std::string_view body) {
    std::string content(id);
    content += '.';
    content += std::to_string(timestamp_s);
    content += '.';
    content += body;
    std::string out;
    for (const SigningKey& key : keys) {
        if (!out.empty()) out += ' ';
        out += "v1," + hmac_base64(key, content);
    }
    return out;
}

} // namespace doorbuster::webhook
