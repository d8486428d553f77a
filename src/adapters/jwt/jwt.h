// Who the buyer is, from a JSON Web Token (RFC 7519) signed with HS256, RS256, ES256 or EdDSA.
//
// Promises: the algorithm follows from the key, so that a public key is never a MAC's secret and
// "none" is nothing; a token that cannot be right (form, algorithm, key id, claims) is refused
// before any signature is computed. What it does not do: fetch keys, decrypt, remember tokens.
//
// A Verifier belongs to one thread at a time: GnuTLS promises no more for its key objects. Make one
// a core; they share nothing. verify() never waits; a good token costs about a microsecond with
// HS256, some tens with RS256, a hundred or two with ES256 and EdDSA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/time.h"

namespace doorbuster::jwt {

inline constexpr std::size_t kTokenBytesMax = 8 * 1024; // longer is no buyer's token
inline constexpr unsigned kRsaBitsMin = 2'048;          // RFC 7518 section 3.3
inline constexpr std::size_t kHmacBytesMin = 32;        // RFC 7518 section 3.2

struct Options {
    // Each a PEM public key or certificate (or several), a JWK, a JWK set, an HS256 secret
    // ("hs256:" in front of it where it could be taken for something else), or "file:PATH" of one
    // of these.
    std::vector<std::string> keys;
    std::optional<std::string> issuer = {};   // iss must be this
    std::optional<std::string> audience = {}; // aud must be or contain this
    std::int64_t leeway_s = 30;               // by which the issuer's clock may be off
};

class Verifier {
public:
    // Errc::invalid, and which key is wrong, when a key cannot be read, is private, is too weak or
    // is for another algorithm. Keys of a set that are for other uses are passed over.
    [[nodiscard]] static Result<Verifier> create(const Options& options);

    Verifier(Verifier&&) noexcept;
    Verifier& operator=(Verifier&&) noexcept;
    ~Verifier();

    // The user (`sub`) of a valid token; Errc::invalid and why for any other. `exp` and `sub` are
    // required. A key with a key id serves tokens with the same `kid` and tokens with none, a key
    // without one serves all.
    [[nodiscard]] Result<std::string> verify(std::string_view token, TimePoint now) const;

private:
    struct State;
    explicit Verifier(std::unique_ptr<State> state);

    std::unique_ptr<State> state_;
};

} // namespace doorbuster::jwt
