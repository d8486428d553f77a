// What a receiver of webhooks is sent: a CloudEvent 1.0 in JSON
// (https://github.com/cloudevents/spec, JSON event format). Pure.
#pragma once

#include <cstdint>
#include <string>

#include "domain/order.h"
#include "ports/event_outbox.h"
#include "ports/event_sender.h"

namespace doorbuster {

// "<order id>.<version>": the same for every copy of an event.
[[nodiscard]] std::string event_id(const OrderId& order, std::int64_t version);
// "doorbuster.order.paid".
[[nodiscard]] std::string event_type(OrderStatus status);
// `data` is the order as GET /v1/orders/{id} showed it right after the change.
[[nodiscard]] EventMessage cloud_event(const OutboxEvent& event);

} // namespace doorbuster
