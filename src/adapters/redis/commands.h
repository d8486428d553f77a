// What the inventory asks of Redis: to run scripts. One object a core, used on that core; a Client
// is behind it, or in the model test the scripts themselves.
#pragma once

#include <span>
#include <string_view>

#include "adapters/redis/client.h"
#include "adapters/redis/reply.h"
#include "adapters/redis/script.h"
#include "base/result.h"
#include "domain/time.h"
#include "runtime/task.h"

namespace doorbuster::redis {

class Commands {
public:
    using Arguments = std::span<const std::string_view>;
    virtual ~Commands() = default;

    // As Client::run: Errc::unavailable when it was certainly not executed, Errc::timeout when
    // nobody knows. What the arguments refer to lives until this ends.
    virtual Task<Result<Reply>> run(const Script& script, Arguments keys, Arguments arguments,
                                    std::string_view routing_key, Duration wait_max) = 0;
    // Lets time pass.
    virtual Task<void> pause(Duration duration) = 0;
};

class ClientCommands final : public Commands {
public:
    explicit ClientCommands(Client& client) : client_(client) {} // outlives this

    Task<Result<Reply>> run(const Script& script, Arguments keys, Arguments arguments,
                            std::string_view routing_key, Duration wait_max) override {
        return client_.run(script, keys, arguments, routing_key, wait_max);
    }
    Task<void> pause(Duration duration) override;

private:
    Client& client_;
};

} // namespace doorbuster::redis
