// An order's life behind the log: what may become of it, and when (contract.md section 3). Pure;
// the store decides by this, under the order's version, and nobody else does.
#pragma once

#include <cstdint>
#include <string>

#include "domain/order.h"

namespace doorbuster {

enum class OrderAction : std::uint8_t { pay, cancel, expire };

// What is asked of an order.
struct OrderChange {
    OrderId order;
    OrderAction action = OrderAction::expire;
    std::string payment_ref; // pay: the shop's own name of the payment
};

enum class ChangeVerdict : std::uint8_t {
    done,      // the order is now as asked
    unchanged, // it was so already: the same payment again, or cancelled before
    refused,   // its status does not allow it: not_payable, not_cancellable, not due
    unknown,   // the store has no such order
};

struct OrderDecision {
    ChangeVerdict verdict = ChangeVerdict::refused;
    Order order; // as it is afterwards; a refused payment may find it overdue and end it
};

// Does the order wait for a payment?
[[nodiscard]] bool is_payment_due(const Order& order);
// Will the status never change again?
[[nodiscard]] bool is_final(const Order& order);

[[nodiscard]] OrderDecision decide(const Order& order, const OrderChange& change, TimePoint now);

} // namespace doorbuster
