#include "domain/order_json.h"

#include "domain/json_text.h"

namespace doorbuster {

std::string order_json(const Order& order, const std::string& sale_id) {
    JsonObject body;
    body.field("order_id", order.id.text())
        .field("sale_id", sale_id)
        .field("user_id", order.user)
        .field("quantity", order.quantity)
        .field("status", to_string(order.status))
        .field("created_at", order.id.created_at())
        .field("expires_at", order.expires_at)
        .field("paid_at", order.paid_at)
        .field("payment_ref", order.payment_ref)
        .field("version", order.version);
    return body.take();
}

} // namespace doorbuster
