// What a process has in Redis: a client a core, the inventory over them, and the subscription that
// tells what other nodes did. Owned by the assembly.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "adapters/redis/client.h"
#include "adapters/redis/commands.h"
#include "adapters/redis/inventory.h"
#include "adapters/redis/subscription.h"
#include "app/config.h"
#include "base/result.h"
#include "runtime/clock.h"
#include "runtime/core.h"
#include "runtime/task.h"

namespace doorbuster {

class RedisShop {
public:
    // Nothing is connected before start(). The keys carry `store_name`, so that stores which share
    // a Redis do not share their sales' numbers. `look_soon` is called on a core whenever another
    // node changed a sale or one was lost.
    [[nodiscard]] static Result<std::unique_ptr<RedisShop>> open(const Config& config,
                                                                 const std::string& store_name,
                                                                 Cores& cores, const Clock& clock,
                                                                 std::function<void()> look_soon);

    // The cores run.
    void start();
    void stop();

    [[nodiscard]] redis::RedisInventory& inventory() { return *inventory_; }
    // By core.
    [[nodiscard]] std::vector<redis::Client*> clients() const;
    // Any thread. Commands sent by all clients.
    [[nodiscard]] std::uint64_t calls() const;
    // Any thread: "up", or what is wrong.
    [[nodiscard]] std::string state() const;

private:
    explicit RedisShop(Cores& cores) : cores_(cores) {}
    Task<void> watch();

    Cores& cores_;
    std::vector<std::unique_ptr<redis::Client>> clients_; // by core, as the next
    std::vector<std::unique_ptr<redis::ClientCommands>> commands_;
    std::unique_ptr<redis::RedisInventory> inventory_;
    std::unique_ptr<redis::Subscription> subscription_; // core 0's
    mutable std::mutex mutex_;                          // guards the next
    std::string state_ = "connecting";
};

} // namespace doorbuster
