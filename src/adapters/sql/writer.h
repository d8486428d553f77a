// The order writer's session: one transaction a batch, under the version guard.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "adapters/sql/order_store.h"
#include "adapters/sql/session.h"

namespace doorbuster::sql {

class SqlOrderStore::Writer {
public:
    Writer(const std::string& name, const std::string& connect, SharedWrites& writes,
           const Clock& clock, bool with_events);
    ~Writer();

    [[nodiscard]] Result<ApplyReport> apply(LogPosition from, LogPosition next,
                                            std::span<const LogRecord> records);
    void adopt() { set_on_close(session_, OnClose::tidy_up); }

private:
    // What a batch does to one sale.
    struct SaleBatch {
        bool is_known = false; // has a row
        Integer version = 0;
        Integer barrier_epoch = 0;
        Integer payment_timeout_ms = 0;
        Integer units = 0;
        Integer orders = 0;
        Integer voided = 0;
        std::size_t refused = 0;
    };
    enum class Fast { applied, needs_care, stopped_by_guard };

    [[nodiscard]] bool move_position(LogPosition from, LogPosition next);
    SaleBatch& load(std::map<SaleNo, SaleBatch>& sales, SaleNo no);
    // Follows the barriers; true when the record is an order or a withdrawal that counts.
    bool is_valid(std::map<SaleNo, SaleBatch>& sales, const LogRecord& record, ApplyReport& report);
    [[nodiscard]] Fast apply_fast(std::span<const LogRecord> records, ApplyReport& report);
    void apply_with_care(std::span<const LogRecord> records, ApplyReport& report);
    void apply_one(SaleBatch& sale, const LogRecord& record, ApplyReport& report);
    void apply_withdrawal(SaleBatch& sale, const LogRecord& record, ApplyReport& report);
    [[nodiscard]] bool lower_stock(SaleBatch& sale, const LogRecord& record);
    [[nodiscard]] Integer insert_orders(); // those in columns_; how many were new
    void insert_events();                  // that those in columns_ are confirmed
    void give_back(const LogRecord& record);
    [[nodiscard]] bool move_stock(SaleNo no, SaleBatch& sale, Integer units, Integer orders,
                                  Integer accepted_units);
    static void report_sales(const std::map<SaleNo, SaleBatch>& sales, ApplyReport& report);

    std::string name_;
    SharedWrites& writes_;
    const Clock& clock_;
    bool with_events_;
    soci::session session_;
    Integer now_ = 0; // of the batch: one moment for all of it
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
