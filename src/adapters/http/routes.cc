#include "adapters/http/routes.h"

#include <optional>

namespace doorbuster::http {
namespace {

struct Entry {
    Method method;
    std::string_view pattern; // {} stands for one segment
    Route route;
};

// The purchase first: nearly every request is one.
constexpr Entry kTable[] = {
    {Method::post, "/v1/sales/{}/purchases", Route::purchase},
    {Method::get, "/v1/sales/{}", Route::show_sale},
    {Method::get, "/v1/orders/{}", Route::show_order},
    {Method::get, "/v1/orders/{}/events", Route::order_events},
    {Method::post, "/v1/orders/{}/cancel", Route::cancel_order},
    {Method::post, "/v1/orders/{}/pay", Route::pay_order},
    {Method::get, "/v1/sales", Route::list_sales},
    {Method::post, "/v1/sales", Route::create_sale},
    {Method::patch, "/v1/sales/{}", Route::edit_sale},
    {Method::post, "/v1/sales/{}/stock", Route::restock},
    {Method::post, "/v1/sales/{}/close", Route::close_sale},
    {Method::get, "/v1/sales/{}/orders", Route::list_orders},
    {Method::get, "/v1/sales/{}/journal", Route::journal},
    {Method::get, "/v1/sales/{}/audit", Route::audit},
    {Method::get, "/v1/webhooks", Route::list_webhooks},
    {Method::get, "/v1/webhooks/events", Route::list_webhook_events},
    {Method::post, "/v1/webhooks/replay", Route::replay_webhook},
    {Method::get, "/v1/admin/events", Route::admin_events},
    {Method::get, "/", Route::console},
    {Method::get, "/shop/{}", Route::storefront},
    {Method::get, "/assets/{}", Route::asset},
    {Method::get, "/livez", Route::livez},
    {Method::get, "/readyz", Route::readyz},
    {Method::get, "/metrics", Route::metrics},
    {Method::get, "/openapi.yaml", Route::openapi},
};

// What stands for {}, "" for a pattern without one; nullopt: no match.
std::optional<std::string_view> match(std::string_view pattern, std::string_view path) {
    const std::size_t open = pattern.find("{}");
    if (open == std::string_view::npos) {
        if (pattern == path) return std::string_view();
        return std::nullopt;
    }
    const std::string_view before = pattern.substr(0, open);
    const std::string_view after = pattern.substr(open + 2);
    if (path.size() <= before.size() + after.size() || !path.starts_with(before) ||
        !path.ends_with(after)) {
        return std::nullopt;
    }
    const std::string_view id =
        path.substr(before.size(), path.size() - before.size() - after.size());
    if (id.find('/') != std::string_view::npos) return std::nullopt;
    return id;
}

std::string_view name_of(Method method) {
    switch (method) {
    case Method::get: return "GET, HEAD";
    case Method::post: return "POST";
    case Method::patch: return "PATCH";
    case Method::head:
    case Method::put:
    case Method::del:
    case Method::options:
    case Method::other: break;
    }
    return "";
}

} // namespace

RouteMatch match_route(Method method, std::string_view path) {
    const Method wanted = method == Method::head ? Method::get : method;
    bool is_known = false;
    for (const Entry& entry : kTable) {
        const auto id = match(entry.pattern, path);
        if (!id) continue;
        if (entry.method == wanted) return {entry.route, *id};
        is_known = true;
    }
    return {is_known ? Route::no_method : Route::none, {}};
}

std::string allowed_methods(std::string_view path) {
    std::string list;
    for (const Entry& entry : kTable) {
        if (!match(entry.pattern, path)) continue;
        if (!list.empty()) list += ", ";
        list += name_of(entry.method);
    }
    return list;
}

} // namespace doorbuster::http
