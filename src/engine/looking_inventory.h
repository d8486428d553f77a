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

    // What an order without an end has to be older than to be given up when it is nowhere, where
    // the log is the store: longer than any database keeps a transaction that nobody goes on with.
    static constexpr Duration kGivenUpAfter{180'000};
    static constexpr int kPreheatReadsMax = 10;

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

    // Waits for an attempt with the same key, and for its turn; looks; and waits until the order is
    // durable in the log: a log that is the store itself may find that somebody else was faster,
    // `lost_race`.
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
    using Counts = boost::unordered_flat_map<Fingerprint, int, FingerprintHash>;
    struct Key { // of an attempt under way: who comes with it, too, waits for the place in it
        AsyncPlaces places{1};
        std::optional<AsyncPlaces::Held> held = places.try_take();
    };
    using Keys = boost::unordered_flat_map<Fingerprint, Key, FingerprintHash>;
    // An order that may have been stored, or may be yet. It keeps its units and its key.
    struct Unsettled {
        OrderId order;
        std::optional<Fingerprint> key;
        Units quantity = 0;
        TimePoint since;
    };
    using AllUnsettled =
        boost::unordered_flat_map<Fingerprint, std::vector<Unsettled>, FingerprintHash>; // by user
    struct Entry {
        // Of a stock without an end: only who has how much, and which keys are bound.
        Stock buyers;
        Epoch epoch;
        std::shared_ptr<StockSignals> signals;
        Counts users_under_way = {};
        Keys keys_under_way = {};
        AllUnsettled unsettled = {};
    };
    struct Slot {
        Epoch opened; // by the latest rebuild that began
        std::unique_ptr<Entry> entry;
    };
    using Shelf = boost::unordered_flat_map<SaleNo, Slot, std::hash<SaleNo>>;
    // What a buyer may go on with.
    struct Claim {
        std::optional<Reservation> replay;
        std::optional<AsyncPlaces> wait; // an attempt with the same key is under way: then again
        std::optional<Refusal> unless_sold_out; // nothing is held: the answer, if any are left
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
    // The user's orders that may be there, where they decide about this request.
    [[nodiscard]] std::vector<Unsettled> unsettled_for(const PurchaseRequest& request);
    enum class Whereabouts : std::uint8_t { found, nowhere, not_known };
    void settle(const PurchaseRequest& request, const OrderId& order, Whereabouts where);
    // Asks the log and the store for these.
    Task<void> ask_for_unsettled(const PurchaseRequest& request, OrderLog& log);
    [[nodiscard]] Whereabouts look_for(const OrderId& order, OrderLog& log); // blocking
    // claim(), behind whoever has the same key, and with what has become of the user's orders.
    Task<Step<Claim>> claim_in_line(const PurchaseRequest& request, OrderLog& log);
    // The contract's order: nothing left, before what the buyer may not have.
    Task<Step<Reservation>> refuse_unless_sold_out(const PurchaseRequest& request,
                                                   const Claim& claim);
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
    AsyncPlaces preheating_{1};
    std::vector<Shelf> shelves_; // by core
};

} // namespace doorbuster
