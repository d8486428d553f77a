#include "adapters/sql/writer.h"

#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {

void SqlOrderStore::Writer::Columns::clear() {
    for (auto* texts : {&id, &user, &key}) texts->clear();
    for (auto* numbers : {&sale_no, &quantity, &created_at, &expires_at}) numbers->clear();
    has_expiry.clear();
}

void SqlOrderStore::Writer::Columns::add(const LogRecord& record, const SaleBatch& sale,
                                         Integer now) {
    id.push_back(record.order.text());
    user.push_back(record.user);
    key.push_back(record.key);
    sale_no.push_back(record.sale.get());
    quantity.push_back(record.quantity);
    created_at.push_back(to_ms(record.order.created_at()));
    const bool is_to_be_paid = sale.payment_timeout_ms > 0;
    expires_at.push_back(is_to_be_paid ? now + sale.payment_timeout_ms : 0);
    has_expiry.push_back(is_to_be_paid ? soci::i_ok : soci::i_null);
}

SqlOrderStore::Writer::Writer(const std::string& name, const std::string& connect,
                              SharedWrites& writes, const Clock& clock, bool with_events)
    : name_(name),
      writes_(writes),
      clock_(clock),
      with_events_(with_events),
      session_(soci::sqlite3, connect) {
    set_on_close(session_, OnClose::keep_log);
    session_ << "PRAGMA synchronous=FULL";
    session_ << "PRAGMA wal_autocheckpoint=0";
}

SqlOrderStore::Writer::~Writer() = default;

Result<ApplyReport> SqlOrderStore::Writer::apply(LogPosition from, LogPosition next,
                                                 std::span<const LogRecord> records) {
    return guarded(name_, "storing orders", [&]() -> Result<ApplyReport> {
        std::size_t conflicts = 0;
        for (const bool with_care : {false, true}) {
            ApplyReport report;
            Transaction transaction(session_, writes_, Transaction::Kind::write);
            now_ = to_ms(clock_.now());
            if (!move_position(from, next)) {
                return fail(Errc::fenced, "the store has moved on from log position " +
                                              std::to_string(from.get()) +
                                              ": another process writes to it");
            }
            if (with_care) {
                apply_with_care(records, report);
                report.conflicts = conflicts;
            } else if (const Fast fast = apply_fast(records, report); fast != Fast::applied) {
                if (fast == Fast::stopped_by_guard) ++conflicts;
                continue; // rolls back
            }
            transaction.commit();
            writes_.wrote(session_, records.size());
            return report;
        }
        return fail(Errc::io, "unreachable");
    });
}

bool SqlOrderStore::Writer::move_position(LogPosition from, LogPosition next) {
    const auto old_next = static_cast<Integer>(from.get());
    const auto new_next = static_cast<Integer>(next.get());
    soci::statement update = (session_.prepare << text::move_position, soci::use(new_next, "next"),
                              soci::use(old_next, "from"));
    update.execute(true);
    return update.get_affected_rows() == 1;
}

SqlOrderStore::Writer::SaleBatch& SqlOrderStore::Writer::load(std::map<SaleNo, SaleBatch>& sales,
                                                              SaleNo no) {
    const auto [at, is_new] = sales.try_emplace(no);
    SaleBatch& sale = at->second;
    if (!is_new) return sale;
    const Integer number = no.get();
    session_ << text::select_guard, soci::into(sale.version), soci::into(sale.barrier_epoch),
        soci::into(sale.payment_timeout_ms), soci::use(number, "no");
    sale.is_known = session_.got_data();
    return sale;
}

bool SqlOrderStore::Writer::is_valid(std::map<SaleNo, SaleBatch>& sales, const LogRecord& record,
                                     ApplyReport& report) {
    SaleBatch& sale = load(sales, record.sale);
    const auto epoch = static_cast<Integer>(record.epoch.get());
    switch (record.kind) {
    case LogRecordKind::barrier:
        if (epoch > sale.barrier_epoch) sale.barrier_epoch = epoch;
        return false;
    case LogRecordKind::order:
        if (sale.is_known && epoch != sale.barrier_epoch) {
            ++report.voided;
            ++sale.voided;
            return false;
        }
        return true;
    case LogRecordKind::withdraw: return sale.is_known && epoch == sale.barrier_epoch;
    case LogRecordKind::unreadable: return true;
    }
    return false;
}

SqlOrderStore::Writer::Fast SqlOrderStore::Writer::apply_fast(std::span<const LogRecord> records,
                                                              ApplyReport& report) {
    std::map<SaleNo, SaleBatch> sales;
    columns_.clear();
    for (const LogRecord& record : records) {
        if (!is_valid(sales, record, report)) continue;
        SaleBatch& sale = sales[record.sale];
        if (!sale.is_known || record.kind != LogRecordKind::order) return Fast::needs_care;
        columns_.add(record, sale, now_);
        sale.units += record.quantity;
        ++sale.orders;
    }
    if (!columns_.id.empty()) {
        try {
            const auto inserted = static_cast<std::size_t>(insert_orders());
            if (inserted != columns_.id.size()) return Fast::needs_care; // duplicates
            insert_events();
        } catch (const soci::soci_error& failure) {
            if (kind_of(failure) == Errc::conflict) return Fast::needs_care;
            throw;
        }
    }
    for (auto& [no, sale] : sales) {
        if (!sale.is_known) continue;
        if (!move_stock(no, sale, sale.units, sale.orders, sale.units)) {
            return Fast::stopped_by_guard;
        }
    }
    report.confirmed = columns_.id.size();
    report_sales(sales, report);
    return Fast::applied;
}

Integer SqlOrderStore::Writer::insert_orders() {
    soci::statement insert =
        (session_.prepare << text::insert_order, soci::use(columns_.id, "id"),
         soci::use(columns_.sale_no, "sale_no"), soci::use(columns_.user, "user_id"),
         soci::use(columns_.quantity, "quantity"), soci::use(columns_.created_at, "created_at"),
         soci::use(columns_.expires_at, columns_.has_expiry, "expires_at"),
         soci::use(columns_.key, "idempotency_key"));
    insert.execute(true);
    return insert.get_affected_rows();
}

void SqlOrderStore::Writer::insert_events() {
    if (!with_events_) return;
    const std::vector<Integer> version(columns_.id.size(), 1);
    const std::vector<Integer> status(columns_.id.size(),
                                      static_cast<Integer>(OrderStatus::confirmed));
    const std::vector<Integer> at(columns_.id.size(), now_);
    soci::statement insert =
        (session_.prepare << text::insert_event, soci::use(columns_.id, "order_id"),
         soci::use(version, "version"), soci::use(status, "status"), soci::use(at, "at"));
    insert.execute(true);
}

void SqlOrderStore::Writer::give_back(const LogRecord& record) {
    const std::string id = record.order.text();
    const Integer number = record.sale.get();
    session_ << text::insert_give_back, soci::use(id, "order_id"), soci::use(number, "sale_no");
}

void SqlOrderStore::Writer::report_sales(const std::map<SaleNo, SaleBatch>& sales,
                                         ApplyReport& report) {
    for (const auto& [no, sale] : sales) {
        const auto confirmed = static_cast<std::size_t>(sale.orders);
        if (confirmed + sale.refused > 0) report.sales.push_back({no, confirmed, sale.refused});
    }
}

bool SqlOrderStore::Writer::move_stock(SaleNo no, SaleBatch& sale, Integer units, Integer orders,
                                       Integer accepted_units) {
    const Integer number = no.get();
    soci::statement update =
        (session_.prepare << text::move_stock, soci::use(units, "units"),
         soci::use(orders, "orders"), soci::use(accepted_units, "accepted_units"),
         soci::use(sale.barrier_epoch, "barrier_epoch"), soci::use(sale.voided, "voided"),
         soci::use(number, "no"), soci::use(sale.version, "version"),
         soci::use(units, "more_units"));
    update.execute(true);
    if (update.get_affected_rows() != 1) return false;
    ++sale.version;
    sale.voided = 0;
    return true;
}

// Order by order, for a batch that met a duplicate, the guard or a record that cannot be stored.
void SqlOrderStore::Writer::apply_with_care(std::span<const LogRecord> records,
                                            ApplyReport& report) {
    std::map<SaleNo, SaleBatch> sales;
    for (const LogRecord& record : records) {
        if (!is_valid(sales, record, report)) continue;
        SaleBatch& sale = sales[record.sale];
        if (record.kind == LogRecordKind::withdraw) {
            apply_withdrawal(sale, record, report);
        } else {
            apply_one(sale, record, report);
        }
    }
    for (auto& [no, sale] : sales) {
        // Keeps the last barrier; takes no units, so the guard lets it through.
        if (sale.is_known && !move_stock(no, sale, 0, 0, 0)) {
            throw soci::soci_error("a sale changed inside the writer's transaction");
        }
    }
    report_sales(sales, report);
}

void SqlOrderStore::Writer::apply_one(SaleBatch& sale, const LogRecord& record,
                                      ApplyReport& report) {
    columns_.clear();
    columns_.add(record, sale, now_);
    std::string cause = "the store has no sale with the number of this order";
    session_ << "SAVEPOINT one_order";
    if (sale.is_known) {
        try {
            if (insert_orders() == 0) {
                ++report.duplicates;
                // Its hold may have been taken again meanwhile: nobody else will drop that.
                session_ << text::insert_give_back_of_final, soci::use(columns_.id[0], "id");
            } else if (move_stock(record.sale, sale, record.quantity, 1, record.quantity)) {
                insert_events();
                ++report.confirmed;
                ++sale.orders;
            } else { // the last line: it never fires if the rules above it hold
                session_ << text::refuse_order, soci::use(columns_.id[0], "id");
                static_cast<void>(move_stock(record.sale, sale, 0, 1, record.quantity));
                give_back(record);
                const Integer refused = static_cast<Integer>(OrderStatus::refused);
                const Integer version = 2;
                if (with_events_) {
                    session_ << text::insert_event, soci::use(columns_.id[0], "order_id"),
                        soci::use(version, "version"), soci::use(refused, "status"),
                        soci::use(now_, "at");
                }
                ++report.refused;
                ++sale.refused;
            }
            session_ << "RELEASE one_order";
            return;
        } catch (const soci::soci_error& failure) {
            if (kind_of(failure) != Errc::conflict) throw;
            cause = failure.what();
        }
    }
    session_ << "ROLLBACK TO one_order";
    soci::statement set_aside =
        (session_.prepare << text::insert_dead_letter, soci::use(columns_.id[0], "order_id"),
         soci::use(columns_.sale_no[0], "sale_no"), soci::use(columns_.user[0], "user_id"),
         soci::use(columns_.quantity[0], "quantity"), soci::use(columns_.key[0], "idempotency_key"),
         soci::use(cause, "cause"));
    set_aside.execute(true);
    if (set_aside.get_affected_rows() == 0) {
        ++report.duplicates;
    } else {
        if (sale.is_known) static_cast<void>(move_stock(record.sale, sale, 0, 1, record.quantity));
        ++report.dead_letters;
    }
    session_ << "RELEASE one_order";
}

// Under its Idempotency-Key if it has one, once. Its hold is dropped in any case.
void SqlOrderStore::Writer::apply_withdrawal(SaleBatch& sale, const LogRecord& record,
                                             ApplyReport& report) {
    const std::string id = record.order.text();
    const Integer number = record.sale.get();
    Integer times = 0;
    session_ << text::select_withdrawal, soci::into(times), soci::use(id, "id");
    if (times > 0) {
        ++report.duplicates;
        return;
    }
    give_back(record);
    bool came_before = false; // the key, with another request
    if (!record.key.empty()) {
        std::string request;
        session_ << text::select_change_request, soci::into(request), soci::use(number, "no"),
            soci::use(record.key, "key");
        came_before = session_.got_data();
    }
    // The guard stops what the inventory had not held: then nothing was withdrawn, and its caller
    // finds that out.
    if (!came_before && !lower_stock(sale, record)) return;
    if (!came_before && !record.key.empty()) {
        const std::string request = restock_text(-record.quantity);
        session_ << text::insert_change, soci::use(number, "no"), soci::use(record.key, "key"),
            soci::use(request, "request");
    }
    const Integer units = came_before ? 0 : record.quantity;
    session_ << text::insert_withdrawal, soci::use(id, "id"), soci::use(number, "no"),
        soci::use(units, "units");
    ++report.withdrawals;
}

bool SqlOrderStore::Writer::lower_stock(SaleBatch& sale, const LogRecord& record) {
    const Integer number = record.sale.get();
    const Integer units = record.quantity;
    const SaleTerms before =
        select_sales(session_, "WHERE no = " + std::to_string(number)).front().sale.terms;
    soci::statement update =
        (session_.prepare << text::lower_stock, soci::use(units, "units"), soci::use(number, "no"),
         soci::use(sale.version, "version"), soci::use(units, "more_units"));
    update.execute(true);
    if (update.get_affected_rows() != 1) return false;
    ++sale.version;
    SaleTerms after = before;
    after.stock -= record.quantity;
    const auto [was, is] = changed_terms(&before, after);
    const std::string what = "restocked";
    session_ << text::insert_journal, soci::use(number, "no"), soci::use(now_, "at"),
        soci::use(record.user, "who"), soci::use(what, "what"), soci::use(was, "before"),
        soci::use(is, "after");
    return true;
}

Result<ApplyReport> SqlOrderStore::apply(LogPlace from, LogPosition next,
                                         std::span<const LogRecord> records, StockGuard guard) {
    switch (guard) {
    case StockGuard::version_and_stock: return writer_->apply(from.position, next, records);
    }
    return fail(Errc::invalid, "unknown stock guard");
}

} // namespace doorbuster::sql
