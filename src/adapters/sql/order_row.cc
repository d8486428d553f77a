#include "adapters/sql/order_row.h"

#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {

Result<OrderId> order_id_of(const std::string& text) {
    if (const auto id = OrderId::parse(text)) return *id;
    return fail(Errc::corrupt, "the store holds an order with the id '" + text + "'");
}

Result<Order> OrderRow::order() const {
    auto order_id = order_id_of(id);
    if (!order_id) return tl::make_unexpected(std::move(order_id.error()));
    Order order;
    order.id = *order_id;
    order.user = user;
    order.key = key;
    order.quantity = quantity;
    order.status = static_cast<OrderStatus>(status);
    order.expires_at = from_ms(expires_at.get());
    order.paid_at = from_ms(paid_at.get());
    order.payment_ref = payment_ref.get();
    order.version = version;
    return order;
}

std::set<std::string> stored_among(Session& session, const Rows::Texts& ids) {
    std::set<std::string> stored;
    std::string id;
    const auto on_row = [&] { stored.insert(id); };
    Rows::each(session, text::select_stored, "id", ids, on_row, soci::into(id));
    return stored;
}

Result<Order> select_order(Session& session, const OrderId& id) {
    OrderRow row;
    const std::string wanted = id.text();
    soci::statement select(session.soci());
    row.bind(select);
    select.exchange(soci::use(wanted, "id"));
    const std::string sql = session.text(text::select_order_columns) + " WHERE id = :id";
    if (!session.execute_bound(select, sql)) return fail(Errc::not_found, "order " + wanted);
    return row.order();
}

} // namespace doorbuster::sql
