#include "adapters/http/identity.h"

#include <algorithm>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <charconv>
#include <openssl/crypto.h>

#include "adapters/http/problem.h"
#include "domain/ids.h"

namespace doorbuster::http {
namespace {

namespace ip = boost::asio::ip;

// ::ffff:a.b.c.d is a.b.c.d.
ip::address plain(const ip::address& address) {
    if (address.is_v6() && address.to_v6().is_v4_mapped()) {
        return ip::make_address_v4(ip::v4_mapped, address.to_v6());
    }
    return address;
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

std::string_view bearer_of(const Request& request) {
    constexpr std::string_view kScheme = "bearer ";
    const std::string_view value = request.authorization;
    if (value.size() <= kScheme.size()) return {};
    const bool is_bearer = std::equal(kScheme.begin(), kScheme.end(), value.begin(),
                                      [](char a, char b) { return a == (b | 0x20) || a == b; });
    return is_bearer ? trim(value.substr(kScheme.size())) : std::string_view();
}

// How long this takes tells nothing of how much is right, the lengths apart.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

// Host names are the same in any case (RFC 9110 section 4.2.3).
bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, lower, lower);
}

// "127.0.0.1:8080", "localhost", "[::1]:8080" without the port.
std::string_view host_name(std::string_view host) {
    if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
    return host.substr(0, host.rfind(':'));
}

bool names_loopback(std::string_view host) {
    std::string_view name = host_name(host);
    if (equal_ignoring_case(name, "localhost")) return true;
    if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
    boost::system::error_code error;
    const ip::address address = ip::make_address(std::string(name), error);
    return !error && plain(address).is_loopback();
}

// A page of another site may make a browser send requests here; its Origin gives it away.
bool is_own_origin(const Request& request) {
    if (request.origin.empty()) return true;
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (request.origin.starts_with(scheme) &&
            equal_ignoring_case(request.origin.substr(scheme.size()), request.host)) {
            return true;
        }
    }
    return false;
}

} // namespace

std::optional<TrustedProxies> TrustedProxies::parse(const std::vector<std::string>& list) {
    TrustedProxies proxies;
    for (const std::string& text : list) {
        const std::size_t slash = text.find('/');
        boost::system::error_code error;
        const ip::address address = plain(ip::make_address(text.substr(0, slash), error));
        if (error) return std::nullopt;
        const unsigned bits_max = address.is_v4() ? 32 : 128;
        unsigned bits = bits_max;
        if (slash != std::string::npos) {
            const char* end = text.data() + text.size();
            const auto [at, wrong] = std::from_chars(text.data() + slash + 1, end, bits);
            if (wrong != std::errc() || at != end || bits > bits_max) return std::nullopt;
        }
        proxies.networks_.push_back({address, bits});
    }
    return proxies;
}

bool TrustedProxies::contains(const ip::address& address) const {
    return std::ranges::any_of(networks_, [&](const Network& network) {
        if (network.address.is_v4() != address.is_v4()) return false;
        if (address.is_v4()) {
            const ip::network_v4 net(network.address.to_v4(),
                                     static_cast<unsigned short>(network.prefix_bits));
            const ip::network_v4 other(address.to_v4(),
                                       static_cast<unsigned short>(network.prefix_bits));
            return net.network() == other.network();
        }
        const ip::network_v6 net(network.address.to_v6(),
                                 static_cast<unsigned short>(network.prefix_bits));
        const ip::network_v6 other(address.to_v6(),
                                   static_cast<unsigned short>(network.prefix_bits));
        return net.network() == other.network();
    });
}

ip::address TrustedProxies::client_of(const Request& request) const {
    ip::address client = plain(request.peer);
    std::string_view rest = request.forwarded_for;
    // From the nearest hop outwards, as long as the hop that told us is one of ours.
    while (!rest.empty() && contains(client)) {
        const std::size_t comma = rest.rfind(',');
        const std::size_t begin = comma == std::string_view::npos ? 0 : comma + 1;
        boost::system::error_code error;
        const ip::address hop =
            plain(ip::make_address(std::string(trim(rest.substr(begin))), error));
        if (error) break; // a proxy of ours wrote something else: count its own address
        client = hop;
        rest = rest.substr(0, begin == 0 ? 0 : comma);
    }
    return client;
}

std::string limit_key_of(const ip::address& address) {
    const ip::address simple = plain(address);
    if (simple.is_v4()) return simple.to_string();
    return ip::network_v6(simple.to_v6(), 64).network().to_string() + "/64";
}

std::optional<Response> Identity::refuse_early(const Request& request) const {
    if (!reads_header()) {
        if (bearer_of(request).empty()) {
            return problem(Code::unauthorized, "Send Authorization: Bearer and your token.");
        }
        return std::nullopt;
    }
    if (request.user_id.empty()) {
        return problem(Code::unauthorized, "Send the buyer's id in the header X-User-Id.");
    }
    if (!is_user_id(request.user_id)) {
        const InvalidField wrong{"X-User-Id",
                                 "must be 1 to 128 printable characters, no spaces at the ends"};
        return problem(wrong);
    }
    return std::nullopt;
}

Identity::Buyer Identity::buyer(const Request& request, TimePoint now) {
    if (auto refused = refuse_early(request)) return tl::make_unexpected(std::move(*refused));
    if (reads_header()) return std::string(request.user_id);
    auto user = options_.verifier->verify(bearer_of(request), now);
    if (user && is_user_id(*user)) return std::move(*user);
    const std::string why = user ? "the subject is not a valid user id" : user.error().context;
    return tl::make_unexpected(problem(Code::unauthorized, "The token is not valid: " + why));
}

bool Identity::has_admin_token(const Request& request) const {
    return !options_.admin_token.empty() &&
           equal_in_constant_time(bearer_of(request), options_.admin_token);
}

std::optional<Response> Identity::refuse_admin(const Request& request, TimePoint now) {
    if (!options_.admin_token.empty()) {
        if (has_admin_token(request)) return std::nullopt;
        const std::string_view token = bearer_of(request);
        if (!reads_header() && !token.empty() && options_.verifier->verify(token, now)) {
            return problem(Code::forbidden, "This call is for administrators.");
        }
        return problem(Code::unauthorized, "Send Authorization: Bearer and the admin token.");
    }
    const bool is_local = request.listener_is_loopback && plain(request.peer).is_loopback();
    if (!is_local) {
        return problem(Code::forbidden,
                       "Without an admin token, this is served on the loopback address only.");
    }
    if (!names_loopback(request.host)) {
        return problem(Code::forbidden, "The Host header must name the loopback address.");
    }
    if (!is_own_origin(request)) {
        return problem(Code::forbidden, "The Origin header names another site.");
    }
    return std::nullopt;
}

} // namespace doorbuster::http
