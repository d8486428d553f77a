// An order, as the store keeps it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "domain/ids.h"
#include "domain/time.h"

namespace doorbuster {

// Stable numbers: the store keeps them.
enum class OrderStatus : std::uint8_t {
    queued = 1,    // durable in the log, not in the store yet
    confirmed = 2, // in the store
    paid = 3,
    cancelled = 4,
    expired = 5,
    refused = 6, // stopped by the store's guard; an audit reports it
};
inline constexpr std::size_t kOrderStatuses = 7;

[[nodiscard]] const char* to_string(OrderStatus status);
[[nodiscard]] std::optional<OrderStatus> parse_order_status(std::string_view text);
// Does an order in this status keep its units?
[[nodiscard]] bool is_live(OrderStatus status);

struct Order {
    OrderId id; // carries the sale and created_at
    std::string user;
    std::string key; // idempotency key; empty: none
    Units quantity = 0;
    OrderStatus status = OrderStatus::queued;
    std::optional<TimePoint> expires_at;
    std::optional<TimePoint> paid_at;
    std::optional<std::string> payment_ref;
    std::int64_t version = 0; // 0 while queued, then counts changes
};

} // namespace doorbuster
