#include "adapters/sql/order_effects.h"

#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {

void Effects::changed(const OrderId& id, OrderStatus status, std::int64_t version, Units quantity) {
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

Result<std::vector<GiveBack>> Effects::write(Session& session) {
    const Rows::Numbers at(order_.size(), now_);
    Rows events(order_.size());
    events.add("order_id", order_).add("version", version_).add("status", status_).add("at", at);
    events.run(session, text::insert_event);
    std::vector<GiveBack> given_back;
    for (auto& [no, ended] : ended_) {
        const Integer number = no.get();
        Rows::Texts ids;
        for (const OrderId& order : ended.orders) ids.push_back(order.text());
        const Rows::Numbers numbers(ids.size(), number);
        if (ended.units > 0) {
            Rows rows(ids.size());
            rows.add("order_id", ids).add("sale_no", numbers);
            rows.run(session, text::insert_give_back);
            session.run(text::give_units_back, soci::use(ended.units, "units"),
                        soci::use(number, "no"));
        }
        auto row = select_sale(session, no, RowLock::none);
        if (!row) return fail(Errc::corrupt, "orders of a sale that is not there");
        given_back.push_back({std::move(row->sale), std::move(ended.orders)});
    }
    return given_back;
}

} // namespace doorbuster::sql
