// Keeps a process's sales going where other processes change them, too: shows what was created and
// changed elsewhere, attaches to the inventory or rebuilds what was lost, and appends again the
// holds that stayed pending (design.md section 4, rules 6 to 8). One Task on core 0; everything
// public may be called from any core, unless it says otherwise.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/purchase_service.h"
#include "engine/rebuild.h"
#include "engine/sale_directory.h"
#include "ports/inventory.h"
#include "ports/order_log.h"
#include "ports/order_store.h"
#include "runtime/async_lock.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"
#include "runtime/core.h"
#include "runtime/task.h"

namespace doorbuster {

class SaleKeeper {
public:
    struct Parts { // all outlive the keeper
        Cores& cores;
        const Clock& clock;
        BlockingPool& blocking;
        OrderStore& store;
        OrderLog& log;
        Inventory& inventory;
        Rebuild& rebuild;
        OrderTally& tally; // set anew from the store now and then: other processes write orders
        std::vector<std::unique_ptr<SaleDirectory>>& directories; // by core
        // Draws a number below its argument: who rebuilds first is left to chance.
        std::function<std::uint64_t(std::uint64_t)> random;
        // Told once, when every sale is known; whether each sells is state().
        std::function<void(std::size_t sales)> on_ready;
    };
    explicit SaleKeeper(Parts parts);

    // Core 0, once: until the process ends.
    Task<void> run();
    // Any thread. Something changed elsewhere: look now, not at the next round.
    void look_soon();
    // A sale that this process does not know: asks the store, so that one which was created on
    // another node a moment ago sells here, too; waits a little until it does. Bounded: under a
    // flood of wrong ids most are not looked up.
    Task<void> discover(std::string id);
    // The same for whatever the store knows: an order of an unknown sale was found.
    Task<void> refresh();

    // Any thread: what it waits for, for /readyz; "up" when every sale sells.
    [[nodiscard]] std::string state() const;

private:
    // A sale that does not sell, the store's epoch of it, and when it may be rebuilt by us.
    struct Cold {
        Epoch epoch;
        int attempts = 0;
        std::int64_t not_before_ns = 0;
        bool is_due = false; // it is in due_, or being rebuilt
    };
    enum class Waiting : std::uint8_t { nothing, store, inventory, rebuild };

    // One round over what the store has: terms, and attaching. What takes longer (rebuilds, pending
    // holds, counting) is begun here and goes on by itself, one of each kind at a time.
    Task<void> look();
    Task<Result<std::vector<StoredSale>>> read_sales();
    Task<void> show_terms(const SaleTerms& terms);
    // False: the inventory is away.
    Task<bool> keep(const StoredSale& sale);
    // Attaches to it. False: it has to be rebuilt.
    Task<Result<bool>> attach(const StoredSale& sale);
    Task<bool> revive(const StoredSale& sale);
    Task<void> discover_in_turn(const std::string& id);
    // Begins the work unless it is under way.
    void begin(bool& is_under_way, Task<void> (SaleKeeper::*work)());
    Task<void> rebuild_due();
    Task<void> rebuild(const StoredSale& sale);
    Task<void> count_orders();
    Task<void> append_pending();
    Task<void> append_pending_of(SaleNo sale, LogPartition partition);
    [[nodiscard]] bool is_cold(SaleNo sale) const;

    Parts parts_;
    // Core 0's: rounds and discoveries, none of which waits for a rebuild.
    AsyncLock turn_;
    std::uint64_t looks_ = 0;    // begun
    std::deque<StoredSale> due_; // to be rebuilt, those that sell now first
    bool is_rebuilding_ = false;
    bool is_counting_ = false;
    bool is_appending_ = false;
    std::map<SaleNo, Cold> cold_;
    std::map<SaleNo, Epoch> attached_;    // under which epoch
    std::map<SaleNo, std::int64_t> told_; // versions of the terms that the inventory has
    struct Appended {
        LogPosition position;
        std::int64_t again_at_ns = 0;
    };
    std::map<std::pair<OrderId, Epoch>, Appended> appended_; // pending holds, by us
    std::int64_t next_append_ns_ = 0;
    std::int64_t next_count_ns_ = 0;
    bool is_ready_ = false;
    std::atomic<bool> must_look_{false};
    std::int64_t next_discovery_ns_ = 0;
    std::atomic<Waiting> waiting_{Waiting::store};
};

} // namespace doorbuster
