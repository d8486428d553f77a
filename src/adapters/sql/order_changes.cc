// An order's life behind the writer: pay, cancel, expire, and what is given back thereby. Each call
// is one transaction; the lifecycles of several processes make them at once. They lock the orders
// first, in the order of their ids, then the sales whose units they give back, by number. The order
// writer holds sales while it inserts, but only orders that are not there: nobody waits in a
// circle.
#include <algorithm>
#include <map>
#include <utility>

#include "adapters/sql/order_effects.h"
#include "adapters/sql/order_row.h"
#include "adapters/sql/order_store.h"
#include "adapters/sql/pool.h"
#include "adapters/sql/rows.h"
#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {
namespace {

using Kind = Transaction::Kind;

// What a change weighs in the write-ahead log, in orders of the writer: those lie side by side,
// while orders are paid in any order, each in a page of its own.
constexpr std::size_t kRowsOfAChange = 8;

// The orders that are there, locked.
Result<std::map<OrderId, Order>> lock_orders(Session& session,
                                             std::span<const OrderChange> changes) {
    std::vector<std::string> ids;
    for (const OrderChange& change : changes) ids.push_back(change.order.text());
    std::ranges::sort(ids);
    const auto [first, last] = std::ranges::unique(ids);
    ids.erase(first, last);
    Result<std::map<OrderId, Order>> orders;
    OrderRow row;
    const auto on_row = [&] {
        auto order = row.order();
        if (!order) orders = tl::make_unexpected(std::move(order.error()));
        else if (orders) orders->emplace(order->id, std::move(*order));
    };
    Rows::each(session, text::lock_order, "id", ids, on_row, soci::into(row.id),
               soci::into(row.user), soci::into(row.quantity), soci::into(row.status),
               soci::into(row.expires_at.value, row.expires_at.indicator),
               soci::into(row.paid_at.value, row.paid_at.indicator),
               soci::into(row.payment_ref.value, row.payment_ref.indicator), soci::into(row.key),
               soci::into(row.version));
    return orders;
}

// Writes orders under the versions that they had. False: somebody else changed one.
bool write_orders(Session& session, const std::vector<std::pair<std::int64_t, Order>>& changed) {
    Rows::Texts id, payment_ref;
    Rows::Numbers old_version, status, paid_at, version;
    Rows::Indicators has_paid_at, has_payment_ref;
    for (const auto& [before, order] : changed) {
        id.push_back(order.id.text());
        old_version.push_back(before);
        status.push_back(static_cast<Integer>(order.status));
        version.push_back(order.version);
        paid_at.push_back(to_ms(order.paid_at).value_or(0));
        has_paid_at.push_back(order.paid_at ? soci::i_ok : soci::i_null);
        payment_ref.push_back(order.payment_ref.value_or(""));
        has_payment_ref.push_back(order.payment_ref ? soci::i_ok : soci::i_null);
    }
    Rows rows(id.size());
    rows.add("id", id).add("old_version", old_version).add("status", status);
    rows.add("paid_at", paid_at, &has_paid_at);
    rows.add("payment_ref", payment_ref, &has_payment_ref).add("version", version);
    return rows.run(session, text::change_order) == static_cast<Integer>(id.size());
}

bool is_same(const Order& a, const Order& b) {
    return a.version == b.version && a.status == b.status && a.payment_ref == b.payment_ref;
}

} // namespace

Result<ChangeReport> SqlOrderStore::change_orders(std::span<const OrderChange> changes) {
    // What an attempt has written, for the next one if nobody knows what became of it: versions
    // tell whether an order is as it was to be. Nothing changes it again, for it is final then.
    std::map<OrderId, ChangeReport::Change> planned;
    const auto write = [&](Session& session, Attempt& attempt) -> Result<ChangeReport> {
        auto orders = lock_orders(session, changes);
        if (!orders) return tl::make_unexpected(std::move(orders.error()));
        const TimePoint now = session.now(clock_);
        Effects effects(now, with_events_);
        std::map<OrderId, std::int64_t> versions; // before, of those that change
        std::map<OrderId, ChangeReport::Change> done;
        std::vector<OrderId> ended_before;
        ChangeReport report;
        for (const OrderChange& change : changes) {
            const auto at = orders->find(change.order);
            if (at == orders->end()) {
                report.changes.emplace_back();
                continue;
            }
            Order& order = at->second;
            const auto plan = planned.find(order.id);
            if (attempt.is_commit_unknown && plan != planned.end() && !done.contains(order.id) &&
                is_same(order, plan->second.order)) {
                report.changes.push_back(plan->second);
                done.insert(*plan);
                if (!is_live(order.status)) ended_before.push_back(order.id);
                continue;
            }
            OrderDecision decision = decide(order, change, now);
            report.changes.push_back({decision.verdict, order.status, decision.order});
            if (decision.order.version == order.version) continue;
            effects.changed(order.id, decision.order.status, decision.order.version,
                            order.quantity);
            versions.try_emplace(order.id, order.version);
            done.emplace(order.id, report.changes.back());
            order = std::move(decision.order);
        }
        std::vector<std::pair<std::int64_t, Order>> changed;
        for (const auto& [id, before] : versions) changed.emplace_back(before, orders->at(id));
        if (!write_orders(session, changed)) {
            return fail(Errc::unavailable, "an order was changed at the same time");
        }
        for (const OrderId& id : ended_before) effects.ended_before(id);
        auto given_back = effects.write(session);
        if (!given_back) return tl::make_unexpected(std::move(given_back.error()));
        report.given_back = std::move(*given_back);
        planned = std::move(done);
        attempt.rows_written = kRowsOfAChange * report.changes.size();
        return report;
    };
    return transact(*pool_, "changing orders", Kind::write, write);
}

Result<ExpiryReport> SqlOrderStore::expire_due(std::size_t orders_max) {
    const auto next_due = [](Session& session) -> std::optional<TimePoint> {
        Nullable<Integer> due;
        session.read(text::select_next_due, soci::into(due.value, due.indicator));
        return from_ms(due.get());
    };
    // No lock for nothing.
    bool is_due = false;
    const auto look = [&](Session& session, Attempt&) -> Result<ExpiryReport> {
        ExpiryReport report;
        report.next_due = next_due(session);
        is_due = report.next_due && *report.next_due <= session.now(clock_);
        return report;
    };
    auto looked = transact(*pool_, "looking for orders to expire", Kind::none, look);
    if (!looked || !is_due) return looked;

    const auto expire = [&](Session& session, Attempt& attempt) -> Result<ExpiryReport> {
        // What was given back stands in the give-back rows. To name it here as well, every order
        // would have to be read again.
        if (attempt.is_commit_unknown) {
            return fail(Errc::unavailable, "the connection was lost while orders expired");
        }
        std::vector<std::string> id(std::max<std::size_t>(orders_max, 2)); // SOCI: not of size 1
        std::vector<Integer> quantity(id.size()), version(id.size());
        const TimePoint now = session.now(clock_);
        const Integer moment = to_ms(now);
        const auto rows = static_cast<Integer>(orders_max);
        session.read(text::select_due, soci::into(id), soci::into(quantity), soci::into(version),
                     soci::use(moment, "now"), soci::use(rows, "rows"));
        Effects effects(now, with_events_);
        for (std::size_t i = 0; i < id.size(); ++i) {
            auto order = order_id_of(id[i]);
            if (!order) return tl::make_unexpected(std::move(order.error()));
            effects.changed(*order, OrderStatus::expired, version[i] + 1, quantity[i]);
        }
        Rows expired(id.size());
        expired.add("id", id);
        if (expired.run(session, text::expire_order) != static_cast<Integer>(id.size())) {
            return fail(Errc::unavailable, "an order was changed at the same time");
        }
        auto given_back = effects.write(session);
        if (!given_back) return tl::make_unexpected(std::move(given_back.error()));
        ExpiryReport report;
        report.given_back = std::move(*given_back);
        report.next_due = next_due(session);
        attempt.rows_written = 2 * id.size(); // the order's row and its give-back
        return report;
    };
    return transact(*pool_, "expiring orders", Kind::write, expire);
}

Result<std::vector<GiveBack>> SqlOrderStore::pending_give_backs(const std::optional<OrderId>& after,
                                                                std::size_t orders_max) {
    const auto read = [&](Session& session, Attempt&) -> Result<std::vector<GiveBack>> {
        std::vector<std::string> id(std::max<std::size_t>(orders_max, 2)); // SOCI: not of size 1
        std::vector<Integer> number(id.size());
        const std::string behind = after ? after->text() : "";
        const auto rows = static_cast<Integer>(orders_max);
        session.read(text::select_give_backs, soci::into(id), soci::into(number),
                     soci::use(behind, "after"), soci::use(rows, "rows"));
        std::map<SaleNo, std::vector<OrderId>> by_sale;
        for (std::size_t i = 0; i < id.size(); ++i) {
            auto order = order_id_of(id[i]);
            if (!order) return tl::make_unexpected(std::move(order.error()));
            by_sale[SaleNo(static_cast<std::uint32_t>(number[i]))].push_back(*order);
        }
        std::vector<GiveBack> pending;
        for (auto& [no, orders] : by_sale) {
            auto sale = select_sale(session, no, RowLock::none);
            if (!sale) return fail(Errc::corrupt, "a give-back of a sale that is not there");
            pending.push_back({std::move(sale->sale), std::move(orders)});
        }
        return pending;
    };
    return transact(*pool_, "reading what was given back", Kind::read, read);
}

Result<void> SqlOrderStore::give_backs_done(std::span<const GiveBack> done) {
    std::vector<const GiveBack*> in_order;
    for (const GiveBack& each : done) in_order.push_back(&each);
    std::ranges::stable_sort(in_order, {},
                             [](const GiveBack* each) { return each->sale.terms.no; });
    const auto write = [&](Session& session, Attempt& attempt) -> Result<void> {
        for (const GiveBack* each : in_order) {
            const auto sale = select_sale(session, each->sale.terms.no, RowLock::update);
            // Another epoch was opened: its rebuild may have read its snapshot before.
            if (!sale || sale->sale.epoch != each->sale.epoch) continue;
            Rows::Texts ids;
            for (const OrderId& order : each->orders) ids.push_back(order.text());
            Rows rows(ids.size());
            rows.add("order_id", ids).run(session, text::delete_give_back);
            attempt.rows_written += ids.size();
        }
        return {};
    };
    return transact(*pool_, "ticking off what was given back", Kind::write, write);
}

} // namespace doorbuster::sql
