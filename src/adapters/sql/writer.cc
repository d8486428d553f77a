#include "adapters/sql/writer.h"

#include <algorithm>

#include "adapters/sql/dead_letter_row.h"
#include "adapters/sql/order_row.h"
#include "adapters/sql/pool.h"
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

SqlOrderStore::Writer::Writer(WriterParts parts)
    : session_(parts.session),
      meter_(parts.meter),
      writes_(parts.writes),
      clock_(parts.clock),
      with_events_(parts.with_events),
      on_stock_moved_(parts.on_stock_moved) {
    if (!session_.is_shared()) session_.open();
}

SqlOrderStore::Writer::~Writer() = default;

void SqlOrderStore::Writer::adopt() { set_on_close(session_, OnClose::tidy_up); }

Result<ApplyReport> SqlOrderStore::Writer::apply(LogPlace from, LogPosition next,
                                                 std::span<const LogRecord> records,
                                                 StockGuard guard) {
    const AtWork at_work(meter_);
    guard_ = guard;
    std::size_t conflicts = 0;
    for (const Way way : {Way::at_once, Way::without_duplicates, Way::one_by_one}) {
        auto report = attempt(from, next, records, way, conflicts);
        if (!report) return tl::make_unexpected(std::move(report.error()));
        if (*report) return std::move(**report);
    }
    return fail(Errc::io, "unreachable");
}

Result<std::optional<ApplyReport>>
SqlOrderStore::Writer::attempt(LogPlace from, LogPosition next, std::span<const LogRecord> records,
                               Way way, std::size_t& conflicts) {
    using Attempted = std::optional<ApplyReport>;
    bool is_careless = false; // the batch needs more care: rolled back
    ApplyReport report;
    const auto work = [&](Session& session, Attempt& attempt) -> Result<Attempted> {
        report = {};
        report.conflicts = conflicts;
        is_careless = false;
        now_ = to_ms(session.now(clock_));
        if (!move_position(from, next)) {
            if (was_applied(from, next)) return std::exchange(unknown_, {})->report;
            return fail(Errc::fenced, "the store has moved on from log position " +
                                          std::to_string(from.position.get()) + " of partition " +
                                          std::to_string(from.partition.get()) +
                                          ": another process writes to it");
        }
        if (way == Way::one_by_one) {
            apply_with_care(from, records, report);
        } else if (const Outcome outcome = guard_ == StockGuard::version_and_stock
                                               ? apply_bulk(records, way, report)
                                               : apply_sighted(records, report);
                   outcome != Outcome::applied) {
            is_careless = true;
            if (outcome == Outcome::stopped_by_guard) conflicts = 1; // it sent the batch back
            return fail(Errc::conflict);
        }
        unknown_ = Unknown{from, next, report};
        attempt.rows_written = records.size();
        return report;
    };
    auto result = transact(session_, writes_, "storing orders", Transaction::Kind::write, work);
    if (result) unknown_.reset();
    if (!result && is_careless) return Attempted();
    return result;
}

// Is the position where a commit that nobody answered would have moved it?
bool SqlOrderStore::Writer::was_applied(LogPlace from, LogPosition next) {
    if (!unknown_ || unknown_->from != from || unknown_->next != next) return false;
    const Integer partition = from.partition.get();
    Integer position = 1;
    session_.read(text::select_position, soci::into(position),
                  soci::use(partition, "log_partition"));
    return position == static_cast<Integer>(next.get());
}

bool SqlOrderStore::Writer::move_position(LogPlace from, LogPosition next) {
    const Integer partition = from.partition.get();
    const auto old_next = static_cast<Integer>(from.position.get());
    const auto new_next = static_cast<Integer>(next.get());
    const auto move = [&] {
        return session_.run(text::move_position, soci::use(new_next, "next"),
                            soci::use(partition, "log_partition"),
                            soci::use(old_next, "from_position")) == 1;
    };
    if (move()) return true;
    if (from.position != LogPosition(1)) return false;
    session_.run(text::insert_position,
                 soci::use(partition, "log_partition")); // unless it is there
    return move();
}

// Once for the batch, by number: the order that everybody locks sales in.
SqlOrderStore::Writer::Sales SqlOrderStore::Writer::lock_sales(std::span<const LogRecord> records) {
    Sales sales;
    for (const LogRecord& record : records) {
        if (record.kind != LogRecordKind::unreadable) sales.try_emplace(record.sale);
    }
    Rows::Numbers wanted;
    for (const auto& [no, sale] : sales) wanted.push_back(no.get());
    Integer number = 0;
    Integer has_letters = 0;
    SaleBatch row;
    const auto on_row = [&] {
        row.is_known = true;
        row.has_letters = has_letters != 0;
        row.barrier_before = row.barrier_epoch;
        sales[SaleNo(static_cast<std::uint32_t>(number))] = row;
    };
    Rows::each(session_, text::select_guard, "no", wanted, on_row, soci::into(number),
               soci::into(row.version), soci::into(row.barrier_epoch),
               soci::into(row.payment_timeout_ms), soci::into(has_letters));
    return sales;
}

bool SqlOrderStore::Writer::is_valid(SaleBatch& sale, const LogRecord& record,
                                     ApplyReport& report) {
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

std::set<std::string> SqlOrderStore::Writer::stored_among(std::span<const LogRecord> records) {
    Rows::Texts wanted;
    for (const LogRecord& record : records) {
        if (record.kind == LogRecordKind::order) wanted.push_back(record.order.text());
    }
    return sql::stored_among(session_, wanted);
}

SqlOrderStore::Writer::Outcome SqlOrderStore::Writer::apply_bulk(std::span<const LogRecord> records,
                                                                 Way way, ApplyReport& report) {
    Sales sales = lock_sales(records);
    std::set<std::string> stored;
    if (way == Way::without_duplicates) stored = stored_among(records);
    Rows::Texts duplicates;
    columns_.clear();
    for (const LogRecord& record : records) {
        if (record.kind == LogRecordKind::unreadable) return Outcome::needs_care;
        SaleBatch& sale = sales[record.sale];
        if (!is_valid(sale, record, report)) continue;
        if (!sale.is_known || record.kind != LogRecordKind::order) return Outcome::needs_care;
        if (way == Way::without_duplicates) {
            if (!stored.insert(record.order.text()).second) {
                duplicates.push_back(record.order.text());
                continue;
            }
        } else if (sale.has_letters) {
            return Outcome::needs_care;
        }
        columns_.add(record, sale, now_);
        sale.units += record.quantity;
        ++sale.orders;
    }
    try {
        insert_orders();
        insert_events();
    } catch (const soci::soci_error& failure) {
        if (kind_of(failure) == Errc::conflict) return Outcome::needs_care;
        throw;
    }
    // Their holds may have been taken again meanwhile: nobody else will drop those of ended orders.
    Rows(duplicates.size()).add("id", duplicates).run(session_, text::insert_give_back_of_final);
    if (!move_stock(sales)) return Outcome::stopped_by_guard;
    report.confirmed = columns_.id.size();
    report.duplicates = duplicates.size();
    report_sales(sales, report);
    return Outcome::applied;
}

void SqlOrderStore::Writer::insert_orders() {
    Rows rows(columns_.id.size());
    rows.add("id", columns_.id).add("sale_no", columns_.sale_no).add("user_id", columns_.user);
    rows.add("quantity", columns_.quantity).add("created_at", columns_.created_at);
    rows.add("expires_at", columns_.expires_at, &columns_.has_expiry);
    rows.add("idempotency_key", columns_.key).run(session_, text::insert_order);
}

void SqlOrderStore::Writer::insert_events() {
    if (!with_events_) return;
    const std::size_t orders = columns_.id.size();
    const Rows::Numbers version(orders, 1);
    const Rows::Numbers status(orders, static_cast<Integer>(OrderStatus::confirmed));
    const Rows::Numbers at(orders, now_);
    Rows rows(orders);
    rows.add("order_id", columns_.id).add("version", version).add("status", status);
    rows.add("at", at).run(session_, text::insert_event);
}

void SqlOrderStore::Writer::report_sales(const Sales& sales, ApplyReport& report) {
    for (const auto& [no, sale] : sales) {
        const auto confirmed = static_cast<std::size_t>(sale.orders);
        if (confirmed + sale.refused > 0) report.sales.push_back({no, confirmed, sale.refused});
    }
}

// All of them, or false.
bool SqlOrderStore::Writer::move_stock(const Sales& sales) {
    Rows::Numbers no, version, units, orders, barrier_epoch, voided;
    for (const auto& [number, sale] : sales) {
        if (!sale.is_known) continue;
        no.push_back(number.get());
        version.push_back(sale.version);
        units.push_back(sale.units);
        orders.push_back(sale.orders);
        barrier_epoch.push_back(sale.barrier_epoch);
        voided.push_back(sale.voided);
    }
    Rows rows(no.size());
    rows.add("no", no).add("version", version).add("units", units).add("orders", orders);
    rows.add("accepted_units", units).add("barrier_epoch", barrier_epoch).add("voided", voided);
    return rows.run(session_, text::move_stock) == static_cast<Integer>(no.size());
}

bool SqlOrderStore::Writer::move_stock(SaleNo no, SaleBatch& sale, Integer units, Integer orders,
                                       Integer accepted_units) {
    const Rows::Numbers number{no.get()}, version{sale.version}, moved{units}, counted{orders},
        accepted{accepted_units}, barrier_epoch{sale.barrier_epoch}, voided{sale.voided};
    Rows row(1);
    row.add("no", number).add("version", version).add("units", moved).add("orders", counted);
    row.add("accepted_units", accepted).add("barrier_epoch", barrier_epoch).add("voided", voided);
    if (row.run(session_, text::move_stock) != 1) return false;
    ++sale.version;
    sale.voided = 0;
    return true;
}

SqlOrderStore::WriterParts SqlOrderStore::writer_parts(Session& session) {
    return {session, pool_->meter(), pool_->writes(), clock_, with_events_, on_stock_moved_};
}

Result<ApplyReport> SqlOrderStore::apply(LogPlace from, LogPosition next,
                                         std::span<const LogRecord> records, StockGuard guard) {
    if (next != from.position) return writer_->apply(from, next, records, guard);
    if (records.size() != 1) return fail(Errc::invalid, "one record at a time without a log");
    return guarded(pool_->url(), "storing an order", [&]() -> Result<ApplyReport> {
        Lease lease(*pool_);
        return Writer(writer_parts(*lease)).apply_alone(records.front(), guard);
    });
}

} // namespace doorbuster::sql
