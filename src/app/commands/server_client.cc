#include "app/commands/server_client.h"

#include <CLI/CLI.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include "app/commands/json_read.h"

namespace doorbuster {
namespace {

namespace json = boost::json;

constexpr int kPageItems = 1'000; // the most that the server gives at a time

std::string from_environment(const Environment& environment, std::string_view name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
}

Errc code_of(unsigned status, std::string_view code) {
    if (code == "invalid_request") return Errc::invalid;
    if (status == 404) return Errc::not_found;
    if (status == 503 || status == 429) return Errc::unavailable;
    if (status == 408) return Errc::timeout;
    if (status == 409) return Errc::wrong_state;
    return Errc::conflict;
}

// What a problem document says, in one line.
Error refusal(const std::string& url, const HttpReply& reply) {
    json::error_code error;
    const json::value body = json::parse(reply.body, error);
    const json::object* problem = error ? nullptr : body.if_object();
    const auto text_of = [&](std::string_view name) -> std::string {
        const json::value* value = problem == nullptr ? nullptr : problem->if_contains(name);
        return value != nullptr && value->is_string() ? std::string(value->as_string()) : "";
    };
    const std::string code = text_of("code");
    if (code.empty()) {
        return {make_error_code(Errc::io),
                fmt::format("{} answered {}, and not as a doorbuster does", url, reply.status)};
    }
    std::string what = text_of("detail");
    if (what.empty()) what = text_of("title");
    if (reply.status == 401 || reply.status == 403) {
        what += "; give the admin token with DOORBUSTER_ADMIN_TOKEN or --admin-token";
    }
    return {make_error_code(code_of(reply.status, code)),
            fmt::format("{} ({} {})", printable(what), reply.status, printable(code))};
}

} // namespace

CLI::Option* add_server_options(CLI::App& command, ServerOptions& options) {
    CLI::Option* url =
        command
            .add_option("--url", options.url,
                        fmt::format("The server (DOORBUSTER_URL, else {})", kDefaultServerUrl))
            ->type_name("URL");
    command
        .add_option("--admin-token", options.admin_token,
                    "The admin token, or file:PATH; DOORBUSTER_ADMIN_TOKEN keeps it from other "
                    "users' eyes")
        ->type_name("TOKEN");
    command
        .add_option("--ca-file", options.ca_file,
                    "https: trust the certificates in this PEM file, not the system's")
        ->type_name("FILE");
    command.add_flag("--insecure", options.insecure, "https: take any certificate");
    return url;
}

Result<ServerClient> ServerClient::create(const ServerOptions& options,
                                          const Environment& environment) {
    HttpClientOptions http;
    http.url = options.url;
    if (http.url.empty()) http.url = from_environment(environment, "DOORBUSTER_URL");
    if (http.url.empty()) http.url = kDefaultServerUrl;
    std::string given = options.admin_token;
    if (given.empty()) given = from_environment(environment, "DOORBUSTER_ADMIN_TOKEN");
    auto token = resolve_secret(given);
    if (!token) return fail(Errc::invalid, "the admin token: " + token.error().context);
    if (token->find_first_of(" \t\r\n") != std::string::npos) {
        return fail(Errc::invalid, "the admin token has spaces in it");
    }
    http.admin_token = std::move(*token);
    http.insecure = options.insecure;
    http.ca_file = options.ca_file;
    http.timeout = options.timeout;
    auto client = HttpClient::create(std::move(http));
    if (!client) return tl::unexpected<Error>(client.error());
    return ServerClient(std::move(*client));
}

Result<json::value> ServerClient::get(std::string_view target) { return read(http_.get(target)); }

Result<json::value> ServerClient::send(std::string_view method, std::string_view target,
                                       const json::value& body, std::vector<HttpHeader> headers) {
    std::string text = body.is_null() ? std::string() : json::serialize(body);
    return read(http_.send(method, target, std::move(text), std::move(headers)));
}

Result<json::value> ServerClient::read(Result<HttpReply> reply) const {
    if (!reply) return tl::unexpected<Error>(reply.error());
    if (reply->status < 200 || reply->status > 299) {
        return tl::unexpected<Error>(refusal(http_.url(), *reply));
    }
    json::error_code error;
    json::value body = json::parse(reply->body, error);
    if (error) {
        return fail(Errc::io, fmt::format("{} answered something else than JSON", http_.url()));
    }
    return body;
}

Result<void> ServerClient::for_each(std::string_view path, const Take& take) {
    std::string cursor;
    while (true) {
        const char separator = path.find('?') == std::string_view::npos ? '?' : '&';
        std::string target = fmt::format("{}{}limit={}", path, separator, kPageItems);
        if (!cursor.empty()) target += "&cursor=" + url_escaped(cursor);
        const auto page = get(target);
        if (!page) return tl::unexpected<Error>(page.error());
        JsonReader in(*page, "a list");
        const json::array* items = in.array("items");
        const auto next = in.text_if_any("next_cursor");
        if (!in.complete()) return fail(Errc::io, in.problem());
        for (const json::value& item : *items) {
            if (auto taken = take(item); !taken) return taken;
        }
        if (!next) return {};
        // A page that leads to itself would never end.
        if (next->empty() || *next == cursor) {
            return fail(Errc::io,
                        "the server's list does not go on: it gave the same cursor again");
        }
        cursor = *next;
    }
}

} // namespace doorbuster
