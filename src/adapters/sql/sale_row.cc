#include "adapters/sql/sale_row.h"

#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {
namespace {

std::optional<SaleRow> first_of(std::vector<SaleRow> rows) {
    if (rows.empty()) return std::nullopt;
    return std::move(rows.front());
}

std::string lock_clause(const Session& session, RowLock lock) {
    return lock == RowLock::none ? "" : " " + session.text(text::lock_clause);
}

} // namespace

std::vector<SaleRow> select_sales(Session& session, const std::string& tail,
                                  const std::optional<std::string>& id) {
    SaleRow row;
    SaleTerms& terms = row.sale.terms;
    Integer no = 0, stock = 0, limit = 0, starts_at = 0, timeout_ms = 0, paused = 0, version = 0;
    Integer sold = 0, epoch = 0, barrier = 0, partition = 0;
    Nullable<Integer> ends_at, price, closed_at;
    Nullable<std::string> currency;
    soci::statement select(session.soci());
    select.exchange(soci::into(no));
    select.exchange(soci::into(terms.id));
    select.exchange(soci::into(terms.title));
    select.exchange(soci::into(stock));
    select.exchange(soci::into(limit));
    select.exchange(soci::into(starts_at));
    select.exchange(soci::into(ends_at.value, ends_at.indicator));
    select.exchange(soci::into(price.value, price.indicator));
    select.exchange(soci::into(currency.value, currency.indicator));
    select.exchange(soci::into(timeout_ms));
    select.exchange(soci::into(paused));
    select.exchange(soci::into(closed_at.value, closed_at.indicator));
    select.exchange(soci::into(version));
    select.exchange(soci::into(sold));
    select.exchange(soci::into(epoch));
    select.exchange(soci::into(barrier));
    select.exchange(soci::into(row.log_accepted_orders));
    select.exchange(soci::into(row.log_accepted_units));
    select.exchange(soci::into(row.per_user_limit_ever));
    select.exchange(soci::into(row.voided_orders));
    select.exchange(soci::into(row.created_as));
    select.exchange(soci::into(partition));
    const std::string wanted = id.value_or("");
    if (id) select.exchange(soci::use(wanted, "id"));
    const std::string sql = session.text(text::select_sale_columns) + "\n" + tail;
    std::vector<SaleRow> rows;
    for (bool more = session.execute_bound(select, sql); more; more = select.fetch()) {
        terms.no = SaleNo(static_cast<std::uint32_t>(no));
        terms.stock = stock;
        terms.per_user_limit = limit;
        terms.starts_at = from_ms(starts_at);
        terms.ends_at = from_ms(ends_at.get());
        terms.price = price.get();
        terms.currency = currency.get();
        terms.payment_timeout = Duration(timeout_ms);
        terms.paused = paused != 0;
        terms.closed_at = from_ms(closed_at.get());
        terms.version = version;
        terms.partition = LogPartition(static_cast<std::uint32_t>(partition));
        row.sale.sold = sold;
        row.sale.epoch = Epoch(static_cast<std::uint64_t>(epoch));
        row.sale.barrier = Epoch(static_cast<std::uint64_t>(barrier));
        row.barrier = Epoch(static_cast<std::uint64_t>(barrier));
        rows.push_back(row);
    }
    return rows;
}

std::optional<SaleRow> select_sale(Session& session, SaleNo no, RowLock lock) {
    return first_of(select_sales(session, "WHERE no = " + std::to_string(no.get()) +
                                              lock_clause(session, lock)));
}

std::optional<SaleRow> select_sale(Session& session, const std::string& id, RowLock lock) {
    return first_of(select_sales(session, "WHERE id = :id" + lock_clause(session, lock), id));
}

LogPositions select_positions(Session& session) {
    LogPositions positions;
    Integer partition = 0;
    Integer next = 1;
    session.each(
        text::select_positions,
        [&] {
            positions.set(LogPartition(static_cast<std::uint32_t>(partition)),
                          LogPosition(static_cast<std::uint64_t>(next)));
        },
        soci::into(partition), soci::into(next));
    return positions;
}

} // namespace doorbuster::sql
