// Where a Redis is and who we are there: redis.url and the entries of redis.nodes. Pure; any
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace doorbuster::redis {

// What a connection is made to.
struct Address {
    enum class Transport : std::uint8_t { tcp, tls, local };
    Transport transport = Transport::tcp;
    std::string host = {}; // a name or an address without brackets; of local: the socket's path
    std::uint16_t port = 6379;

    // "127.0.0.1:6379", "[::1]:6379", "/run/redis.sock": for people and as a key.
    [[nodiscard]] std::string text() const;
    friend bool operator==(const Address&, const Address&) = default;
};

struct Url {
    Address address;
    std::string user;     // of the ACL; empty: the default user
    std::string password; // never in a message
    std::uint16_t database = 0;
};

// "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]", the same with rediss:// for TLS, and
// "unix://[USER:PASSWORD@]/PATH[?db=DATABASE]"; user, password and path in percent encoding, an
// empty user is the default one. Errc::invalid says what is wrong and repeats nothing of the text:
// it may hold a password.
[[nodiscard]] Result<Url> parse_url(std::string_view text);

// An entry of redis.nodes: "HOST:PORT", or a URL without a database (redis:// or rediss://), for
// clusters with a login or TLS.
[[nodiscard]] Result<Url> parse_node(std::string_view text);

} // namespace doorbuster::redis
