// The order writer's session: one transaction a batch, under the version guard. The partition's
// position comes first: its row is the lock that makes a partition's writers take turns.
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

class SqlOrderStore::Writer {
public:
    Writer(StoreUrl url, SharedWrites& writes, const Clock* clock, bool with_events);
    ~Writer();

    [[nodiscard]] Result<ApplyReport> apply(LogPlace from, LogPosition next,
                                            std::span<const LogRecord> records);
    void adopt();

private:
    // What a batch does to one sale.
    struct SaleBatch {
        bool is_known = false;    // has a row
        bool has_letters = false; // in dead_letters: a record of it may be there already
        Integer version = 0;
        Integer barrier_epoch = 0;
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

    SharedWrites& writes_;
    const Clock* clock_;
    bool with_events_;
    Session session_;
    Integer now_ = 0; // of the batch: one moment for all of it
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
