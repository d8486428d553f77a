// OrderFeed: tells those who look on at an order that it may have changed. They look themselves
// what became of it, so a wake-up too many is harmless; one too few is made up for by a poll.
//
// One per process, with a lock of its own, held for a look-up. Outlives the cores' contexts: a
// coroutine that is dropped with its context gives its place back.
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>

#include "domain/ids.h"
#include "domain/log_record.h"
#include "domain/time.h"
#include "runtime/task.h"

namespace doorbuster {

class OrderFeed;

// A place in the feed, for one order. Belongs to a core.
class OrderWatch {
public:
    OrderWatch(OrderFeed& feed, const OrderId& order, Executor core);
    ~OrderWatch();
    OrderWatch(const OrderWatch&) = delete;
    OrderWatch& operator=(const OrderWatch&) = delete;

    // Waits until the order may have changed since this returned true last, or since the watch
    // began. False: nothing was heard within the time, or the watch was stopped.
    Task<bool> changed(Duration at_most);
    // changed() returns now and from now on at once.
    void stop();
    [[nodiscard]] bool is_stopped() const { return is_stopped_; }

private:
    friend class OrderFeed;
    using Steady = std::chrono::steady_clock;
    using Timer =
        boost::asio::basic_waitable_timer<Steady, boost::asio::wait_traits<Steady>, Executor>;

    // Shared with the wake-ups that are on their way to the core when the watch ends.
    struct Bell {
        explicit Bell(const Executor& core) : core(core), timer(core) {}

        Executor core;
        Timer timer; // the core's
        std::atomic<bool> has_rung{false};
    };

    OrderFeed& feed_;
    OrderId order_;
    std::shared_ptr<Bell> bell_;
    bool is_stopped_ = false;
};

class OrderFeed {
public:
    explicit OrderFeed(std::size_t places_max) : places_max_(places_max) {}
    ~OrderFeed();
    OrderFeed(const OrderFeed&) = delete;
    OrderFeed& operator=(const OrderFeed&) = delete;

    // On `core`. What is read of the order afterwards misses nothing that the watch does not tell.
    // Null: all places are taken.
    [[nodiscard]] std::unique_ptr<OrderWatch> watch(const OrderId& order, const Executor& core);

    // Any thread, after the store has the change. Costs a load while nobody looks on; never waits
    // for a core.
    void changed(std::span<const OrderId> orders);
    void changed(std::span<const LogRecord> records);

    // How long to wait for a wake-up before looking anyway: another process may have changed the
    // order. Grows with the places taken, so that all their looks together stay bounded.
    [[nodiscard]] Duration poll_interval() const;
    [[nodiscard]] std::size_t places_taken() const { return taken_.load(); }

private:
    friend class OrderWatch;
    using Bell = OrderWatch::Bell;

    struct Shard {
        std::mutex mutex; // guards the bells
        std::unordered_multimap<OrderId, std::shared_ptr<Bell>, OrderIdHash> bells;
    };
    [[nodiscard]] Shard& shard_of(const OrderId& order);
    void ring(const OrderId& order);
    void leave(const OrderWatch& watch);

    std::size_t places_max_;
    std::atomic<std::size_t> taken_{0};
    std::array<Shard, 64> shards_; // far more than threads, so that they rarely meet
};

} // namespace doorbuster
