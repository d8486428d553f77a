// What a request is to the routes, and what they answer. Values of one request; they live on the
// connection's core and only as long as the request.
#pragma once

#include <array>
#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/task.h"

namespace doorbuster::http {

enum class Method : std::uint8_t { get, head, post, put, patch, del, options, other };

// Views point into the connection's buffer and stay valid until the request has been answered.
struct Request {
    Method method = Method::other;
    std::string_view method_text;
    std::string_view path;  // unreserved characters decoded (%72 is r), the rest as sent
    std::string_view query; // what follows '?', without it
    bool keep_alive = true;

    // The headers that the routes look at; empty when absent. At most one of each was sent, else
    // the request was refused before it came here.
    std::string_view host;
    std::string_view origin;
    std::string_view authorization;
    std::string_view content_type;
    std::string_view idempotency_key;
    bool has_idempotency_key = false; // an empty key is refused, no key is fine
    std::string_view user_id;         // X-User-Id
    std::string_view forwarded_for;   // X-Forwarded-For, several joined in order with ", "
    std::string_view accept_encoding; // the last one, as the next
    std::string_view if_none_match;
    std::string_view request_id; // valid and echoed, or made by the connection: never empty

    std::string_view body;        // at most kBodyMax bytes, chunks joined
    bool body_is_encoded = false; // a Content-Encoding other than identity
    boost::asio::ip::address peer;
    bool listener_is_loopback = false;
};

// Why bytes never became a request. `field` names the header that is wrong, and may point into
// those bytes; `detail` is a literal: with 400 what is to be said of the field ("must be there
// once"), else a sentence.
struct ParseFailure {
    std::uint16_t status = 400;
    std::string_view detail;
    std::string_view field = "request"; // the whole
};

// A body that comes in parts, over time. Belongs to the connection and its core, and lives until
// the last part was sent or the client is gone; so it may refer to nothing of its Request.
class BodyStream {
public:
    BodyStream() = default;
    BodyStream(const BodyStream&) = delete;
    BodyStream& operator=(const BodyStream&) = delete;
    virtual ~BodyStream() = default;

    // The next part, not empty, as soon as there is one; nullopt: that was all. Awaited again only
    // when the client has taken the part before.
    virtual Task<std::optional<std::string>> next() = 0;
    // Nobody reads on, or the server ends: next() returns nullopt soon, also the one that waits.
    virtual void stop() = 0;
};

// `headers` holds whole lines ("Name: value\r\n") beyond those that the connection writes itself
// (Date, X-Request-Id, Content-Type, Content-Length, Transfer-Encoding, Connection).
struct Response {
    std::uint16_t status = 200;
    std::string_view content_type = "application/json";
    std::string headers;
    // The body is `fixed` if that is not empty (a text that outlives the server), else `body`.
    std::string_view fixed;
    std::string body;
    std::unique_ptr<BodyStream> stream; // instead of a body, where there is one
    bool close = false;                 // close the connection after this answer

    [[nodiscard]] std::string_view content() const {
        return fixed.empty() ? std::string_view(body) : fixed;
    }
};

} // namespace doorbuster::http
