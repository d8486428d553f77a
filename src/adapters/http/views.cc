#include "adapters/http/views.h"

#include <algorithm>

#include "domain/json_text.h"

namespace doorbuster::http {

std::string sale_json(const SaleTerms& terms, Units remaining, TimePoint now) {
    JsonObject sale;
    sale.field("id", terms.id)
        .field("title", terms.title)
        .field("state", to_string(state_of(terms, now)))
        .field("sold_out", remaining <= 0)
        .field("stock", terms.stock)
        .field("remaining", std::max<Units>(remaining, 0))
        .field("per_user_limit", terms.per_user_limit)
        .field("starts_at", terms.starts_at)
        .field("ends_at", terms.ends_at)
        .field("price", terms.price)
        .field("currency", terms.currency)
        .field("payment_timeout_s", std::int64_t{terms.payment_timeout.count() / 1000})
        .field("server_time", now);
    return sale.take();
}

std::string sale_json(const StoredSale& stored, const SaleView* live, TimePoint now) {
    if (live != nullptr && live->signals != nullptr) {
        return sale_json(*live->terms, live->remaining(), now);
    }
    return sale_json(stored.terms, stored.terms.stock - stored.sold, now);
}

std::string accepted_json(const OrderId& order, const std::string& sale_id, std::string_view user,
                          Units quantity) {
    JsonObject body;
    body.field("order_id", order.text())
        .field("sale_id", sale_id)
        .field("user_id", user)
        .field("quantity", quantity)
        .field("status", to_string(OrderStatus::queued))
        .field("created_at", order.created_at());
    return body.take();
}

std::string journal_json(const JournalEntry& entry) {
    JsonObject body;
    body.field("at", entry.at)
        .field("who", entry.who)
        .field("what", entry.what)
        .json("before", entry.before)
        .json("after", entry.after);
    return body.take();
}

std::string audit_json(const SaleAudit& row) {
    JsonObject orders;
    for (std::uint8_t i = 1; i < kOrderStatuses; ++i) {
        orders.field(to_string(static_cast<OrderStatus>(i)), row.orders[i]);
    }
    std::string violations = "[";
    for (const std::string& violation : row.violations) {
        if (violations.size() > 1) violations += ',';
        violations += quoted(violation);
    }
    violations += ']';
    JsonObject body;
    body.field("sale_id", row.sale_id)
        .field("stock", row.stock)
        .field("sold", row.sold)
        .field("remaining", row.remaining)
        .json("orders", orders.take())
        .field("log_accepted_units", row.log_accepted_units)
        .field("inventory_remaining", row.inventory_remaining)
        .json("violations", violations)
        .field("balanced", row.balanced());
    return body.take();
}

} // namespace doorbuster::http
