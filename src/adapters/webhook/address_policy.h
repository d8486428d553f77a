// Which addresses belong to no public receiver: this machine, private networks, and what the
// registries of special-purpose addresses keep for themselves (iana.org,
// "iana-ipv4-special-registry" and "iana-ipv6-special-registry"). A webhook goes to one of them
// only with webhooks.allow_private. Pure; any thread.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <optional>
#include <string_view>

namespace doorbuster::webhook {

// What kind of network the address lies in ("loopback", "a private network"); nullopt if it is
// public. An address that carries an IPv4 address (mapped, NAT64, 6to4) is what that one is.
[[nodiscard]] std::optional<std::string_view>
special_network(const boost::asio::ip::address& address);

} // namespace doorbuster::webhook
