// Reading the store's orders and books. A long read goes page by page, so that no statement and no
// answer is longer than a page.
#include <algorithm>

#include "adapters/sql/order_row.h"
#include "adapters/sql/order_store.h"
#include "adapters/sql/pool.h"
#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {
namespace {

using Kind = Transaction::Kind;

constexpr Integer kFetchRows = 4'096;
// A filtered list looks at so many orders a call and one more: 10 ms on a slow core.
constexpr Integer kLookBeyond = 19'999;

// The text range of a sale's order ids: text order is byte order, see OrderId.
struct IdRange {
    std::string lowest;
    std::string highest;
};

IdRange ids_of(SaleNo sale) {
    return {OrderId::first_of(sale).text(), OrderId::last_of(sale).text()};
}

// The sums of a sale's dead letters.
struct Letters {
    Integer held = 0, held_units = 0, dropped = 0, dropped_units = 0;
};

Letters sum_letters(Session& session, SaleNo sale) {
    const Integer no = sale.get();
    Letters sums;
    session.read(text::sum_dead_letters, soci::into(sums.held), soci::into(sums.held_units),
                 soci::into(sums.dropped), soci::into(sums.dropped_units),
                 soci::use(no, "sale_no"));
    return sums;
}

// A page of orders. SOCI wants room for the rows that it is to fetch, and shrinks it to those that
// there were.
struct OrderColumns {
    std::vector<std::string> id, user, key;
    std::vector<Integer> quantity, status;

    void make_room(std::size_t rows) {
        for (auto* texts : {&id, &user, &key}) texts->resize(rows);
        for (auto* numbers : {&quantity, &status}) numbers->resize(rows);
    }
};

Result<void> tell_orders(Session& session, SaleNo sale, SaleSnapshotSink& sink) {
    const IdRange range = ids_of(sale);
    OrderColumns rows;
    for (std::string behind = range.lowest;;) {
        rows.make_room(static_cast<std::size_t>(kFetchRows));
        session.read(text::select_orders_for_rebuild, soci::into(rows.id), soci::into(rows.user),
                     soci::into(rows.key), soci::into(rows.quantity), soci::into(rows.status),
                     soci::use(behind, "after"), soci::use(range.highest, "highest"),
                     soci::use(kFetchRows, "rows"));
        for (std::size_t i = 0; i < rows.id.size(); ++i) {
            auto order = order_id_of(rows.id[i]);
            if (!order) return tl::make_unexpected(std::move(order.error()));
            sink.order(*order, rows.user[i], rows.key[i], rows.quantity[i],
                       static_cast<OrderStatus>(rows.status[i]));
        }
        if (rows.id.size() < static_cast<std::size_t>(kFetchRows)) return {};
        behind = rows.id.back();
    }
}

Result<void> tell_letters(Session& session, SaleNo sale, SaleSnapshotSink& sink) {
    const Integer no = sale.get();
    std::string id, user, key;
    Integer quantity = 0;
    for (std::string behind;;) {
        Result<void> told;
        Integer rows = 0;
        session.each(
            text::select_dead_letters,
            [&] {
                ++rows;
                behind = id;
                const auto order = order_id_of(id);
                if (!order) told = tl::make_unexpected(order.error());
                else sink.dead_letter(*order, user, key, quantity);
            },
            soci::into(id), soci::into(user), soci::into(key), soci::into(quantity),
            soci::use(no, "sale_no"), soci::use(behind, "after"), soci::use(kFetchRows, "rows"));
        if (!told || rows < kFetchRows) return told;
    }
}

Result<SaleBooks> books_of(Session& session, SaleRow row) {
    SaleBooks entry;
    const IdRange range = ids_of(row.sale.terms.no);
    Integer status = 0, orders = 0, units = 0;
    bool is_corrupt = false;
    session.each(
        text::sum_orders_by_status,
        [&] {
            const auto at = static_cast<std::size_t>(status);
            if (at >= kOrderStatuses) {
                is_corrupt = true;
                return;
            }
            entry.orders[at] = orders;
            entry.units[at] = units;
        },
        soci::into(status), soci::into(orders), soci::into(units),
        soci::use(range.lowest, "lowest"), soci::use(range.highest, "highest"));
    if (is_corrupt) return fail(Errc::corrupt, "the store holds an order with no known status");
    std::string user;
    session.each(
        text::select_users_over_limit,
        [&] {
            entry.over_limit.push_back({user, units});
        },
        soci::into(user), soci::into(units), soci::use(range.lowest, "lowest"),
        soci::use(range.highest, "highest"), soci::use(row.per_user_limit_ever, "per_user_limit"));
    Integer give_backs = 0;
    session.read(text::count_give_backs, soci::into(give_backs), soci::use(range.lowest, "lowest"),
                 soci::use(range.highest, "highest"));
    const Letters letters = sum_letters(session, row.sale.terms.no);
    entry.give_backs = give_backs;
    entry.dead_letters = letters.held;
    entry.dead_letter_units = letters.held_units;
    entry.dropped_letters = letters.dropped;
    entry.dropped_letter_units = letters.dropped_units;
    entry.log_accepted_units = row.log_accepted_units;
    entry.log_accepted_orders = row.log_accepted_orders;
    entry.barrier = row.barrier;
    entry.voided_orders = row.voided_orders;
    entry.per_user_limit_ever = row.per_user_limit_ever;
    entry.sale = std::move(row.sale);
    return entry;
}

} // namespace

Result<Order> SqlOrderStore::find_order(const OrderId& id) {
    const auto read_order = [&](Session& session, Attempt&) { return select_order(session, id); };
    auto found = transact(*pool_, "reading an order", Kind::none, read_order);
    if (found || !found.error().is(Errc::not_found)) return found;
    // Promised, and set aside until an operator has seen to it: to its buyer it is queued. Both in
    // one moment: a letter that is replayed becomes an order.
    const auto read = [&](Session& session, Attempt&) -> Result<Order> {
        auto order = select_order(session, id);
        if (order || !order.error().is(Errc::not_found)) return order;
        const std::string wanted = id.text();
        Order letter;
        Integer quantity = 0;
        Integer is_dropped = 0;
        if (!session.read(text::select_dead_letter, soci::into(letter.user), soci::into(letter.key),
                          soci::into(quantity), soci::into(is_dropped), soci::use(wanted, "id"))) {
            return order;
        }
        letter.id = id;
        letter.quantity = quantity;
        if (is_dropped != 0) letter.status = OrderStatus::refused;
        return letter;
    };
    return transact(*pool_, "reading an order", Kind::read, read);
}

Result<OrderPage> SqlOrderStore::list_orders(SaleNo sale, const OrderFilter& filter,
                                             const std::optional<OrderId>& after,
                                             std::size_t limit) {
    const auto read = [&](Session& session, Attempt&) -> Result<OrderPage> {
        IdRange range = ids_of(sale);
        // One lower bound: SQLite takes the first of two to find its place and walks to the other.
        // No order has the lowest id: it would be of 1970.
        const std::string behind = after ? std::max(after->text(), range.lowest) : range.lowest;
        std::optional<std::string> looked_until;
        if (filter.status || filter.user) {
            std::string last;
            if (session.read(text::select_last_looked_at, soci::into(last),
                             soci::use(behind, "after"), soci::use(range.highest, "highest"),
                             soci::use(kLookBeyond, "rows"))) {
                looked_until = range.highest = last;
            }
        }
        const Integer status = filter.status ? static_cast<Integer>(*filter.status) : 0;
        const std::string user = filter.user.value_or("");
        const auto rows = static_cast<Integer>(limit) + 1; // one more says whether there is more
        std::string query =
            session.text(text::select_order_columns) + " WHERE id > :after AND id <= :highest";
        OrderRow row;
        soci::statement select(session.soci());
        row.bind(select);
        select.exchange(soci::use(behind, "after"));
        select.exchange(soci::use(range.highest, "highest"));
        if (filter.status) {
            query += " AND status = :status";
            select.exchange(soci::use(status, "status"));
        }
        if (filter.user) {
            query += " AND user_id = :user_id";
            select.exchange(soci::use(user, "user_id"));
        }
        query += " ORDER BY id LIMIT :rows";
        select.exchange(soci::use(rows, "rows"));
        OrderPage page;
        for (bool more = session.execute_bound(select, query); more; more = select.fetch()) {
            auto order = row.order();
            if (!order) return tl::make_unexpected(std::move(order.error()));
            page.orders.push_back(std::move(*order));
        }
        if (page.orders.size() > limit) {
            page.orders.pop_back();
            page.next = page.orders.back().id;
        } else if (looked_until) {
            page.next = OrderId::parse(*looked_until);
        }
        return page;
    };
    return transact(*pool_, "listing orders", Kind::read, read);
}

Result<void> SqlOrderStore::read_snapshot(std::span<const SaleNo> wanted, TimePoint keys_since,
                                          SaleSnapshotSink& sink) {
    bool is_telling = false;
    const auto read = [&](Session& session, Attempt&) -> Result<void> {
        if (is_telling) { // the sink has been told half of it
            return fail(Errc::unavailable, "the connection was lost while reading a snapshot");
        }
        std::vector<SaleRow> rows;
        if (wanted.empty()) rows = select_sales(session, "ORDER BY no");
        for (const SaleNo no : wanted) {
            if (auto row = select_sale(session, no, RowLock::none)) rows.push_back(std::move(*row));
        }
        for (const SaleRow& row : rows) {
            const SaleNo no = row.sale.terms.no;
            const Letters letters = sum_letters(session, no);
            is_telling = true;
            // What the log accepted and nobody holds.
            sink.sale(row.sale, letters.held_units,
                      row.log_accepted_units - row.sale.sold - letters.held_units);
            const auto closed_at = row.sale.terms.closed_at;
            if (closed_at && *closed_at < keys_since) continue;
            if (letters.held > 0) {
                auto told = tell_letters(session, no, sink);
                if (!told) return told;
            }
            auto told = tell_orders(session, no, sink);
            if (!told) return told;
        }
        return {};
    };
    return transact(*pool_, "reading the store's snapshot", Kind::read, read);
}

Result<Books> SqlOrderStore::books(const std::optional<std::string>& sale,
                                   std::span<const OrderId> asked) {
    Rows::Texts texts;
    for (const OrderId& id : asked) texts.push_back(id.text());
    const auto read = [&](Session& session, Attempt&) -> Result<Books> {
        Books books;
        books.next = select_positions(session);
        auto rows = sale ? select_sales(session, "WHERE id = :id", *sale)
                         : select_sales(session, "ORDER BY no");
        if (sale && rows.empty()) return fail(Errc::not_found, "sale " + *sale);
        for (SaleRow& row : rows) {
            auto entry = books_of(session, std::move(row));
            if (!entry) return tl::make_unexpected(std::move(entry.error()));
            books.sales.push_back(std::move(*entry));
        }
        for (const std::string& text : stored_among(session, texts)) {
            const auto id = order_id_of(text);
            if (!id) return tl::make_unexpected(id.error());
            books.stored.insert(*id);
        }
        return books;
    };
    return transact(*pool_, "reading the books", Kind::read, read);
}

} // namespace doorbuster::sql
