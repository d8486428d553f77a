// Every address that the server knows: one table, nothing registers itself anywhere else.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "adapters/http/message.h"

namespace doorbuster::http {

enum class Route : std::uint8_t {
    none,      // no such address
    no_method, // the address exists, the method does not
    show_sale,
    purchase,
    show_order,
    order_events,
    cancel_order,
    pay_order,
    create_sale,
    list_sales,
    edit_sale,
    restock,
    close_sale,
    list_orders,
    journal,
    audit,
    list_webhooks,
    list_webhook_events,
    replay_webhook,
    admin_events,
    console,    // the pages
    storefront, // of one sale
    asset,
    livez,
    readyz,
    metrics,
    openapi,
};

struct RouteMatch {
    Route route = Route::none;
    std::string_view id; // what stood where the pattern has {}
};

// HEAD is matched as GET.
[[nodiscard]] RouteMatch match_route(Method method, std::string_view path);
// For 405: "GET, HEAD, PATCH".
[[nodiscard]] std::string allowed_methods(std::string_view path);

} // namespace doorbuster::http
