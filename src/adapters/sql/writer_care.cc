// Storing a batch order by order: it met the guard, a withdrawal, or a record that cannot be
// stored.
#include "adapters/sql/dead_letter_row.h"
#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"
#include "adapters/sql/writer.h"

namespace doorbuster::sql {

void SqlOrderStore::Writer::apply_with_care(LogPlace from, std::span<const LogRecord> records,
                                            ApplyReport& report) {
    Sales sales = lock_sales(records);
    for (std::size_t i = 0; i < records.size(); ++i) {
        const LogRecord& record = records[i];
        if (record.kind == LogRecordKind::unreadable) {
            set_unreadable_aside({from.partition, from.position.plus(i)}, record, report);
            continue;
        }
        SaleBatch& sale = sales[record.sale];
        if (!is_valid(sale, record, report)) continue;
        if (record.kind == LogRecordKind::withdraw) {
            apply_withdrawal(sale, record, report);
        } else {
            apply_one(sale, record, report);
        }
    }
    for (auto& [no, sale] : sales) {
        // The row's version counts orders for those who look at it: it moves with nothing else.
        const bool is_looked_at = guard_ != StockGuard::version_and_stock;
        if (is_looked_at && sale.barrier_epoch == sale.barrier_before && sale.voided == 0) continue;
        // Keeps the last barrier; takes no units, so the guard lets it through.
        if (sale.is_known && !move_stock(no, sale, 0, 0, 0)) {
            throw StoreFailure(Errc::unavailable, "a sale changed inside the writer's transaction");
        }
    }
    report_sales(sales, report);
}

void SqlOrderStore::Writer::apply_one(SaleBatch& sale, const LogRecord& record,
                                      ApplyReport& report) {
    if (!stored_among(std::span(&record, 1)).empty()) {
        ++report.duplicates;
        // Its hold may have been taken again meanwhile: nobody else will drop that.
        const Rows::Texts id{record.order.text()};
        Rows(1).add("id", id).run(session_, text::insert_give_back_of_final);
        return;
    }
    if (!sale.is_known) {
        set_aside(sale, record, "the store has no sale with the number of this order", report);
        return;
    }
    session_.command("SAVEPOINT one_order");
    const SaleBatch before = sale;
    try {
        insert_or_refuse(sale, record, report);
    } catch (const soci::soci_error& failure) {
        if (kind_of(failure) != Errc::conflict) throw;
        sale = before;
        session_.command("ROLLBACK TO SAVEPOINT one_order");
        set_aside(sale, record, failure.get_error_message(), report);
    }
    session_.command("RELEASE SAVEPOINT one_order");
}

void SqlOrderStore::Writer::insert_or_refuse(SaleBatch& sale, const LogRecord& record,
                                             ApplyReport& report) {
    columns_.clear();
    columns_.add(record, sale, now_);
    insert_orders();
    const bool is_sighted = record.sighting && guard_ != StockGuard::version_and_stock;
    if (is_sighted ? move_seen_stock(record, guard_, Telling::tells)
                   : move_stock(record.sale, sale, record.quantity, 1, record.quantity)) {
        if (is_sighted) ++sale.version;
        insert_events();
        ++report.confirmed;
        ++sale.orders;
        return;
    }
    // The last line: it never fires if the rules above it hold.
    session_.run(text::refuse_order, soci::use(columns_.id[0], "id"));
    if (is_sighted) {
        count_refused(record.sale, 1, record.quantity);
    } else if (!move_stock(record.sale, sale, 0, 1, record.quantity)) {
        throw StoreFailure(Errc::unavailable, "a sale changed inside the writer's transaction");
    }
    give_back(record);
    if (with_events_) {
        const Rows::Numbers status{static_cast<Integer>(OrderStatus::refused)}, version{2},
            at{now_};
        Rows event(1);
        event.add("order_id", columns_.id).add("version", version).add("status", status);
        event.add("at", at).run(session_, text::insert_event);
    }
    ++report.refused;
    ++sale.refused;
}

void SqlOrderStore::Writer::set_aside(SaleBatch& sale, const LogRecord& record,
                                      const std::string& cause, ApplyReport& report) {
    DeadLetterRow row(record, cause, now_);
    row.is_counted = sale.is_known ? 1 : 0;
    row.insert(session_);
    if (sale.is_known && !move_stock(record.sale, sale, 0, 1, record.quantity)) {
        throw StoreFailure(Errc::unavailable, "a sale changed inside the writer's transaction");
    }
    ++report.dead_letters;
}

// Under a name made of its place: a record is applied once.
void SqlOrderStore::Writer::set_unreadable_aside(LogPlace place, const LogRecord& record,
                                                 ApplyReport& report) {
    DeadLetterRow row(record, record.user, now_);
    row.make_unreadable(place, record.key);
    row.insert(session_);
    ++report.dead_letters;
}

void SqlOrderStore::Writer::give_back(const LogRecord& record) {
    const Rows::Texts id{record.order.text()};
    const Rows::Numbers number{record.sale.get()};
    Rows(1).add("order_id", id).add("sale_no", number).run(session_, text::insert_give_back);
}

// Under its Idempotency-Key if it has one, once. Its hold is dropped in any case.
void SqlOrderStore::Writer::apply_withdrawal(SaleBatch& sale, const LogRecord& record,
                                             ApplyReport& report) {
    const std::string id = record.order.text();
    const Integer number = record.sale.get();
    Integer times = 0;
    session_.read(text::select_withdrawal, soci::into(times), soci::use(id, "id"));
    if (times > 0) {
        ++report.duplicates;
        return;
    }
    give_back(record);
    bool came_before = false; // the key, with another request
    if (!record.key.empty()) {
        std::string request;
        came_before = session_.read(text::select_change_request, soci::into(request),
                                    soci::use(number, "no"), soci::use(record.key, "key"));
    }
    // The guard stops what the inventory had not held: then nothing was withdrawn, and its caller
    // finds that out.
    if (!came_before && !lower_stock(sale, record)) return;
    if (!came_before && !record.key.empty()) {
        const std::string request = restock_text(-record.quantity);
        session_.run(text::insert_change, soci::use(number, "no"), soci::use(record.key, "key"),
                     soci::use(request, "request"));
    }
    const Integer units = came_before ? 0 : record.quantity;
    session_.run(text::insert_withdrawal, soci::use(id, "id"), soci::use(number, "no"),
                 soci::use(units, "units"));
    ++report.withdrawals;
}

bool SqlOrderStore::Writer::lower_stock(SaleBatch& sale, const LogRecord& record) {
    const Integer number = record.sale.get();
    const Integer units = record.quantity;
    const auto row = select_sale(session_, record.sale, RowLock::none);
    if (!row) return false;
    const Integer lowered =
        session_.run(text::lower_stock, soci::use(units, "units"), soci::use(number, "no"),
                     soci::use(sale.version, "version"));
    if (lowered != 1) return false;
    ++sale.version;
    SaleTerms after = row->sale.terms;
    after.stock -= record.quantity;
    const auto [was, is] = changed_terms(&row->sale.terms, after);
    const std::string what = "restocked";
    session_.run(text::insert_journal, soci::use(number, "no"), soci::use(now_, "at"),
                 soci::use(record.user, "who"), soci::use(what, "what"), soci::use(was, "before"),
                 soci::use(is, "after"));
    return true;
}

} // namespace doorbuster::sql
