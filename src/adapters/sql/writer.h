// What stores orders, over one session: one transaction a batch, under a guard. The partition's
// position comes first: its row is the lock that makes a partition's writers take turns. The order
// writer has one for good, with a session of its own; an order that stands in no log gets one for
// itself, on a session of the pool.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "adapters/sql/order_store.h"
#include "adapters/sql/rows.h"
#include "adapters/sql/transact.h"

namespace doorbuster::sql {

struct SqlOrderStore::WriterParts { // all outlive the writer
    Session& session;
    UsageMeter& meter;
    SharedWrites& writes;
    const Clock* clock;
    bool with_events;
    const std::function<Result<void>(SaleNo, Units)>& on_stock_moved;
};

class SqlOrderStore::Writer {
public:
    explicit Writer(WriterParts parts);
    ~Writer();

    [[nodiscard]] Result<ApplyReport> apply(LogPlace from, LogPosition next,
                                            std::span<const LogRecord> records, StockGuard guard);
    // One that stands in no log. Errc::timeout: it may have been stored.
    [[nodiscard]] Result<ApplyReport> apply_alone(const LogRecord& record, StockGuard guard);
    void adopt();

private:
    // What a batch does to one sale.
    struct SaleBatch {
        bool is_known = false;    // has a row
        bool has_letters = false; // in dead_letters: a record of it may be there already
        Integer version = 0;
        Integer barrier_epoch = 0;
        Integer barrier_before = 0; // as the row said
        Integer payment_timeout_ms = 0;
        Integer units = 0;
        Integer orders = 0;
        Integer voided = 0;
        std::size_t refused = 0;
    };
    using Sales = std::map<SaleNo, SaleBatch>;
    // How a batch is stored: all at once; all but those that are there already; order by order, for
    // one that met the guard or a record that cannot be stored.
    enum class Way : std::uint8_t { at_once, without_duplicates, one_by_one };
    enum class Telling : std::uint8_t { tells, was_told }; // on_stock_moved
    enum class Outcome : std::uint8_t { applied, needs_care, stopped_by_guard };

    // One transaction; nullopt: the batch needs more care.
    [[nodiscard]] Result<std::optional<ApplyReport>> attempt(LogPlace from, LogPosition next,
                                                             std::span<const LogRecord> records,
                                                             Way way, std::size_t& conflicts);
    [[nodiscard]] bool move_position(LogPlace from, LogPosition next);
    [[nodiscard]] bool was_applied(LogPlace from, LogPosition next);
    [[nodiscard]] Sales lock_sales(std::span<const LogRecord> records);
    // Follows the barriers; true when the record is an order or a withdrawal that counts.
    static bool is_valid(SaleBatch& sale, const LogRecord& record, ApplyReport& report);

    [[nodiscard]] Outcome apply_bulk(std::span<const LogRecord> records, Way way,
                                     ApplyReport& report);
    // The same for orders whose stock was only looked at; writer_sighted.cc.
    [[nodiscard]] Outcome apply_sighted(std::span<const LogRecord> records, ApplyReport& report);
    // Moves the sale's row as the guard and the sighting say; false: it stopped the order.
    [[nodiscard]] bool move_seen_stock(const LogRecord& record, StockGuard guard, Telling telling);
    void refuse_orders(std::span<const LogRecord* const> refused, const Sales& sales);
    void count_refused(SaleNo sale, Integer orders, Integer units);
    [[nodiscard]] std::set<std::string> stored_among(std::span<const LogRecord> records);
    void apply_with_care(LogPlace from, std::span<const LogRecord> records, ApplyReport& report);
    void apply_one(SaleBatch& sale, const LogRecord& record, ApplyReport& report);
    void insert_or_refuse(SaleBatch& sale, const LogRecord& record, ApplyReport& report);
    void apply_withdrawal(SaleBatch& sale, const LogRecord& record, ApplyReport& report);
    void set_unreadable_aside(LogPlace place, const LogRecord& record, ApplyReport& report);
    void set_aside(SaleBatch& sale, const LogRecord& record, const std::string& cause,
                   ApplyReport& report);
    [[nodiscard]] bool lower_stock(SaleBatch& sale, const LogRecord& record);
    void insert_orders(); // those in columns_
    void insert_events(); // that those in columns_ are confirmed
    void give_back(const LogRecord& record);
    [[nodiscard]] bool move_stock(const Sales& sales);
    [[nodiscard]] bool move_stock(SaleNo no, SaleBatch& sale, Integer units, Integer orders,
                                  Integer accepted_units);
    static void report_sales(const Sales& sales, ApplyReport& report);

    Session& session_;
    UsageMeter& meter_;
    SharedWrites& writes_;
    const Clock* clock_;
    bool with_events_;
    const std::function<Result<void>(SaleNo, Units)>& on_stock_moved_;
    StockGuard guard_ = StockGuard::version_and_stock; // of the batch, as the next
    Integer now_ = 0;                                  // one moment for all of it
    // The batch whose commit was not answered, and what it did: if the position says that it was
    // made, it is reported when it is applied again, in this call or a later one.
    struct Unknown {
        LogPlace from;
        LogPosition next;
        ApplyReport report;
    };
    std::optional<Unknown> unknown_;
    // Orders of a batch, column by column; refilled for every one.
    struct Columns {
        std::vector<std::string> id, user, key;
        std::vector<Integer> sale_no, quantity, created_at, expires_at;
        std::vector<soci::indicator> has_expiry;
        void clear();
        void add(const LogRecord& record, const SaleBatch& sale, Integer now);
    } columns_;
};

} // namespace doorbuster::sql
