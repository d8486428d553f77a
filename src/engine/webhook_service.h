// What operators see of the webhooks, and replaying: the dispatcher's calls without blocking a
// core. Any core.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/webhook_dispatcher.h"
#include "runtime/blocking_pool.h"
#include "runtime/task.h"

namespace doorbuster {

class WebhookService {
public:
    // Both outlive the service.
    WebhookService(WebhookDispatcher& dispatcher, BlockingPool& blocking)
        : dispatcher_(dispatcher), blocking_(blocking) {}

    // As WebhookDispatcher's; the arguments live until the Task ends.
    Task<Result<std::vector<WebhookStatus>>> list() {
        auto call = [this] { return dispatcher_.list(); };
        co_return co_await blocking_.run(std::move(call));
    }
    Task<Result<WebhookDispatcher::EventPage>> events(const std::string& url, AsideState state,
                                                      std::int64_t after, std::size_t limit) {
        auto call = [&, this] { return dispatcher_.events(url, state, after, limit); };
        co_return co_await blocking_.run(std::move(call));
    }
    Task<Result<WebhookStatus>> replay(const std::string& url, const ReplayRequest& request) {
        auto call = [&, this] { return dispatcher_.replay(url, request); };
        co_return co_await blocking_.run(std::move(call));
    }

private:
    WebhookDispatcher& dispatcher_;
    BlockingPool& blocking_;
};

} // namespace doorbuster
