#include "domain/order.h"

namespace doorbuster {

const char* to_string(OrderStatus status) {
    switch (status) {
    case OrderStatus::queued: return "queued";
    case OrderStatus::confirmed: return "confirmed";
    case OrderStatus::paid: return "paid";
    case OrderStatus::cancelled: return "cancelled";
    case OrderStatus::expired: return "expired";
    case OrderStatus::refused: return "refused";
    }
    return "unknown";
}

std::optional<OrderStatus> parse_order_status(std::string_view text) {
    for (std::uint8_t i = 1; i < kOrderStatuses; ++i) {
        const auto status = static_cast<OrderStatus>(i);
        if (text == to_string(status)) return status;
    }
    return std::nullopt;
}

bool is_live(OrderStatus status) {
    switch (status) {
    case OrderStatus::queued:
    case OrderStatus::confirmed:
    case OrderStatus::paid: return true;
    case OrderStatus::cancelled:
    case OrderStatus::expired:
    case OrderStatus::refused: return false;
    }
    return false;
}

} // namespace doorbuster
