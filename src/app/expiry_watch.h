// What the expiry benchmark looks through: the store and the inventory, which pass every call on
// and note when orders that expired were decided on and when their units were for sale again. Each
// member says which thread owns it; whoever reads has joined that thread, or looks at the atomics.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/histogram.h"
#include "ports/inventory.h"
#include "ports/order_store.h"
#include "runtime/clock.h"

namespace doorbuster {

// One sale whose orders expire.
struct ExpiryWatch {
    struct Sellable {
        OrderId order;
        std::int64_t at_ns = 0;
    };

    SaleNo sale;             // set before anything is due, as the next two
    std::int64_t due_ns = 0; // when all are due; 0: each at its own time
    bool keeps_orders = false;
    Histogram transaction_ns;         // the lifecycle's thread
    Histogram decided_to_sellable_ns; // core 0's, as the next three
    Histogram due_to_sellable_ns;
    std::int64_t last_ns = 0;
    std::vector<Sellable> orders;
    std::atomic<std::uint64_t> sellable{0};
};

class WatchedStore final : public OrderStore {
public:
    WatchedStore(OrderStore& store, const Clock& clock, std::vector<ExpiryWatch*> watches)
        : store_(store), clock_(clock), watches_(std::move(watches)) {}

    // Any thread. When the transaction began whose orders are being released; 0: a sweep's.
    [[nodiscard]] std::int64_t decided_ns() const { return decided_ns_.load(); }
    [[nodiscard]] const Histogram& tick_off_ns() const { return tick_off_ns_; }

    Result<ExpiryReport> expire_due(std::size_t orders_max) override {
        const std::int64_t start_ns = clock_.steady_ns();
        decided_ns_ = start_ns;
        auto report = store_.expire_due(orders_max);
        if (!report) return report;
        const auto took_ns = static_cast<std::uint64_t>(clock_.steady_ns() - start_ns);
        for (const GiveBack& each : report->given_back) {
            for (ExpiryWatch* watch : watches_) {
                if (watch->sale == each.sale.terms.no) watch->transaction_ns.record(took_ns);
            }
        }
        return report;
    }
    Result<void> give_backs_done(std::span<const GiveBack> done) override {
        const std::int64_t start_ns = clock_.steady_ns();
        auto result = store_.give_backs_done(done);
        tick_off_ns_.record(static_cast<std::uint64_t>(clock_.steady_ns() - start_ns));
        return result;
    }
    Result<std::vector<GiveBack>> pending_give_backs(const std::optional<OrderId>& after,
                                                     std::size_t orders_max) override {
        decided_ns_ = 0;
        return store_.pending_give_backs(after, orders_max);
    }

    // The rest is passed on.
    Result<LogBinding> log_binding() override { return store_.log_binding(); }
    Result<void> bind_log(const std::string& log_id) override { return store_.bind_log(log_id); }
    Result<std::pair<StoredSale, bool>> create_sale(const SaleTerms& terms,
                                                    const std::string& created_as,
                                                    const std::string& who) override {
        return store_.create_sale(terms, created_as, who);
    }
    Result<StoredSale> find_sale(std::string_view id) override { return store_.find_sale(id); }
    Result<std::vector<StoredSale>> list_sales(const std::string& after,
                                               std::size_t limit) override {
        return store_.list_sales(after, limit);
    }
    Result<StoredSale> change_sale(const std::string& id, const TermsChange& change,
                                   const std::optional<ChangeKey>& key,
                                   const JournalNote& note) override {
        return store_.change_sale(id, change, key, note);
    }
    Result<std::string> find_change(SaleNo sale, const std::string& key) override {
        return store_.find_change(sale, key);
    }
    Result<bool> is_withdrawn(const OrderId& withdrawal) override {
        return store_.is_withdrawn(withdrawal);
    }
    Result<std::vector<JournalEntry>> journal(SaleNo sale, std::int64_t after,
                                              std::size_t limit) override {
        return store_.journal(sale, after, limit);
    }
    Result<std::vector<StoredSale>> next_epochs(std::span<const SaleNo> sales) override {
        return store_.next_epochs(sales);
    }
    Result<void> read_snapshot(std::span<const SaleNo> sales, TimePoint keys_since,
                               SaleSnapshotSink& sink) override {
        return store_.read_snapshot(sales, keys_since, sink);
    }
    Result<ApplyReport> apply(LogPlace from, LogPosition next, std::span<const LogRecord> records,
                              StockGuard guard) override {
        return store_.apply(from, next, records, guard);
    }
    Result<StockSighting> look_at_stock(SaleNo sale) override { return store_.look_at_stock(sale); }
    Result<ChangeReport> change_orders(std::span<const OrderChange> changes) override {
        return store_.change_orders(changes);
    }
    Result<Order> find_order(const OrderId& id) override { return store_.find_order(id); }
    Result<OrderPage> list_orders(SaleNo sale, const OrderFilter& filter,
                                  const std::optional<OrderId>& after, std::size_t limit) override {
        return store_.list_orders(sale, filter, after, limit);
    }
    Result<Books> books(const std::optional<std::string>& sale,
                        std::span<const OrderId> asked) override {
        return store_.books(sale, asked);
    }
    [[nodiscard]] Connections connections() const override { return store_.connections(); }
    Result<void> ping() override { return store_.ping(); }

private:
    OrderStore& store_;
    const Clock& clock_;
    std::vector<ExpiryWatch*> watches_;
    std::atomic<std::int64_t> decided_ns_{0};
    Histogram tick_off_ns_; // the lifecycle's thread
};

class WatchedInventory final : public Inventory {
public:
    WatchedInventory(Inventory& inventory, const WatchedStore& store, const Clock& clock,
                     std::vector<ExpiryWatch*> watches)
        : inventory_(inventory), store_(store), clock_(clock), watches_(std::move(watches)) {}

    // Core 0, for the lifecycle.
    Task<Result<void>> release(const SaleTerms& terms, Epoch epoch,
                               std::span<const OrderId> orders) override {
        auto released = co_await inventory_.release(terms, epoch, orders);
        const std::int64_t decided_ns = store_.decided_ns();
        if (released && decided_ns > 0) note(terms.no, orders, decided_ns);
        co_return released;
    }

    // The rest is passed on.
    Task<Step<Reservation>> reserve(const PurchaseRequest& request, OrderLog& log) override {
        return inventory_.reserve(request, log);
    }
    Task<Step<std::optional<Reservation>>> find_key(const PurchaseRequest& request,
                                                    OrderLog& log) override {
        return inventory_.find_key(request, log);
    }
    Task<Result<std::shared_ptr<const StockSignals>>> attach(const SaleTerms& terms,
                                                             Epoch epoch) override {
        return inventory_.attach(terms, epoch);
    }
    Task<Result<void>> begin_rebuild(SaleNo sale, Epoch epoch) override {
        return inventory_.begin_rebuild(sale, epoch);
    }
    Task<Result<std::shared_ptr<const StockSignals>>> install(SaleImage image) override {
        return inventory_.install(std::move(image));
    }
    Task<Result<void>> set_terms(const SaleTerms& terms) override {
        return inventory_.set_terms(terms);
    }
    Task<Step<LogPosition>> withdraw(const Withdrawal& withdrawal, OrderLog& log) override {
        return inventory_.withdraw(withdrawal, log);
    }
    Task<Result<InventoryCount>> count(SaleNo sale, OrderLog& log) override {
        return inventory_.count(sale, log);
    }
    void settled(SaleNo sale, const OrderId& order) override { inventory_.settled(sale, order); }
    Task<Result<std::vector<LogRecord>>> pending(SaleNo sale, Duration older_than,
                                                 std::size_t records_max) override {
        return inventory_.pending(sale, older_than, records_max);
    }

private:
    void note(SaleNo sale, std::span<const OrderId> orders, std::int64_t decided_ns) {
        const std::int64_t now_ns = clock_.steady_ns();
        const auto since = [now_ns](std::int64_t ns) {
            return static_cast<std::uint64_t>(now_ns > ns ? now_ns - ns : 0);
        };
        for (ExpiryWatch* watch : watches_) {
            if (watch->sale != sale) continue;
            watch->last_ns = now_ns;
            for (const OrderId& order : orders) {
                watch->decided_to_sellable_ns.record(since(decided_ns));
                if (watch->due_ns > 0) watch->due_to_sellable_ns.record(since(watch->due_ns));
                if (watch->keeps_orders) watch->orders.push_back({order, now_ns});
            }
            watch->sellable.fetch_add(orders.size(), std::memory_order_release);
        }
    }

    Inventory& inventory_;
    const WatchedStore& store_;
    const Clock& clock_;
    std::vector<ExpiryWatch*> watches_;
};

} // namespace doorbuster
