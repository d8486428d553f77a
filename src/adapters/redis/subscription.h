// A subscription to some channels, on a connection of its own that comes back by itself. Messages
// that are published while it is away are lost: on_connected tells when to look for what they said.
//
// Belongs to one core, as a Client does.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis/client.h"
#include "base/result.h"
#include "runtime/core.h"

namespace doorbuster::redis {

class Subscription {
public:
    // Called on the core; they may not destroy the subscription.
    struct Callbacks {
        std::function<void(std::string_view channel, std::string_view message)> on_message;
        // From here on every message comes, until the next time.
        std::function<void()> on_connected;
    };

    // Errc::invalid: the file with the authorities' certificates cannot be read. In a cluster any
    // of the listed servers will do: each passes on what is published at any other.
    static Result<std::unique_ptr<Subscription>>
    open(Core& core, ClientOptions options, std::vector<std::string> channels, Callbacks callbacks);
    // On the core, or after it was joined. No callback is called any more.
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

    // Once, any thread.
    void start();
    // Any thread. Ends the connection; no callback is called any more, but for one under way.
    void close();

    // On the core: "up", or what is wrong.
    [[nodiscard]] const std::string& state() const;

private:
    struct Impl;
    explicit Subscription(std::shared_ptr<Impl> impl);

    // Shared with its coroutine, which notices later that it is over.
    std::shared_ptr<Impl> impl_;
};

} // namespace doorbuster::redis
