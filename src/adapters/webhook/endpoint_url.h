// The URL of a receiver. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace doorbuster::webhook {

inline constexpr std::size_t kUrlBytesMax = 2'048; // longer than any that browsers agree on

struct EndpointUrl {
    enum class Scheme : std::uint8_t { http, https };
    Scheme scheme = Scheme::http;
    std::string host; // a name or an address, without brackets
    std::uint16_t port = 80;
    std::string authority; // the Host header: as written
    std::string target;    // path and query: at least "/"
};

// "http://host", "https://host:8443/path?query", "https://[2001:db8::1]/". Errc::invalid says what
// is wrong and repeats nothing of the text: a URL may hold a password.
[[nodiscard]] Result<EndpointUrl> parse_endpoint_url(std::string_view text);

} // namespace doorbuster::webhook
