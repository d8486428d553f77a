// The inventory in memory: each sale's Stock lives on one core, which decides and applies without a
// lock. A yes takes its hold and its place in the log in one turn of that core.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <memory>
#include <vector>

#include "ports/inventory.h"
#include "runtime/clock.h"
#include "runtime/core.h"

namespace doorbuster::memory {

class MemoryInventory final : public Inventory {
public:
    MemoryInventory(Cores& cores, const Clock& clock);

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
    void settled(SaleNo, const OrderId&) override {}
    Task<Result<std::vector<LogRecord>>> pending(SaleNo sale, Duration older_than,
                                                 std::size_t records_max) override;

private:
    struct Entry {
        Stock stock;
        Epoch epoch;
        Units given_back = 0;                  // of what the store has given back, ever
        std::shared_ptr<StockSignals> signals; // shared with every core's view of the sale

        void publish() const;
    };
    struct Slot {
        Epoch opened; // by the latest rebuild that began; an entry of an older epoch is cold
        std::unique_ptr<Entry> entry;
    };
    using Shelf = boost::unordered_flat_map<SaleNo, Slot, std::hash<SaleNo>>;

    [[nodiscard]] Core& owner(SaleNo sale) { return cores_.owner_of(sale.get()); }
    // On the sale's own core.
    [[nodiscard]] Slot& slot_of(SaleNo sale) { return shelves_[owner(sale).index()][sale]; }
    [[nodiscard]] Entry* find(SaleNo sale); // null: cold
    [[nodiscard]] Step<Reservation> reserve_here(const PurchaseRequest& request, OrderLog& log);
    [[nodiscard]] Step<LogPosition> withdraw_here(const Withdrawal& withdrawal, OrderLog& log);
    [[nodiscard]] static std::unique_ptr<Entry> build(SaleImage image);

    Cores& cores_;
    const Clock& clock_;
    std::vector<Shelf> shelves_; // by core
};

} // namespace doorbuster::memory
