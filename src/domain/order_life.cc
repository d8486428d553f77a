#include "domain/order_life.h"

namespace doorbuster {
namespace {

Order moved(const Order& order, OrderStatus status) {
    Order after = order;
    after.status = status;
    ++after.version;
    return after;
}

OrderDecision decide_pay(const Order& order, const std::string& payment_ref, TimePoint now) {
    if (order.status == OrderStatus::paid && order.payment_ref == payment_ref) {
        return {ChangeVerdict::unchanged, order};
    }
    if (!is_payment_due(order)) return {ChangeVerdict::refused, order};
    // Too late, though nobody has said so yet: the order ends here, so that the answer is true.
    if (now >= *order.expires_at) {
        return {ChangeVerdict::refused, moved(order, OrderStatus::expired)};
    }
    OrderDecision decision{ChangeVerdict::done, moved(order, OrderStatus::paid)};
    decision.order.paid_at = now;
    decision.order.payment_ref = payment_ref;
    return decision;
}

} // namespace

bool is_payment_due(const Order& order) {
    return order.status == OrderStatus::confirmed && order.expires_at.has_value();
}

bool is_final(const Order& order) {
    return order.status != OrderStatus::queued && !is_payment_due(order);
}

OrderDecision decide(const Order& order, const OrderChange& change, TimePoint now) {
    switch (change.action) {
    case OrderAction::pay: return decide_pay(order, change.payment_ref, now);
    case OrderAction::cancel:
        if (order.status == OrderStatus::cancelled) return {ChangeVerdict::unchanged, order};
        if (!is_payment_due(order)) return {ChangeVerdict::refused, order};
        return {ChangeVerdict::done, moved(order, OrderStatus::cancelled)};
    case OrderAction::expire:
        if (!is_payment_due(order) || now < *order.expires_at) {
            return {ChangeVerdict::refused, order};
        }
        return {ChangeVerdict::done, moved(order, OrderStatus::expired)};
    }
    return {ChangeVerdict::refused, order};
}

} // namespace doorbuster
