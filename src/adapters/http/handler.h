// What stands between the connections and the routes.
#pragma once

#include <optional>

#include "adapters/http/message.h"
#include "runtime/task.h"

namespace doorbuster::http {

// One per core; called on that core only. A no must not cost a suspension: `answer_now` answers
// what can be answered from what the core knows, everything else goes through `answer`.
class Handler {
public:
    virtual ~Handler() = default;

    // nullopt: the connection awaits answer() with the same request.
    virtual std::optional<Response> answer_now(const Request& request) = 0;
    virtual Task<Response> answer(const Request& request) = 0;
    // The answer to what never became a request: 400, 408, 413, 414, 431; 503 to one connection
    // too many.
    virtual Response protocol_error(const ParseFailure& failure) = 0;
};

} // namespace doorbuster::http
