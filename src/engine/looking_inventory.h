// An inventory that holds no unit (design.md section 3): the first five strategies look at the
// stock and leave it to the store's guard what becomes of the order. Who looks and what the guard
// lets through is the strategy's; this is what they have in common.
//
// It is not faultless, and is not meant to be: docs/stages.md. What it does promise, for one
// serving process: the limit per user and idempotency keys hold, which the published system had
// not; who is told no has nothing. What it has not: units that come back. A sale with a payment
// step, and taking units out of the stock, are refused (see kNoPaymentStep, withdraw()).
//
// Any core; a sale's buyers live on the core that owns the sale, as in the memory inventory.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "domain/stock.h"
#include "ports/inventory.h"
#include "ports/order_store.h"
#include "ports/stock_look.h"
#include "runtime/async_places.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"
#include "runtime/core.h"

namespace doorbuster {

class LookingInventory final : public Inventory {
public:
    // Why a sale with a payment time-out cannot be sold: nothing would bring its units back.
    static constexpr const char* kNoPaymentStep = "must be 0: this purchase.strategy only looks at "
                                                  "the stock, and units that are not paid for "
                                                  "do not come back (docs/stages.md)";

    // A second less than many clients wait.
    static constexpr Duration kTurnWaitMax{9'000};

    struct Parts { // all outlive the inventory
        Cores& cores;
        const Clock& clock;
        OrderStore& store;
        BlockingPool& blocking;
        StockLook& look;
        // Attempts between the beginning of their look and the end of their write, where the log
        // is the store: as many as the store has connections for them. nullopt: as many as come.
        std::optional<std::size_t> attempts_max = std::nullopt;
        Duration turn_wait_max = kTurnWaitMax; // for one of these: then `overloaded`
    };
    explicit LookingInventory(Parts parts);

    // Waits for its turn, looks, and waits until the order is durable in the log: a log that is
    // the store itself may find that somebody else was faster, `lost_race`.
    Task<Step<Reservation>> reserve(const PurchaseRequest& request, OrderLog& log) override;
    Task<Step<std::optional<Reservation>>> find_key(const PurchaseRequest& request,
                                                    OrderLog& log) override;
    Task<Result<std::shared_ptr<const StockSignals>>> attach(const SaleTerms& terms,
                                                             Epoch epoch) override;
    Task<Result<void>> begin_rebuild(SaleNo sale, Epoch epoch) override;
    Task<Result<std::shared_ptr<const StockSignals>>> install(SaleImage image) override;
    Task<Result<void>> set_terms(const SaleTerms& terms) override;
    // Errc::wrong_state: nobody holds the units that would have to be free.
    Task<Step<LogPosition>> withdraw(const Withdrawal& withdrawal, OrderLog& log) override;
    Task<Result<void>> release(const SaleTerms& terms, Epoch epoch,
                               std::span<const OrderId> orders) override;
    // Errc::not_found: there is nothing to count.
    Task<Result<InventoryCount>> count(SaleNo sale, OrderLog& log) override;
    void settled(SaleNo, const OrderId&) override {}
    Task<Result<std::vector<LogRecord>>> pending(SaleNo sale, Duration older_than,
                                                 std::size_t records_max) override;

    // Any thread. Attempts that wait for their turn.
    [[nodiscard]] std::size_t waiting() const { return turns_ ? turns_->waiting() : 0; }

private:
    using Prints = boost::unordered_flat_set<Fingerprint, FingerprintHash>;
    using Counts = boost::unordered_flat_map<Fingerprint, int, FingerprintHash>;
    struct Entry {
        // Of a stock without an end: only who has how much, and which keys are bound.
        Stock buyers;
        Epoch epoch;
        std::shared_ptr<StockSignals> signals;
        Counts users_under_way = {};
        Prints keys_under_way = {};
    };
    struct Slot {
        Epoch opened; // by the latest rebuild that began
        std::unique_ptr<Entry> entry;
    };
    using Shelf = boost::unordered_flat_map<SaleNo, Slot, std::hash<SaleNo>>;
    // What a buyer may go on with.
    struct Claim {
        std::optional<Reservation> replay;
        Epoch epoch;
        LogPartition partition;
        std::shared_ptr<StockSignals> signals;
    };
    enum class Ending : std::uint8_t { ordered, nothing, unknown };

    [[nodiscard]] Core& owner(SaleNo sale) { return parts_.cores.owner_of(sale.get()); }
    // On the sale's own core.
    [[nodiscard]] Slot& slot_of(SaleNo sale) { return shelves_[owner(sale).index()][sale]; }
    [[nodiscard]] Entry* find(SaleNo sale); // null: cold
    [[nodiscard]] Step<Claim> claim(const PurchaseRequest& request);
    void settle(const PurchaseRequest& request, Ending ending);
    [[nodiscard]] static std::unique_ptr<Entry> build(SaleImage image);

    // In its turn.
    Task<Step<Reservation>> attempt(const PurchaseRequest& request, const Claim& claim,
                                    OrderLog& log);
    Task<Step<Reservation>> look_and_order(const PurchaseRequest& request, const Claim& claim,
                                           OrderLog& log);
    // Shows the store's row to those who look.
    Task<Result<void>> preheat(SaleNo sale);

    Parts parts_;
    std::optional<AsyncPlaces> turns_;
    std::vector<Shelf> shelves_; // by core
};

} // namespace doorbuster
