// A small HTTP/1.1 client for the commands that talk to a running server: one request at a time,
// blocking, over one connection that is kept open. Owned and used by one thread.
//
// Promises: a call ends by its deadline (the lookup of a name by the system's own); an answer's
// size is bounded; a request is sent at most once, but for a GET on a connection that turns out to
// have been closed meanwhile. Certificates are checked, against the system's authorities unless
// the options say else. Redirects are answers like any other.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace doorbuster {

struct HttpReply {
    unsigned status = 0;
    std::string content_type;
    std::string body;
};

struct HttpClientOptions {
    std::string url; // http:// or https://, a host, an optional port and path in front of ours
    std::string admin_token = {};                                 // empty: no Authorization header
    std::chrono::milliseconds timeout = std::chrono::seconds(30); // of one call
    bool insecure = false;                                        // https: take any certificate
    std::string ca_file = {}; // https: trust these PEM certificates, not the system's
};

struct HttpHeader {
    std::string name;
    std::string value;
};

class HttpClient {
public:
    // Errc::invalid when the address or the file of certificates is none. Connects with the first
    // call.
    [[nodiscard]] static Result<HttpClient> create(HttpClientOptions options);

    HttpClient(HttpClient&&) noexcept;
    HttpClient& operator=(HttpClient&&) noexcept;
    ~HttpClient();

    // `target` is a path with its query, "/v1/sales?limit=10". Errors name the server:
    // unavailable (nobody answers), timeout, io (the connection broke, TLS, not HTTP).
    [[nodiscard]] Result<HttpReply> get(std::string_view target);
    // A JSON body, or none if it is empty.
    [[nodiscard]] Result<HttpReply> send(std::string_view method, std::string_view target,
                                         std::string body, std::vector<HttpHeader> headers = {});

    [[nodiscard]] const std::string& url() const;

private:
    class Link;
    explicit HttpClient(std::unique_ptr<Link> link);

    std::unique_ptr<Link> link_;
};

// A text as part of a path or a query (RFC 3986 section 2.3: all but unreserved is escaped).
[[nodiscard]] std::string url_escaped(std::string_view text);

} // namespace doorbuster
