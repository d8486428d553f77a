// The inventory in Redis: every node of a cluster sells from it. What a sale holds lives there
// alone; each script call makes sure first that it was installed in this life of that server, and
// is cold otherwise (design.md section 4, rules 5 to 11 and 16).
//
// Any core may call; on core i the i-th Commands are used. It is made before the cores run, and
// goes away after they were joined.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapters/redis/attempt_queue.h"
#include "adapters/redis/commands.h"
#include "adapters/redis/inventory_scripts.h"
#include "adapters/redis/recent_appends.h"
#include "adapters/redis/sale_calls.h"
#include "adapters/redis/signal_board.h"
#include "ports/inventory.h"
#include "runtime/clock.h"
#include "runtime/core.h"

namespace doorbuster::redis {

struct InventoryOptions {
    // Of every key, and of the channel. Two stores never share one: their sales have the same
    // numbers.
    std::string prefix = "doorbuster";
    // Attempts that wait for Redis, a core: half a second's worth.
    std::size_t waiting_max = 32'768;
    // Of one script call. It keeps Redis for about a millisecond.
    std::size_t batch_max = 128;
    // Under way at once, of one core and sale: one is being decided while the other's answers are.
    std::size_t calls_max = 2;
    // Holds of a sale whose record nobody has seen in the log; past them 503. A second's worth.
    std::size_t pending_max = 50'000;
    // 32 random bits: part of names that must be this process's own.
    std::uint32_t process = 0;
    SignalBoard::Callbacks callbacks = {};
    // For operators, one sentence each.
    std::function<void(const std::string&)> tell = {};
};

class RedisInventory final : public Inventory {
public:
    // One Commands a core, in the cores' order; all outlive this.
    RedisInventory(Cores& cores, std::vector<Commands*> commands, const Clock& clock,
                   InventoryOptions options);
    ~RedisInventory() override;

    // Once, when the cores run: looks again and again how the shown sales stand, because messages
    // may be lost.
    void start();
    // Any thread. What was published on channel(), by any node.
    void hear(std::string_view message) { board_.hear(message); }
    [[nodiscard]] const std::string& channel() const { return channel_; }
    // On a core: what its attempts have cost so far.
    [[nodiscard]] const AttemptCounts& counts_here() const;

    Task<Step<Reservation>> reserve(const PurchaseRequest& request, OrderLog& log) override;
    Task<Step<std::optional<Reservation>>> find_key(const PurchaseRequest& request,
                                                    OrderLog& log) override;
    Task<Result<std::shared_ptr<const StockSignals>>> attach(const SaleTerms& terms,
                                                             Epoch epoch) override;
    Task<Result<void>> begin_rebuild(SaleNo sale, Epoch epoch) override;
    Task<Result<std::shared_ptr<const StockSignals>>> install(SaleImage image) override;
    Task<Result<void>> set_terms(const SaleTerms& terms) override;
    Task<Step<LogPosition>> withdraw(const Withdrawal& withdrawal, OrderLog& log) override;
    Task<Result<void>> release(const SaleTerms& terms, Epoch epoch,
                               std::span<const OrderId> orders) override;
    Task<Result<InventoryCount>> count(SaleNo sale, OrderLog& log) override;
    void settled(SaleNo sale, const OrderId& order) override;
    Task<Result<std::vector<LogRecord>>> pending(SaleNo sale, Duration older_than,
                                                 std::size_t records_max) override;

private:
    struct Place { // one core's
        Place(Commands& commands, const Clock& clock, const std::string& prefix,
              AttemptQueue::Parts parts, AttemptQueue::Limits limits)
            : pause(commands),
              calls(commands, clock, prefix),
              attempts(std::move(parts), std::move(limits)) {}

        Commands& pause;
        SaleCalls calls;
        AttemptQueue attempts;
    };
    [[nodiscard]] std::size_t index_here() const; // cores_.size(): not on a core
    [[nodiscard]] Place& here() const;
    // Runs a script without further keys and looks at the status that it answers.
    Task<Result<SaleCalls::Answer>> run(const Script& script, SaleNo sale,
                                        std::span<const std::string> arguments);
    Task<void> keep_looking();
    // How the sale stands. False when Redis is away.
    Task<bool> look(SaleNo sale);

    Cores& cores_;
    const Clock& clock_;
    const InventoryOptions options_;
    const std::string channel_;
    const InventoryScripts scripts_;
    SignalBoard board_;
    std::vector<std::unique_ptr<Place>> places_; // by core
    RecentAppends appends_;
    std::atomic<std::uint64_t> installs_{0};
};

} // namespace doorbuster::redis
