// The order store in an SQL database, through SOCI: SQLite, PostgreSQL, MySQL or MariaDB. Sessions
// come from a pool; the order writer has one of its own. Several processes may use a store in
// PostgreSQL or MySQL at once: rows are locked, versions guard them. A call that fails because the
// database is away or a transaction was a victim is made again for a bounded time; then it is
// Errc::unavailable, and the call may be made again whatever became of it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ports/order_store.h"
#include "runtime/clock.h"

namespace doorbuster::sql {

enum class StoreMode { serve, read_only };

struct OrderStoreOptions {
    std::string url;           // see store_url.h; a path alone is SQLite's
    std::size_t pool_size = 4; // sessions for everything but the writer
    StoreMode mode = StoreMode::serve;
    // What the store decides by; outlives it. Null: the database's own clock, so that all processes
    // have one; SQLite: the system's.
    const Clock* clock = nullptr;
    bool with_events = false; // write the outbox: somebody reads it
    // Called inside an order's transaction, under a guard of the published system, when the sale's
    // row has moved and before anything else is written. Blocking. An error rolls the transaction
    // back; what was done here is not undone then, nor when the rest of it fails.
    std::function<Result<void>(SaleNo, Units)> on_stock_moved = {};
};

class Pool;    // pool.h
class Session; // session.h

// An order that could not be stored, for an operator.
struct DeadLetter {
    OrderId order; // of a record that is none: a name that the store gave it
    SaleNo sale;
    std::string user;
    std::string key;
    Units quantity = 0;
    std::string cause;
    std::string raw; // the record's bytes in hexadecimal, where they are no order; cut
    TimePoint at;
    std::optional<TimePoint> dropped_at; // an operator gave it up: it holds no units any more
    std::string drop_cause;
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

    [[nodiscard]] Result<StockSighting> look_at_stock(SaleNo sale) override;

    [[nodiscard]] Result<ChangeReport> change_orders(std::span<const OrderChange> changes) override;
    [[nodiscard]] Result<ExpiryReport> expire_due(std::size_t orders_max) override;
    [[nodiscard]] Result<std::vector<GiveBack>>
    pending_give_backs(const std::optional<OrderId>& after, std::size_t orders_max) override;
    [[nodiscard]] Result<void> give_backs_done(std::span<const GiveBack> done) override;

    [[nodiscard]] Result<Order> find_order(const OrderId& id) override;
    [[nodiscard]] Result<OrderPage> list_orders(SaleNo sale, const OrderFilter& filter,
                                                const std::optional<OrderId>& after,
                                                std::size_t limit) override;
    [[nodiscard]] Result<Books> books(const std::optional<std::string>& sale,
                                      std::span<const OrderId> asked = {}) override;

    // Dead letters by id, behind `after`, dropped ones too; at most `limit`.
    [[nodiscard]] Result<std::vector<DeadLetter>> dead_letters(const std::optional<OrderId>& after,
                                                               std::size_t limit);
    // Stores the order as the writer would have, with its units. Errc::not_found;
    // Errc::wrong_state: it is dropped, it is no order, its sale is not there or has no room for
    // it, or the database does not take it still (the message says which).
    [[nodiscard]] Result<Order> replay_dead_letter(const OrderId& order);
    // Gives the order up: its units are for sale again (it leaves a give-back row). Doing it again
    // changes nothing. Errc::not_found.
    [[nodiscard]] Result<GiveBack> drop_dead_letter(const OrderId& order, const std::string& cause);

    [[nodiscard]] Connections connections() const override;
    [[nodiscard]] Usage usage() const override;
    [[nodiscard]] Result<void> ping() override;

private:
    friend class SqlEventOutbox; // writes to the same file, in turn

    class Writer;       // stores orders; writer.h
    struct WriterParts; // what it needs; writer.h

    SqlOrderStore();
    [[nodiscard]] WriterParts writer_parts(Session& session);

    const Clock* clock_ = nullptr; // null: the database's
    bool with_events_ = false;
    std::function<Result<void>(SaleNo, Units)> on_stock_moved_;
    std::unique_ptr<Pool> pool_;
    std::unique_ptr<Session> writer_session_;
    std::unique_ptr<Writer> writer_;
};

} // namespace doorbuster::sql
