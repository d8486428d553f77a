// http_call: one request, one answer, blocking, on a connection of its own. For what a command
// asks a server beside its load: the sale, administration. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "app/load/connection.h"
#include "base/result.h"
#include "domain/time.h"

namespace doorbuster::load {

struct HttpCall {
    std::string method = "GET";
    std::string path;         // "/v1/…"; the target's prefix comes before it
    std::string bearer_token; // empty: none
    std::string body;         // JSON; empty: none
};

struct HttpAnswer {
    int status = 0;
    std::string content_type;
    std::string body;
};

// Errors: unavailable (no connection, or it broke), timeout, corrupt (not HTTP). Any status is an
// answer.
[[nodiscard]] Result<HttpAnswer> http_call(const Target& target, const HttpCall& call,
                                           Duration timeout);

// What a problem+json answer says, in a line for people: "409 sold_out: Nothing is left …".
[[nodiscard]] std::string describe(const HttpAnswer& answer);

} // namespace doorbuster::load
