#include "app/load/url.h"

#include <algorithm>
#include <charconv>

namespace doorbuster::load {
namespace {

bool is_plain(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

// '%' and ':' stand in IPv6 addresses only.
bool is_host(std::string_view text, std::string_view and_also) {
    return std::ranges::all_of(text, [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '-' || c == '_' || and_also.find(c) != std::string_view::npos;
    });
}

} // namespace

std::string Url::authority() const {
    std::string out = host.find(':') == std::string::npos ? host : '[' + host + ']';
    if (port != (tls ? 443 : 80)) out += ':' + std::to_string(port);
    return out;
}

Result<Url> parse_url(std::string_view text) {
    const auto bad = [&](std::string_view why) {
        std::string context = "URL '";
        context.append(text).append("': ").append(why);
        return fail(Errc::invalid, std::move(context));
    };
    Url url;
    std::string_view rest = text;
    if (rest.starts_with("http://")) {
        rest.remove_prefix(7);
    } else if (rest.starts_with("https://")) {
        rest.remove_prefix(8);
        url.tls = true;
        url.port = 443;
    } else {
        return bad("it starts with http:// or https://");
    }
    if (!is_plain(rest)) return bad("it holds a space or a control character");
    if (rest.find_first_of("?#@") != std::string_view::npos) {
        return bad("no user, query or fragment can be given");
    }
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    std::string_view place = rest.substr(0, slash);
    url.prefix = rest.substr(slash);
    while (url.prefix.ends_with('/')) url.prefix.pop_back();

    if (place.starts_with('[')) {
        const std::size_t end = place.find(']');
        if (end == std::string_view::npos) return bad("a bracket is open");
        url.host = place.substr(1, end - 1);
        place.remove_prefix(end + 1);
    } else {
        const std::size_t end = std::min(place.find(':'), place.size());
        url.host = place.substr(0, end);
        place.remove_prefix(end);
    }
    if (url.host.empty()) return bad("it names no host");
    const bool is_six = rest.starts_with('[');
    if (!is_host(url.host, is_six ? ":%" : "")) return bad("the host is none");
    if (!place.empty()) {
        unsigned port = 0;
        const char* const end = place.data() + place.size();
        const auto [stop, error] = std::from_chars(place.data() + 1, end, port);
        if (place.front() != ':' || error != std::errc{} || stop != end || port == 0 ||
            port > 65'535) {
            return bad("the port is a number from 1 to 65535");
        }
        url.port = static_cast<std::uint16_t>(port);
    }
    return url;
}

} // namespace doorbuster::load
