// Where the server is, for every command that asks one: http[s]://HOST[:PORT][/PREFIX]. A value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace doorbuster::load {

struct Url {
    bool tls = false;
    std::string host; // a name or an address; IPv6 without its brackets
    std::uint16_t port = 80;
    std::string prefix; // what stands before every path; "" or "/…" without a slash at its end

    // For the Host header: IPv6 in brackets, the port where it is not the scheme's own.
    [[nodiscard]] std::string authority() const;
};

// Errc::invalid with a text for people.
[[nodiscard]] Result<Url> parse_url(std::string_view text);

} // namespace doorbuster::load
