// The lifecycle: what happens to an order behind the order writer. Pays, cancels and what is due go
// to the store in batches, one transaction each; what they give back goes to the inventory at once
// (design.md section 4, rule 9). A thread of its own; everything public may be called from any
// thread, unless it says otherwise.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/latency.h"
#include "base/result.h"
#include "domain/order_life.h"
#include "engine/order_tally.h"
#include "ports/inventory.h"
#include "ports/order_store.h"
#include "runtime/clock.h"
#include "runtime/core.h"
#include "runtime/task.h"

namespace doorbuster {

class Lifecycle {
public:
    using Change = ChangeReport::Change;
    struct Options {
        std::size_t waiting_max = 10'000; // changes that wait; one more is refused
        std::size_t batch_max = 1'000;    // changes a transaction
        std::size_t expire_max = 2'000;   // orders that expire in a transaction
        // Buyers and shops wait no longer than this for the store (contract.md section 3).
        Duration answer_wait{2'000};
        // An inventory that is slower than this is away: what it is owed stays in its rows for a
        // sweep, and payments do not wait for it any longer.
        Duration release_wait{1'000};
        // Called on the lifecycle's thread when the store is lost for good; should end the process.
        std::function<void(const Error&)> on_fatal;
        OrderTally* tally = nullptr; // told of every change
        // Told of every order that changed, when it is in the store.
        std::function<void(std::span<const OrderId>)> on_changed;
        // Told of a sale whose left-over rows were released: a withdrawal may be among them, whose
        // caller did not live to publish the new terms.
        std::function<void(const SaleTerms&)> on_swept;
    };
    Lifecycle(Cores& cores, OrderStore& store, Inventory& inventory, const Clock& clock,
              Options options);
    ~Lifecycle();
    Lifecycle(const Lifecycle&) = delete;
    Lifecycle& operator=(const Lifecycle&) = delete;

    // Changes are made from here on, and what they give back is released if its sale is there;
    // nothing expires and nothing is swept before open().
    void start();
    // The inventory is there: what is due expires, and what was left over is released.
    void open();
    // Finishes the batch at hand, refuses what waits. The cores must still run.
    void stop();

    // Any core. Asks the store for one change and waits for its word, `answer_wait` at most.
    // Errc::unavailable when too many wait or the store is down; after that wait, too, and then a
    // change that was under way may still happen.
    Task<Result<Change>> change(OrderChange change);
    // Something may be due earlier than was thought: a clock was set.
    void look_again();
    // The writer has written give-back rows: they are released now, not at the next sweep.
    void sweep_soon();

    struct Totals {
        std::atomic<std::uint64_t> paid{0};
        std::atomic<std::uint64_t> cancelled{0};
        std::atomic<std::uint64_t> expired{0};
        std::atomic<std::uint64_t> released{0}; // orders whose units are for sale again
        LatencyBuckets release_seconds;         // from the decision until then, a batch each
    };
    [[nodiscard]] const Totals& totals() const { return totals_; }

private:
    struct Asked; // a change that somebody waits for
    using Waiting = std::shared_ptr<Asked>;

    void run();
    // False: the lifecycle ends.
    [[nodiscard]] bool wait_for_work();
    [[nodiscard]] bool is_stopping();
    [[nodiscard]] bool is_sweep_due();
    static void answer(const Waiting& asked, Result<Change> result);
    void refuse_waiting(const Error& error);

    // False: the store is lost, or (the first two) there is nothing more to do now.
    [[nodiscard]] bool change_batch();
    [[nodiscard]] bool expire_batch();
    void sweep();
    void tick_off();
    void give_back(std::span<const GiveBack> given_back, std::int64_t decided_ns);
    void note_released(const GiveBack& each);
    [[nodiscard]] bool release(const SaleTerms& terms, const GiveBack& each);
    // Books a failure of the store; pauses, so that it is not asked in a tight loop.
    void note_failure(const Error& error);

    Cores& cores_;
    OrderStore& store_;
    Inventory& inventory_;
    const Clock& clock_;
    Options options_;
    Totals totals_;

    // The thread's own.
    std::map<std::pair<SaleNo, Epoch>, GiveBack> released_; // not ticked off yet
    std::size_t orders_released_ = 0;
    bool is_store_up_ = true;
    std::int64_t release_again_ns_ = 0; // the inventory is away; by the steady clock

    std::mutex mutex_; // guards the rest
    std::condition_variable changed_;
    std::deque<Waiting> waiting_;
    std::optional<TimePoint> next_due_;
    std::int64_t looked_ns_ = 0; // when the store was last asked for what is due
    bool is_open_ = false;
    bool must_look_ = true;
    bool must_sweep_ = true;
    std::int64_t next_sweep_ns_ = 0;
    bool is_stopping_ = false;
    std::thread thread_;
};

} // namespace doorbuster
