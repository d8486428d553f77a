// Storing orders whose stock was only looked at (design.md section 3): the guards of the published
// system, with what they let through. docs/stages.md says which fault is shown by what.
#include <algorithm>

#include "adapters/sql/sql_text.h"
#include "adapters/sql/writer.h"

namespace doorbuster::sql {

// The published statements. Both may sell more than there is; the row's own CHECK stays, so its
// `sold` ends at the stock, and the orders tell how many were sold.
bool SqlOrderStore::Writer::move_seen_stock(const LogRecord& record, StockGuard guard,
                                            Telling telling) {
    const StockSighting seen = record.sighting.value_or(StockSighting());
    const Integer no = record.sale.get();
    const Integer units = record.quantity;
    Integer moved = 0;
    switch (guard) {
    case StockGuard::overwrite: {
        const Integer sold = seen.sold + units;
        moved = session_.run(text::overwrite_stock, soci::use(sold, "sold"),
                             soci::use(units, "units"), soci::use(no, "no"));
        break;
    }
    case StockGuard::version: {
        const Integer version = seen.version;
        moved = session_.run(text::move_seen_stock, soci::use(units, "units"), soci::use(no, "no"),
                             soci::use(version, "version"));
        break;
    }
    case StockGuard::version_and_stock: break; // asks no sighting
    }
    if (moved != 1) return false;
    if (!on_stock_moved_ || telling == Telling::was_told) return true;
    if (auto told = on_stock_moved_(record.sale, record.quantity); !told) {
        throw StoreFailure(Errc::unavailable, told.error().message());
    }
    return true;
}

// After a commit that nobody answered it looks whether the order is there: what the guard and the
// key of the row would say of it then is that it came twice.
Result<ApplyReport> SqlOrderStore::Writer::apply_alone(const LogRecord& record, StockGuard guard) {
    Telling telling = Telling::tells; // the stock moves once, however often this begins again
    bool may_be_stored = false;       // all of it was written, and a COMMIT is on its way
    const auto work = [&](Session& session, Attempt& attempt) -> Result<ApplyReport> {
        ApplyReport report;
        attempt.rows_written = 1;
        if (record.kind == LogRecordKind::barrier) {
            Sales sales = lock_sales(std::span(&record, 1));
            static_cast<void>(is_valid(sales[record.sale], record, report));
            if (move_stock(sales)) return report;
            throw StoreFailure(Errc::unavailable, "a sale changed inside the transaction");
        }
        if (record.kind != LogRecordKind::order || !record.sighting) {
            return fail(Errc::invalid, "a record that needs a log");
        }
        report.confirmed = 1;
        report.sales.push_back({record.sale, 1, 0});
        if (attempt.is_commit_unknown) {
            static_cast<void>(lock_sales(std::span(&record, 1))); // waits for what is left of it
            if (!stored_among(std::span(&record, 1)).empty()) return report;
        }
        may_be_stored = false;
        if (!move_seen_stock(record, guard, telling)) {
            ApplyReport stopped;
            stopped.refused = 1;
            return stopped;
        }
        telling = Telling::was_told;
        if (with_events_) now_ = to_ms(session.now(clock_));
        columns_.clear();
        columns_.add(record, SaleBatch(), now_); // nobody pays later: see LookingInventory
        insert_orders();
        insert_events();
        may_be_stored = true;
        return report;
    };
    auto result = transact(session_, writes_, "storing an order", Transaction::Kind::write, work);
    if (!result && may_be_stored) result.error().code = make_error_code(Errc::timeout);
    return result;
}

SqlOrderStore::Writer::Outcome
SqlOrderStore::Writer::apply_sighted(std::span<const LogRecord> records, ApplyReport& report) {
    Sales sales = lock_sales(records);
    const auto is_plain = [&](const LogRecord& record) {
        if (record.kind == LogRecordKind::barrier) return true;
        return record.kind == LogRecordKind::order && record.sighting &&
               sales[record.sale].is_known;
    };
    if (!std::ranges::all_of(records, is_plain)) return Outcome::needs_care;
    std::set<std::string> stored = stored_among(records);
    std::vector<const LogRecord*> taken;
    std::vector<const LogRecord*> refused;
    for (const LogRecord& record : records) {
        SaleBatch& sale = sales[record.sale];
        if (!is_valid(sale, record, report)) continue;
        if (!stored.insert(record.order.text()).second) {
            ++report.duplicates;
            continue;
        }
        // Everybody who saw the same version is in the same race, and one of them wins it.
        const bool may_win =
            guard_ == StockGuard::overwrite || record.sighting->version == sale.version;
        if (may_win && move_seen_stock(record, guard_, Telling::tells)) {
            ++sale.version;
            ++sale.orders;
            taken.push_back(&record);
        } else {
            ++sale.refused;
            refused.push_back(&record);
        }
    }
    try {
        columns_.clear();
        for (const LogRecord* record : taken) columns_.add(*record, sales[record->sale], now_);
        insert_orders();
        insert_events();
        refuse_orders(refused, sales);
    } catch (const soci::soci_error& failure) {
        if (kind_of(failure) == Errc::conflict) return Outcome::needs_care;
        throw;
    }
    for (auto& [no, sale] : sales) {
        const bool is_moved = sale.barrier_epoch != sale.barrier_before || sale.voided > 0;
        if (!sale.is_known || !is_moved) continue;
        if (!move_stock(no, sale, 0, 0, 0)) return Outcome::stopped_by_guard;
    }
    report.confirmed = taken.size();
    report.refused = refused.size();
    report_sales(sales, report);
    return Outcome::applied;
}

// Their buyers were told yes: each gets an order that says what became of it.
void SqlOrderStore::Writer::refuse_orders(std::span<const LogRecord* const> refused,
                                          const Sales& sales) {
    if (refused.empty()) return;
    columns_.clear();
    std::map<SaleNo, std::pair<Integer, Integer>> counts; // orders, units
    for (const LogRecord* record : refused) {
        columns_.add(*record, sales.at(record->sale), now_);
        auto& [orders, units] = counts[record->sale];
        ++orders;
        units += record->quantity;
    }
    insert_orders();
    const std::size_t size = refused.size();
    Rows(size).add("id", columns_.id).run(session_, text::refuse_orders);
    Rows(size)
        .add("order_id", columns_.id)
        .add("sale_no", columns_.sale_no)
        .run(session_, text::insert_give_back);
    for (const auto& [sale, count] : counts) count_refused(sale, count.first, count.second);
    if (!with_events_) return;
    const Rows::Numbers status(size, static_cast<Integer>(OrderStatus::refused)), version(size, 2),
        at(size, now_);
    Rows events(size);
    events.add("order_id", columns_.id).add("version", version).add("status", status);
    events.add("at", at).run(session_, text::insert_event);
}

// Without a new version of the row: for those who look at it, nothing happened.
void SqlOrderStore::Writer::count_refused(SaleNo sale, Integer orders, Integer units) {
    const Integer no = sale.get();
    session_.run(text::count_refused, soci::use(orders, "orders"), soci::use(units, "units"),
                 soci::use(no, "no"));
}

} // namespace doorbuster::sql
