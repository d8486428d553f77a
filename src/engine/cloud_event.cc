#include "engine/cloud_event.h"

#include "domain/json_text.h"
#include "domain/order_json.h"

namespace doorbuster {

std::string event_id(const OrderId& order, std::int64_t version) {
    return order.text() + "." + std::to_string(version);
}

std::string event_type(OrderStatus status) {
    return std::string("doorbuster.order.") + to_string(status);
}

EventMessage cloud_event(const OutboxEvent& event) {
    EventMessage message;
    message.id = event_id(event.order.id, event.order.version);
    JsonObject body;
    body.field("specversion", "1.0")
        .field("id", message.id)
        .field("source", "/v1/sales/" + event.sale_id)
        .field("type", event_type(event.order.status))
        .field("subject", event.order.id.text())
        .field("time", event.at)
        .field("datacontenttype", "application/json")
        .json("data", order_json(event.order, event.sale_id));
    message.body = body.take();
    return message;
}

} // namespace doorbuster
