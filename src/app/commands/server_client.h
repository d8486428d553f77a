// The commands' side of a running server: the options that say which one, and calls that turn its
// answers into JSON or into words for people. Owned and used by one command's thread.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "app/commands/command_context.h"
#include "app/commands/http_client.h"

namespace CLI {
class App;
class Option;
} // namespace CLI

namespace doorbuster {

inline constexpr std::string_view kDefaultServerUrl = "http://127.0.0.1:8080";

struct ServerOptions {
    std::string url;         // empty: DOORBUSTER_URL, else kDefaultServerUrl
    std::string admin_token; // empty: DOORBUSTER_ADMIN_TOKEN, else none; may be "file:PATH"
    bool insecure = false;
    std::string ca_file;
    std::chrono::milliseconds timeout = std::chrono::seconds(30); // of one call
};

// Adds --url, --admin-token, --ca-file and --insecure to a command; `options` outlives the parsing.
// Returns --url.
CLI::Option* add_server_options(CLI::App& command, ServerOptions& options);

class ServerClient {
public:
    [[nodiscard]] static Result<ServerClient> create(const ServerOptions& options,
                                                     const Environment& environment);

    // The JSON of a 2xx answer. What the server refuses is an error in its own words: Errc::invalid
    // for invalid_request, not_found for 404, unavailable for 503,
    // wrong_state for 409, else conflict.
    [[nodiscard]] Result<boost::json::value> get(std::string_view target);
    [[nodiscard]] Result<boost::json::value> send(std::string_view method, std::string_view target,
                                                  const boost::json::value& body,
                                                  std::vector<HttpHeader> headers = {});

    // Every item of a list, page by page, with at most one page in memory. `path` may have a query.
    // Ends with the first error that `take` returns.
    using Take = std::function<Result<void>(const boost::json::value& item)>;
    [[nodiscard]] Result<void> for_each(std::string_view path, const Take& take);

private:
    explicit ServerClient(HttpClient http) : http_(std::move(http)) {}
    [[nodiscard]] Result<boost::json::value> read(Result<HttpReply> reply) const;

    HttpClient http_;
};

} // namespace doorbuster
