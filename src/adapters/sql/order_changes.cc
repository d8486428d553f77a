// An order's life behind the writer: pay, cancel, expire, and what is given back thereby. Each call
// is one transaction; the lifecycle's thread makes them.
#include <algorithm>
#include <map>
#include <utility>

#include "adapters/sql/order_row.h"
#include "adapters/sql/order_store.h"
#include "adapters/sql/pool.h"
#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {
namespace {

// What a change weighs in the write-ahead log, in orders of the writer: those lie side by side,
// while orders are paid in any order, each in a page of its own.
constexpr std::size_t kRowsOfAChange = 8;

// What a transaction does besides the orders' own rows: units that are given back, events.
class Effects {
public:
    explicit Effects(TimePoint now, bool with_events) : now_(to_ms(now)), events_(with_events) {}

    void changed(const OrderId& id, OrderStatus status, std::int64_t version, Units quantity) {
        if (events_) {
            order_.push_back(id.text());
            status_.push_back(static_cast<Integer>(status));
            version_.push_back(version);
        }
        if (is_live(status)) return;
        Ended& ended = ended_[id.sale()];
        ended.units += quantity;
        ended.orders.push_back(id);
    }

    // Writes it all, and says what was given back in which sale.
    [[nodiscard]] Result<std::vector<GiveBack>> write(soci::session& session) {
        write_events(session);
        std::vector<GiveBack> given_back;
        for (auto& [no, ended] : ended_) {
            const Integer number = no.get();
            std::vector<std::string> ids;
            for (const OrderId& order : ended.orders) ids.push_back(order.text());
            const std::vector<Integer> numbers(ids.size(), number);
            session << text::insert_give_back, soci::use(ids, "order_id"),
                soci::use(numbers, "sale_no");
            session << text::give_units_back, soci::use(ended.units, "units"),
                soci::use(number, "no");
            auto rows = select_sales(session, "WHERE no = " + std::to_string(number));
            if (rows.empty()) return fail(Errc::corrupt, "orders of a sale that is not there");
            given_back.push_back({std::move(rows.front().sale), std::move(ended.orders)});
        }
        return given_back;
    }

private:
    struct Ended {
        Integer units = 0;
        std::vector<OrderId> orders;
    };

    void write_events(soci::session& session) {
        if (order_.empty()) return;
        const std::vector<Integer> at(order_.size(), now_);
        session << text::insert_event, soci::use(order_, "order_id"),
            soci::use(version_, "version"), soci::use(status_, "status"), soci::use(at, "at");
    }

    Integer now_;
    bool events_;
    std::vector<std::string> order_;
    std::vector<Integer> status_, version_;
    std::map<SaleNo, Ended> ended_;
};

// Under the order's version. False: somebody else changed it.
bool write_order(soci::session& session, const Order& before, const Order& after) {
    const std::string id = after.id.text();
    const auto status = static_cast<Integer>(after.status);
    const Integer version = after.version;
    const Integer old_version = before.version;
    Nullable<Integer> paid_at(to_ms(after.paid_at));
    Nullable<std::string> payment_ref(after.payment_ref);
    soci::statement update =
        (session.prepare << text::change_order, soci::use(status, "status"),
         soci::use(paid_at.value, paid_at.indicator, "paid_at"),
         soci::use(payment_ref.value, payment_ref.indicator, "payment_ref"),
         soci::use(version, "version"), soci::use(id, "id"), soci::use(old_version, "old_version"));
    update.execute(true);
    return update.get_affected_rows() == 1;
}

} // namespace

Result<ChangeReport> SqlOrderStore::change_orders(std::span<const OrderChange> changes) {
    return guarded(name_, "changing orders", [&]() -> Result<ChangeReport> {
        Lease lease(*pool_);
        Transaction transaction(lease, Transaction::Kind::write);
        const TimePoint now = clock_->now();
        Effects effects(now, with_events_);
        ChangeReport report;
        for (const OrderChange& change : changes) {
            const auto order = select_order(*lease, change.order);
            if (!order && !order.error().is(Errc::not_found)) {
                return tl::make_unexpected(order.error());
            }
            if (!order) {
                report.changes.emplace_back();
                continue;
            }
            OrderDecision decision = decide(*order, change, now);
            if (decision.order.version != order->version) {
                if (!write_order(*lease, *order, decision.order)) {
                    return fail(Errc::unavailable, "an order was changed at the same time");
                }
                effects.changed(order->id, decision.order.status, decision.order.version,
                                order->quantity);
            }
            report.changes.push_back({decision.verdict, order->status, std::move(decision.order)});
        }
        auto given_back = effects.write(*lease);
        if (!given_back) return tl::make_unexpected(std::move(given_back.error()));
        report.given_back = std::move(*given_back);
        transaction.commit();
        lease.writes().wrote(*lease, kRowsOfAChange * report.changes.size());
        return report;
    });
}

Result<ExpiryReport> SqlOrderStore::expire_due(std::size_t orders_max) {
    return guarded(name_, "expiring orders", [&]() -> Result<ExpiryReport> {
        Lease lease(*pool_);
        soci::session& session = *lease;
        const TimePoint now = clock_->now();
        const auto next_due = [&session]() -> std::optional<TimePoint> {
            Nullable<Integer> due;
            session << text::select_next_due, soci::into(due.value, due.indicator);
            return from_ms(due.get());
        };
        ExpiryReport report;
        report.next_due = next_due();
        if (!report.next_due || *report.next_due > now) return report; // no lock for nothing

        Transaction transaction(lease, Transaction::Kind::write);
        std::vector<std::string> id(std::max<std::size_t>(orders_max, 2)); // SOCI: not of size 1
        std::vector<Integer> quantity(id.size()), version(id.size());
        const Integer moment = to_ms(now);
        const auto rows = static_cast<Integer>(orders_max);
        session << text::select_due, soci::into(id), soci::into(quantity), soci::into(version),
            soci::use(moment, "now"), soci::use(rows, "rows");
        Effects effects(now, with_events_);
        for (std::size_t i = 0; i < id.size(); ++i) {
            auto order = order_id_of(id[i]);
            if (!order) return tl::make_unexpected(std::move(order.error()));
            effects.changed(*order, OrderStatus::expired, version[i] + 1, quantity[i]);
        }
        if (!id.empty()) session << text::expire_order, soci::use(id, "id");
        auto given_back = effects.write(session);
        if (!given_back) return tl::make_unexpected(std::move(given_back.error()));
        report.given_back = std::move(*given_back);
        report.next_due = next_due();
        transaction.commit();
        lease.writes().wrote(session, 2 * id.size()); // the order's row and its give-back
        return report;
    });
}

Result<std::vector<GiveBack>> SqlOrderStore::pending_give_backs(const std::optional<OrderId>& after,
                                                                std::size_t orders_max) {
    return guarded(name_, "reading what was given back", [&]() -> Result<std::vector<GiveBack>> {
        Lease lease(*pool_);
        soci::session& session = *lease;
        const Transaction transaction(lease, Transaction::Kind::read);
        std::vector<std::string> id(std::max<std::size_t>(orders_max, 2)); // SOCI: not of size 1
        std::vector<Integer> number(id.size());
        const std::string behind = after ? after->text() : "";
        const auto rows = static_cast<Integer>(orders_max);
        session << text::select_give_backs, soci::into(id), soci::into(number),
            soci::use(behind, "after"), soci::use(rows, "rows");
        std::map<SaleNo, std::vector<OrderId>> by_sale;
        for (std::size_t i = 0; i < id.size(); ++i) {
            auto order = order_id_of(id[i]);
            if (!order) return tl::make_unexpected(std::move(order.error()));
            by_sale[SaleNo(static_cast<std::uint32_t>(number[i]))].push_back(*order);
        }
        std::vector<GiveBack> pending;
        for (auto& [no, orders] : by_sale) {
            auto sale = select_sales(session, "WHERE no = " + std::to_string(no.get()));
            if (sale.empty()) return fail(Errc::corrupt, "a give-back of a sale that is not there");
            pending.push_back({std::move(sale.front().sale), std::move(orders)});
        }
        return pending;
    });
}

Result<void> SqlOrderStore::give_backs_done(std::span<const GiveBack> done) {
    return guarded(name_, "ticking off what was given back", [&]() -> Result<void> {
        Lease lease(*pool_);
        Transaction transaction(lease, Transaction::Kind::write);
        std::size_t rows = 0;
        for (const GiveBack& each : done) {
            const std::string no = std::to_string(each.sale.terms.no.get());
            const auto sale = select_sales(*lease, "WHERE no = " + no);
            // Another epoch was opened: its rebuild may have read its snapshot before.
            if (sale.empty() || sale.front().sale.epoch != each.sale.epoch) continue;
            std::vector<std::string> ids;
            for (const OrderId& order : each.orders) ids.push_back(order.text());
            if (!ids.empty()) *lease << text::delete_give_back, soci::use(ids, "order_id");
            rows += ids.size();
        }
        transaction.commit();
        lease.writes().wrote(*lease, rows);
        return {};
    });
}

} // namespace doorbuster::sql
