#include "adapters/sql/store_url.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace doorbuster::sql {
namespace {

// A dead server must not hold a thread for ever: how long connecting may take, and for how long
// what was sent may stay unacknowledged. The server's own limits (set_up_session) are shorter than
// read_timeout, which is for a server that does not answer at all.
constexpr std::string_view kPostgresqlParameters =
    "?application_name=doorbuster&connect_timeout=10&keepalives_idle=10&keepalives_interval=5"
    "&keepalives_count=3&tcp_user_timeout=25000";
constexpr std::string_view kMysqlParameters =
    "charset='utf8mb4' connect_timeout='10' read_timeout='330' write_timeout='60'";

std::optional<std::string> percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        unsigned value = 0;
        if (i + 2 >= text.size()) return std::nullopt;
        const char* first = text.data() + i + 1;
        const auto [end, error] = std::from_chars(first, first + 2, value, 16);
        if (error != std::errc() || end != first + 2 || value == 0) return std::nullopt;
        out += static_cast<char>(value);
        i += 2;
    }
    return out;
}

std::string percent_encoded(std::string_view text) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.') {
            out += c;
        } else {
            out += {'%', kHex[byte >> 4U], kHex[byte & 15U]};
        }
    }
    return out;
}

std::pair<std::string_view, std::string_view> split(std::string_view text, char at) {
    const std::size_t place = text.find(at);
    if (place == std::string_view::npos) return {text, {}};
    return {text.substr(0, place), text.substr(place + 1)};
}

struct Parts {
    std::string user, password, host, port, database;
    std::vector<std::pair<std::string, std::string>> parameters;
};

constexpr std::string_view kForm =
    "a store's URL is sqlite:PATH, postgresql://USER:PASSWORD@HOST:PORT/DATABASE or "
    "mysql://USER:PASSWORD@HOST:PORT/DATABASE";

std::optional<Parts> parts_of(std::string_view text) {
    const auto [place, query] = split(text, '?');
    const auto [authority, database] = split(place, '/');
    const std::size_t at = authority.rfind('@');
    const bool has_user = at != std::string_view::npos;
    const auto [user, password] = split(has_user ? authority.substr(0, at) : "", ':');
    const std::string_view address = has_user ? authority.substr(at + 1) : authority;
    std::string_view host = address;
    std::string_view port;
    if (address.starts_with('[')) { // IPv6
        const std::size_t end = address.find(']');
        if (end == std::string_view::npos) return std::nullopt;
        host = address.substr(1, end - 1);
        port = address.substr(end + 1);
        if (!port.empty() && port.front() != ':') return std::nullopt;
        if (!port.empty()) port.remove_prefix(1);
    } else {
        std::tie(host, port) = split(address, ':');
    }
    Parts parts;
    const std::array<std::pair<std::string*, std::string_view>, 5> fields = {
        {{&parts.user, user},
         {&parts.password, password},
         {&parts.host, host},
         {&parts.port, port},
         {&parts.database, database}}};
    for (const auto& [field, encoded] : fields) {
        auto decoded = percent_decoded(encoded);
        if (!decoded) return std::nullopt;
        *field = std::move(*decoded);
    }
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (parts.port.size() > 5 || !std::ranges::all_of(parts.port, is_digit)) return std::nullopt;
    for (std::string_view rest = query; !rest.empty();) {
        const auto [parameter, others] = split(rest, '&');
        rest = others;
        const auto [name, value] = split(parameter, '=');
        auto decoded = percent_decoded(value);
        const auto is_name = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
        if (!decoded || name.empty() || !std::ranges::all_of(name, is_name)) return std::nullopt;
        parts.parameters.emplace_back(name, std::move(*decoded));
    }
    return parts;
}

std::string name_of(std::string_view scheme, const Parts& parts) {
    std::string name(scheme);
    name += "://";
    if (!parts.user.empty()) name += parts.user + "@";
    name += parts.host.find(':') == std::string::npos ? parts.host : "[" + parts.host + "]";
    if (!parts.port.empty()) name += ":" + parts.port;
    return name + "/" + parts.database;
}

// A URL again, with nothing in it that SOCI, which looks for parameters of its own, may take apart.
Result<std::string> postgresql_connect(const Parts& parts) {
    std::string connect = "postgresql://";
    if (!parts.user.empty()) connect += percent_encoded(parts.user);
    if (!parts.password.empty()) connect += ":" + percent_encoded(parts.password);
    if (!parts.user.empty() || !parts.password.empty()) connect += "@";
    const bool is_ipv6 = parts.host.find(':') != std::string::npos;
    connect += is_ipv6 ? "[" + parts.host + "]" : percent_encoded(parts.host);
    if (!parts.port.empty()) connect += ":" + parts.port;
    connect += "/" + percent_encoded(parts.database) + std::string(kPostgresqlParameters);
    for (const auto& [name, value] : parts.parameters) { // the last one of a name counts
        if (name == "password" || name.starts_with("singlerow")) {
            return fail(Errc::invalid, "a store's URL does not take the parameter " + name);
        }
        connect += "&" + name + "=" + percent_encoded(value);
    }
    return connect;
}

// Names with values in quotes, in which a backslash keeps the next character.
void append(std::string& connect, std::string_view name, std::string_view value) {
    connect += ' ';
    connect += name;
    connect += "='";
    for (const char c : value) {
        if (c == '\'' || c == '\\') connect += '\\';
        connect += c;
    }
    connect += '\'';
}

Result<std::string> mysql_connect(const Parts& parts) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kKnown = {
        {{"unix_socket", "unix_socket"},
         {"ssl_ca", "sslca"},
         {"ssl_cert", "sslcert"},
         {"ssl_key", "sslkey"}}};
    std::string connect(kMysqlParameters);
    bool has_socket = false;
    for (const auto& parameter : parts.parameters) {
        const auto known = std::ranges::find(kKnown, parameter.first,
                                             [](const auto& entry) { return entry.first; });
        if (known == kKnown.end()) {
            return fail(Errc::invalid, "a mysql URL takes the parameters unix_socket, ssl_ca, "
                                       "ssl_cert and ssl_key, not " +
                                           parameter.first);
        }
        if (known->first == "unix_socket") has_socket = true;
        append(connect, known->second, parameter.second);
    }
    // The client library takes "localhost" for a socket of its own choice.
    const bool is_here = parts.host.empty() || parts.host == "localhost";
    append(connect, "host", has_socket ? "localhost" : is_here ? "127.0.0.1" : parts.host);
    if (!parts.port.empty()) append(connect, "port", parts.port);
    if (!parts.user.empty()) append(connect, "user", parts.user);
    if (!parts.password.empty()) append(connect, "password", parts.password);
    append(connect, "dbname", parts.database);
    return connect;
}

} // namespace

Result<StoreUrl> parse_store_url(std::string_view text) {
    StoreUrl url;
    const std::size_t scheme_end = text.find("://");
    if (scheme_end == std::string_view::npos) {
        if (text.starts_with("sqlite:")) text.remove_prefix(7);
        if (text.empty()) return fail(Errc::invalid, std::string(kForm));
        url.path = url.name = text;
        return url;
    }
    std::string_view scheme = text.substr(0, scheme_end);
    const bool is_postgresql = scheme == "postgresql" || scheme == "postgres";
    const bool is_mysql = scheme == "mysql" || scheme == "mariadb";
    if (!is_postgresql && !is_mysql) return fail(Errc::invalid, std::string(kForm));
    scheme = is_postgresql ? "postgresql" : "mysql";
    const auto parts = parts_of(text.substr(scheme_end + 3));
    if (!parts) return fail(Errc::invalid, std::string(kForm));
    if (is_mysql && parts->database.empty()) {
        return fail(Errc::invalid, "a mysql URL names its database: mysql://HOST/DATABASE");
    }
    url.dialect = is_postgresql ? Dialect::postgresql : Dialect::mysql;
    auto connect = is_postgresql ? postgresql_connect(*parts) : mysql_connect(*parts);
    if (!connect) return tl::make_unexpected(std::move(connect.error()));
    url.connect = std::move(*connect);
    url.password = parts->password;
    url.name = name_of(scheme, *parts);
    return url;
}

} // namespace doorbuster::sql
