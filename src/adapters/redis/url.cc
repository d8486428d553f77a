#include "adapters/redis/url.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>

namespace doorbuster::redis {
namespace {

constexpr std::size_t kUrlBytesMax = 2'048;
constexpr std::size_t kHostBytesMax = 253;       // RFC 1035, without the root's dot
constexpr std::size_t kSocketPathBytesMax = 107; // sockaddr_un
constexpr std::uint16_t kDatabaseMax = 16'383;   // far more than any server is set up with

std::optional<int> hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return std::nullopt;
}

std::optional<std::string> percent_decoded(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out.push_back(text[i]);
            continue;
        }
        if (i + 2 >= text.size()) return std::nullopt;
        const auto high = hex_digit(text[i + 1]);
        const auto low = hex_digit(text[i + 2]);
        if (!high || !low) return std::nullopt;
        out.push_back(static_cast<char>(*high * 16 + *low));
        i += 2;
    }
    return out;
}

bool is_host_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

bool is_ipv6_byte(char c) { return hex_digit(c).has_value() || c == ':' || c == '.'; }

template <class Number> bool read_number(std::string_view text, Number& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

Result<void> read_database(std::string_view text, Url& url) {
    if (!read_number(text, url.database) || url.database > kDatabaseMax) {
        return fail(Errc::invalid, "has no database's number behind its host: /0, /1, …");
    }
    return {};
}

// Cuts "USER:PASSWORD@" off the front.
Result<void> read_login(std::string_view& rest, Url& url) {
    const std::size_t end = rest.substr(0, rest.find('/')).rfind('@');
    if (end == std::string_view::npos) return {};
    const std::string_view login = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    const std::size_t colon = login.find(':');
    if (colon == std::string_view::npos) {
        return fail(Errc::invalid, "has a login without a colon: write USER:PASSWORD@, or "
                                   ":PASSWORD@ for the default user");
    }
    auto user = percent_decoded(login.substr(0, colon));
    auto password = percent_decoded(login.substr(colon + 1));
    if (!user || !password) {
        return fail(Errc::invalid, "has a broken percent encoding in its login");
    }
    if (password->empty()) return fail(Errc::invalid, "has a login with an empty password");
    url.user = std::move(*user);
    url.password = std::move(*password);
    return {};
}

// HOST[:PORT] or [IPV6][:PORT].
Result<void> read_host(std::string_view text, Address& address) {
    const bool bracketed = text.starts_with('[');
    const std::size_t end = bracketed ? text.find(']') : std::min(text.find(':'), text.size());
    if (end == std::string_view::npos) return fail(Errc::invalid, "has a [ without a ]");
    const std::string_view host = text.substr(bracketed ? 1 : 0, end - (bracketed ? 1 : 0));
    if (host.empty() || host.size() > kHostBytesMax ||
        !std::ranges::all_of(host, bracketed ? is_ipv6_byte : is_host_byte)) {
        return fail(Errc::invalid, "has no host that is a name or an address");
    }
    address.host = host;
    std::string_view rest = text.substr(end + (bracketed ? 1 : 0));
    if (rest.empty()) return {};
    if (rest.front() != ':' || !read_number(rest.substr(1), address.port) || address.port == 0) {
        return fail(Errc::invalid, "has no port from 1 to 65535 behind its host");
    }
    return {};
}

Result<Url> parse_local(std::string_view rest) {
    Url url;
    url.address.transport = Address::Transport::local;
    if (auto read = read_login(rest, url); !read) return tl::unexpected(std::move(read.error()));
    const std::size_t query = std::min(rest.find('?'), rest.size());
    const auto path = percent_decoded(rest.substr(0, query));
    if (!path || !path->starts_with('/') || path->size() > kSocketPathBytesMax ||
        path->find('\0') != std::string::npos) {
        return fail(Errc::invalid, "has no absolute path of a socket (at most " +
                                       std::to_string(kSocketPathBytesMax) +
                                       " bytes): unix:///run/redis/redis.sock");
    }
    url.address.host = *path;
    url.address.port = 0;
    const std::string_view parameters = rest.substr(query);
    if (parameters.empty()) return url;
    if (!parameters.starts_with("?db=")) {
        return fail(Errc::invalid, "has a parameter other than ?db=NUMBER");
    }
    if (auto read = read_database(parameters.substr(4), url); !read) {
        return tl::unexpected(std::move(read.error()));
    }
    return url;
}

bool has_stray_byte(std::string_view text) {
    return !std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

} // namespace

std::string Address::text() const {
    if (transport == Transport::local) return host;
    const bool is_ipv6 = host.find(':') != std::string::npos;
    return (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Url> parse_url(std::string_view text) {
    if (text.size() > kUrlBytesMax) {
        return fail(Errc::invalid, "longer than " + std::to_string(kUrlBytesMax) + " bytes");
    }
    if (has_stray_byte(text)) {
        return fail(Errc::invalid, "has a byte that no URL has; write it in percent encoding");
    }
    if (text.starts_with("unix://")) return parse_local(text.substr(7));
    Url url;
    if (text.starts_with("redis://")) {
        text.remove_prefix(8);
    } else if (text.starts_with("rediss://")) {
        text.remove_prefix(9);
        url.address.transport = Address::Transport::tls;
    } else {
        return fail(Errc::invalid, "begins with none of redis://, rediss:// and unix://");
    }
    if (auto read = read_login(text, url); !read) return tl::unexpected(std::move(read.error()));
    if (text.find_first_of("?#") != std::string_view::npos) {
        return fail(Errc::invalid,
                    "has parameters (?…) or a fragment (#…), which mean nothing here");
    }
    const std::size_t slash = std::min(text.find('/'), text.size());
    if (auto read = read_host(text.substr(0, slash), url.address); !read) {
        return tl::unexpected(std::move(read.error()));
    }
    const std::string_view database = text.substr(slash);
    if (database.size() > 1) {
        if (auto read = read_database(database.substr(1), url); !read) {
            return tl::unexpected(std::move(read.error()));
        }
    }
    return url;
}

Result<Url> parse_node(std::string_view text) {
    if (text.find("://") == std::string_view::npos) {
        Url url;
        if (text.size() > kUrlBytesMax || text.find('@') != std::string_view::npos) {
            return fail(Errc::invalid, "is not HOST:PORT");
        }
        if (auto read = read_host(text, url.address); !read) {
            return tl::unexpected(std::move(read.error()));
        }
        return url;
    }
    auto url = parse_url(text);
    if (!url) return url;
    if (url->address.transport == Address::Transport::local) {
        return fail(Errc::invalid, "is a unix socket, and a cluster's nodes talk TCP");
    }
    if (url->database != 0) {
        return fail(Errc::invalid, "names a database, and a cluster has only database 0");
    }
    return url;
}

} // namespace doorbuster::redis
