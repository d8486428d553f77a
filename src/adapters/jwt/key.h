// A key that tokens may be signed with, and the check of one signature. Owned by its Verifier and
// used by that Verifier's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct gnutls_pubkey_st;

namespace doorbuster::jwt {

enum class Algorithm : std::uint8_t { hs256, rs256, es256, eddsa };

// By its name in a token's header (RFC 7518 section 3.1, RFC 8037 section 3.1).
[[nodiscard]] std::optional<Algorithm> algorithm_of(std::string_view name);
[[nodiscard]] const char* to_string(Algorithm algorithm);

class Key {
public:
    [[nodiscard]] Algorithm algorithm() const { return algorithm_; }
    [[nodiscard]] const std::string& id() const { return id_; } // empty: none
    // Whether a signature of this many bytes can be one of this key's.
    [[nodiscard]] bool fits(std::size_t signature_bytes) const;
    [[nodiscard]] bool signed_this(std::string_view text, std::string_view signature) const;

private:
    friend class KeyReader;
    struct Close {
        void operator()(gnutls_pubkey_st* key) const;
    };

    Algorithm algorithm_ = Algorithm::hs256;
    std::string id_;
    std::string secret_; // of hs256
    std::unique_ptr<gnutls_pubkey_st, Close> public_key_;
    std::size_t signature_bytes_ = 0;
};

// The keys of one item of Options::keys. Errc::invalid and why when one of them is unfit.
[[nodiscard]] Result<std::vector<Key>> read_keys(std::string_view item);

// Base64url without padding (RFC 7515 section 2). nullopt for anything else, spare bits included,
// so that one token has one spelling.
[[nodiscard]] std::optional<std::string> decode_base64url(std::string_view text);

} // namespace doorbuster::jwt
