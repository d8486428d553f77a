// The order store in an SQL database, through SOCI. Sessions come from a pool; the order writer has
// one of its own, with its statements prepared once.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

#include "ports/order_store.h"

namespace doorbuster::sql {

enum class StoreMode { serve, read_only };

struct OrderStoreOptions {
    std::string sqlite_path;
    std::size_t pool_size = 4; // sessions for everything but the writer
    StoreMode mode = StoreMode::serve;
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

    [[nodiscard]] Result<std::pair<StoredSale, bool>>
    create_sale(const SaleTerms& terms, const std::string& created_as) override;
    [[nodiscard]] Result<StoredSale> find_sale(std::string_view id) override;
    [[nodiscard]] Result<std::vector<StoredSale>> list_sales(const std::string& after,
                                                             std::size_t limit) override;
    [[nodiscard]] Result<StoredSale> change_sale(const std::string& id, const TermsChange& change,
                                                 const std::optional<ChangeKey>& key) override;
    [[nodiscard]] Result<std::vector<StoredSale>>
    next_epochs(std::span<const SaleNo> sales) override;
    [[nodiscard]] Result<LogPosition> read_snapshot(std::span<const SaleNo> sales,
                                                    TimePoint keys_since,
                                                    SaleSnapshotSink& sink) override;

    [[nodiscard]] Result<ApplyReport> apply(LogPosition from, LogPosition next,
                                            std::span<const LogRecord> records,
                                            StockGuard guard) override;

    [[nodiscard]] Result<Order> find_order(const OrderId& id) override;
    [[nodiscard]] Result<std::vector<Order>> list_orders(SaleNo sale, const OrderFilter& filter,
                                                         const std::optional<OrderId>& after,
                                                         std::size_t limit) override;
    [[nodiscard]] Result<Books> books(const std::optional<std::string>& sale) override;

    [[nodiscard]] Connections connections() const override;
    [[nodiscard]] Result<void> ping() override;

private:
    class Writer; // the writer's session; apply.cc
    class Pool;   // order_store.cc
    class Lease;

    SqlOrderStore();

    std::string name_; // for messages: the file
    std::unique_ptr<Pool> pool_;
    std::unique_ptr<Writer> writer_;
};

} // namespace doorbuster::sql
