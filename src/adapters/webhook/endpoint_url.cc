#include "adapters/webhook/endpoint_url.h"

#include <algorithm>
#include <boost/asio/ip/address_v6.hpp>
#include <charconv>
#include <system_error>

namespace doorbuster::webhook {
namespace {

constexpr std::size_t kNameBytesMax = 253; // RFC 1035, without the root's dot

bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

bool is_host_name(std::string_view text) {
    return !text.empty() && text.size() <= kNameBytesMax && text.front() != '.' &&
           text.find("..") == std::string_view::npos && std::ranges::all_of(text, is_name_byte);
}

bool is_ipv6(std::string_view text) {
    boost::system::error_code ec;
    const auto address = boost::asio::ip::make_address_v6(std::string(text), ec);
    return !ec && address.scope_id() == 0 && text.find('%') == std::string_view::npos;
}

} // namespace

Result<EndpointUrl> parse_endpoint_url(std::string_view text) {
    EndpointUrl url;
    if (text.size() > kUrlBytesMax) {
        return fail(Errc::invalid, "longer than " + std::to_string(kUrlBytesMax) + " bytes");
    }
    if (!std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f && c != '\\'; })) {
        return fail(Errc::invalid, "has a byte that no URL has; write it in percent encoding");
    }
    if (text.starts_with("http://")) {
        text.remove_prefix(7);
    } else if (text.starts_with("https://")) {
        text.remove_prefix(8);
        url.scheme = EndpointUrl::Scheme::https;
        url.port = 443;
    } else {
        return fail(Errc::invalid, "begins with neither http:// nor https://");
    }
    if (text.find('#') != std::string_view::npos) {
        return fail(Errc::invalid, "has a fragment (#…), which is never sent");
    }
    const std::size_t slash = std::min(text.find_first_of("/?"), text.size());
    const std::string_view authority = text.substr(0, slash);
    const std::string_view target = text.substr(slash);
    if (authority.find('@') != std::string_view::npos) {
        return fail(Errc::invalid, "has a user or a password; receivers check the signature");
    }
    const bool bracketed = authority.starts_with('[');
    const std::size_t host_end =
        bracketed ? authority.find(']') : std::min(authority.find(':'), authority.size());
    if (host_end == std::string_view::npos) return fail(Errc::invalid, "has no host");
    url.host = authority.substr(bracketed ? 1 : 0, host_end - (bracketed ? 1 : 0));
    if (bracketed ? !is_ipv6(url.host) : !is_host_name(url.host)) {
        return fail(Errc::invalid, "has no host that is a name or an address");
    }
    const std::string_view rest = authority.substr(host_end + (bracketed ? 1 : 0));
    if (!rest.empty()) {
        const std::string_view digits = rest.substr(1);
        const auto [end, error] = std::from_chars(digits.begin(), digits.end(), url.port);
        if (rest.front() != ':' || error != std::errc{} || end != digits.end() || url.port == 0) {
            return fail(Errc::invalid, "has no port from 1 to 65535 behind its host");
        }
    }
    url.authority = authority;
    url.target = target.starts_with('/') ? std::string(target) : "/" + std::string(target);
    return url;
}

} // namespace doorbuster::webhook
