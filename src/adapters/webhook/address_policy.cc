#include "adapters/webhook/address_policy.h"

#include <algorithm>
#include <array>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/address_v6.hpp>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace doorbuster::webhook {
namespace {

namespace ip = boost::asio::ip;

struct Network4 {
    std::uint32_t prefix;
    unsigned bits;
    std::string_view name;
};

constexpr std::uint32_t v4(unsigned a, unsigned b, unsigned c, unsigned d) {
    return a << 24 | b << 16 | c << 8 | d;
}

constexpr std::string_view kPrivate = "a private network";
constexpr std::string_view kLinkLocal = "link-local";
constexpr std::string_view kLoopback = "loopback";
constexpr std::string_view kMulticast = "multicast";
constexpr std::string_view kDocumentation = "a network for documentation";
constexpr std::string_view kBenchmark = "a network for benchmarks";
constexpr std::string_view kThisHost = "\"this host\"";
constexpr std::string_view kReserved = "reserved";

constexpr std::array kNetworks4 = {
    Network4{v4(0, 0, 0, 0), 8, kThisHost},
    Network4{v4(10, 0, 0, 0), 8, kPrivate},
    Network4{v4(100, 64, 0, 0), 10, "shared by a provider's customers (CGNAT)"},
    Network4{v4(127, 0, 0, 0), 8, kLoopback},
    Network4{v4(169, 254, 0, 0), 16, kLinkLocal},
    Network4{v4(172, 16, 0, 0), 12, kPrivate},
    Network4{v4(192, 0, 0, 0), 24, kReserved},
    Network4{v4(192, 0, 2, 0), 24, kDocumentation},
    Network4{v4(192, 88, 99, 0), 24, kReserved},
    Network4{v4(192, 168, 0, 0), 16, kPrivate},
    Network4{v4(198, 18, 0, 0), 15, kBenchmark},
    Network4{v4(198, 51, 100, 0), 24, kDocumentation},
    Network4{v4(203, 0, 113, 0), 24, kDocumentation},
    Network4{v4(224, 0, 0, 0), 4, kMulticast},
    Network4{v4(255, 255, 255, 255), 32, "broadcast"},
    Network4{v4(240, 0, 0, 0), 4, kReserved},
};

using Bytes6 = ip::address_v6::bytes_type;

struct Network6 {
    std::array<std::uint16_t, 8> prefix; // its groups
    unsigned bits;
    std::string_view name;
};

constexpr std::array kNetworks6 = {
    Network6{{0, 0, 0, 0, 0, 0, 0, 0}, 128, kThisHost},
    Network6{{0, 0, 0, 0, 0, 0, 0, 1}, 128, kLoopback},
    Network6{{0, 0, 0, 0, 0, 0, 0, 0}, 96, kReserved},          // once IPv4-compatible
    Network6{{0x64, 0xff9b, 1, 0, 0, 0, 0, 0}, 48, kPrivate},   // NAT64 of a site's own
    Network6{{0x100, 0, 0, 0, 0, 0, 0, 0}, 64, "discard-only"}, // RFC 6666
    Network6{{0x2001, 0, 0, 0, 0, 0, 0, 0}, 23, kReserved},     // Teredo, benchmarks, ORCHID
    Network6{{0x2001, 0xdb8, 0, 0, 0, 0, 0, 0}, 32, kDocumentation},
    Network6{{0x3fff, 0, 0, 0, 0, 0, 0, 0}, 20, kDocumentation}, // RFC 9637
    Network6{{0x5f00, 0, 0, 0, 0, 0, 0, 0}, 16, kReserved},      // segment routing
    Network6{{0xfc00, 0, 0, 0, 0, 0, 0, 0}, 7, "a private network (unique local)"},
    Network6{{0xfe80, 0, 0, 0, 0, 0, 0, 0}, 10, kLinkLocal},
    Network6{{0xfec0, 0, 0, 0, 0, 0, 0, 0}, 10, kPrivate}, // once site-local
    Network6{{0xff00, 0, 0, 0, 0, 0, 0, 0}, 8, kMulticast},
};

std::optional<std::string_view> special4(std::uint32_t address) {
    for (const Network4& network : kNetworks4) {
        const std::uint32_t mask = ~std::uint32_t{0} << (32 - network.bits);
        if ((address & mask) == network.prefix) return network.name;
    }
    return std::nullopt;
}

constexpr std::uint16_t group(const Bytes6& bytes, std::size_t index) {
    return static_cast<std::uint16_t>(bytes[2 * index] << 8 | bytes[2 * index + 1]);
}

bool lies_in(const Bytes6& bytes, const Network6& network) {
    unsigned left = network.bits;
    for (std::size_t i = 0; i < 8 && left > 0; ++i) {
        const unsigned bits = std::min(left, 16U);
        const unsigned mask = 0xffffU << (16 - bits) & 0xffffU;
        if ((group(bytes, i) & mask) != network.prefix[i]) return false;
        left -= bits;
    }
    return true;
}

bool starts_with(const Bytes6& bytes, std::initializer_list<std::uint16_t> groups) {
    std::size_t i = 0;
    return std::ranges::all_of(groups,
                               [&](std::uint16_t each) { return group(bytes, i++) == each; });
}

// The IPv4 address that begins with the given group.
std::uint32_t inner4(const Bytes6& bytes, std::size_t index) {
    return std::uint32_t{group(bytes, index)} << 16 | group(bytes, index + 1);
}

std::optional<std::string_view> special6(const Bytes6& bytes) {
    if (starts_with(bytes, {0, 0, 0, 0, 0, 0xffff})) return special4(inner4(bytes, 6));    // mapped
    if (starts_with(bytes, {0x64, 0xff9b, 0, 0, 0, 0})) return special4(inner4(bytes, 6)); // NAT64
    if (starts_with(bytes, {0x2002})) return special4(inner4(bytes, 1));                   // 6to4
    for (const Network6& network : kNetworks6) {
        if (lies_in(bytes, network)) return network.name;
    }
    return std::nullopt;
}

} // namespace

std::optional<std::string_view> special_network(const ip::address& address) {
    return address.is_v4() ? special4(address.to_v4().to_uint())
                           : special6(address.to_v6().to_bytes());
}

} // namespace doorbuster::webhook
