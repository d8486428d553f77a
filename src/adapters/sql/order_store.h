// The order store in an SQL database, through SOCI. Sessions come from a pool; the order writer has
// one of its own, with its statements prepared once.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

#include "ports/order_store.h"
#include "runtime/clock.h"

namespace doorbuster::sql {

enum class StoreMode { serve, read_only };

struct OrderStoreOptions {
    std::string sqlite_path;
    std::size_t pool_size = 4; // sessions for everything but the writer
    StoreMode mode = StoreMode::serve;
    const Clock* clock = nullptr; // the store's own; null: the system's. Outlives the store
    bool with_events = false;     // write the outbox: somebody reads it
};

class SqlOrderStore final : public OrderStore {
public:
    // Creates the tables of a new store. Errc::too_new for a store of a newer version.
    [[nodiscard]] static Result<std::unique_ptr<SqlOrderStore>> open(OrderStoreOptions options);
    ~SqlOrderStore() override;

    // The files have been found right: from here on closing the store may tidy them up. Before
    // that, a start that is refused leaves them as they were.
    [[nodiscard]] Result<void> adopt();

    [[nodiscard]] Result<LogBinding> log_binding() override;
    [[nodiscard]] Result<void> bind_log(const std::string& log_id) override;

    [[nodiscard]] Result<std::pair<StoredSale, bool>> create_sale(const SaleTerms& terms,
                                                                  const std::string& created_as,
                                                                  const std::string& who) override;
    [[nodiscard]] Result<StoredSale> find_sale(std::string_view id) override;
    [[nodiscard]] Result<std::vector<StoredSale>> list_sales(const std::string& after,
                                                             std::size_t limit) override;
    [[nodiscard]] Result<StoredSale> change_sale(const std::string& id, const TermsChange& change,
                                                 const std::optional<ChangeKey>& key,
                                                 const JournalNote& note) override;
    [[nodiscard]] Result<std::string> find_change(SaleNo sale, const std::string& key) override;
    [[nodiscard]] Result<bool> is_withdrawn(const OrderId& withdrawal) override;
    [[nodiscard]] Result<std::vector<JournalEntry>> journal(SaleNo sale, std::int64_t after,
                                                            std::size_t limit) override;
    [[nodiscard]] Result<std::vector<StoredSale>>
    next_epochs(std::span<const SaleNo> sales) override;
    [[nodiscard]] Result<void> read_snapshot(std::span<const SaleNo> sales, TimePoint keys_since,
                                             SaleSnapshotSink& sink) override;

    [[nodiscard]] Result<ApplyReport> apply(LogPlace from, LogPosition next,
                                            std::span<const LogRecord> records,
                                            StockGuard guard) override;

    [[nodiscard]] Result<ChangeReport> change_orders(std::span<const OrderChange> changes) override;
    [[nodiscard]] Result<ExpiryReport> expire_due(std::size_t orders_max) override;
    [[nodiscard]] Result<std::vector<GiveBack>>
    pending_give_backs(const std::optional<OrderId>& after, std::size_t orders_max) override;
    [[nodiscard]] Result<void> give_backs_done(std::span<const GiveBack> done) override;

    [[nodiscard]] Result<Order> find_order(const OrderId& id) override;
    [[nodiscard]] Result<OrderPage> list_orders(SaleNo sale, const OrderFilter& filter,
                                                const std::optional<OrderId>& after,
                                                std::size_t limit) override;
    [[nodiscard]] Result<Books> books(const std::optional<std::string>& sale) override;

    [[nodiscard]] Connections connections() const override;
    [[nodiscard]] Result<void> ping() override;

private:
    friend class SqlEventOutbox; // writes to the same file, in turn

    class Writer; // the writer's session; writer.cc
    class Pool;   // order_store.cc
    class Lease;

    SqlOrderStore();

    std::string name_; // for messages: the file
    const Clock* clock_ = nullptr;
    bool with_events_ = false;
    std::unique_ptr<Pool> pool_;
    std::unique_ptr<Writer> writer_;
};

} // namespace doorbuster::sql
