#include "adapters/http/api.h"

#include <algorithm>

#include "domain/json_text.h"

namespace doorbuster::http {
namespace {

std::optional<std::string> percent_decoded(std::string_view text) {
    const auto digit = [](char c) {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    };
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '+') {
            out += ' ';
        } else if (text[i] != '%') {
            out += text[i];
        } else {
            if (i + 2 >= text.size()) return std::nullopt;
            const int high = digit(text[i + 1]);
            const int low = digit(text[i + 2]);
            if (high < 0 || low < 0) return std::nullopt;
            out += static_cast<char>(high * 16 + low);
            i += 2;
        }
    }
    return out;
}

bool is_json(std::string_view content_type) {
    std::string_view type = content_type.substr(0, content_type.find(';'));
    while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
    constexpr std::string_view kJson = "application/json";
    return std::ranges::equal(
        type, kJson, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a | 0x20 : a) == b; });
}

bool is_under_v1(Route route) {
    switch (route) {
    case Route::none:
    case Route::no_method:
    case Route::console:
    case Route::storefront:
    case Route::asset:
    case Route::livez:
    case Route::readyz:
    case Route::metrics:
    case Route::openapi: return false;
    case Route::show_sale:
    case Route::purchase:
    case Route::show_order:
    case Route::order_events:
    case Route::cancel_order:
    case Route::pay_order:
    case Route::create_sale:
    case Route::list_sales:
    case Route::edit_sale:
    case Route::restock:
    case Route::close_sale:
    case Route::list_orders:
    case Route::journal:
    case Route::audit:
    case Route::list_webhooks:
    case Route::list_webhook_events:
    case Route::replay_webhook:
    case Route::admin_events: return true;
    }
    return false;
}

} // namespace

std::optional<Response> refuse_body_type(const Request& request) {
    if (request.body.empty()) return std::nullopt;
    if (request.body_is_encoded) {
        Response refused = problem(Code::unsupported_media_type,
                                   "A body must be sent as it is, without Content-Encoding.");
        refused.headers = "Accept-Encoding: identity\r\n"; // RFC 9110 section 15.5.16
        return refused;
    }
    if (is_json(request.content_type)) return std::nullopt;
    return problem(Code::unsupported_media_type);
}

Parsed<std::map<std::string, std::string>>
parse_query(std::string_view query, std::initializer_list<std::string_view> known) {
    std::map<std::string, std::string> parameters;
    while (!query.empty()) {
        const std::string_view pair = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(query.size(), pair.size() + 1));
        if (pair.empty()) continue;
        const std::size_t equals = pair.find('=');
        const auto name = percent_decoded(pair.substr(0, equals));
        const auto value = percent_decoded(
            equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1));
        if (!name || !value) {
            return tl::make_unexpected(InvalidField{"query", "is not percent-encoded correctly"});
        }
        if (std::ranges::find(known, *name) == known.end()) {
            // Decoded, it may be anything; what goes into an answer must be UTF-8.
            const bool is_plain =
                std::ranges::all_of(*name, [](char c) { return c >= 0x20 && c < 0x7f; });
            return tl::make_unexpected(InvalidField{is_plain && !name->empty() ? *name : "query",
                                                    "is not a parameter of this address"});
        }
        if (!parameters.emplace(*name, *value).second) {
            return tl::make_unexpected(InvalidField{*name, "is there twice"});
        }
    }
    return parameters;
}

Response json_response(std::uint16_t status, std::string body) {
    Response response;
    response.status = status;
    response.body = std::move(body);
    return response;
}

Api::Api(Parts parts, Identity identity, Options options)
    : parts_(std::move(parts)),
      identity_(std::move(identity)),
      options_(std::move(options)),
      refusals_(options.rate_limited_status) {}

// What the address alone decides; nullopt: go on.
std::optional<Response> Api::refuse_by_address(const Request& request, const RouteMatch& match) {
    if (match.route == Route::none) return problem(Code::not_found);
    if (match.route == Route::no_method) {
        Response response = problem(Code::method_not_allowed);
        response.headers = "Allow: " + allowed_methods(request.path) + "\r\n";
        return response;
    }
    if (is_under_v1(match.route) && !parts_.readiness.has_recovered()) {
        Response response =
            problem(Code::unavailable, "The server is still reading its books. Try again.");
        response.headers = refusals_.retry_after(Duration(1000));
        return response;
    }
    return std::nullopt;
}

bool Api::may_be_elsewhere(const RouteMatch& match) {
    if (parts_.keeper == nullptr) return false;
    // Of the others that name a sale, all ask the store in any case.
    const bool asks_directory = match.route == Route::purchase || match.route == Route::show_sale ||
                                match.route == Route::list_orders || match.route == Route::journal;
    return asks_directory && is_sale_id(match.id) && parts_.directory.find(match.id) == nullptr;
}

std::optional<Response> Api::answer_now(const Request& request) {
    const RouteMatch match = match_route(request.method, request.path);
    if (auto refused = refuse_by_address(request, match)) return refused;
    const bool is_buyers = match.route == Route::purchase || match.route == Route::show_sale;
    if (is_buyers && may_be_elsewhere(match)) return std::nullopt;
    switch (match.route) {
    case Route::purchase: return purchase_now(request, match.id);
    case Route::show_sale: return show_sale(match.id);
    case Route::console: return options_.pages.page(request, "/");
    case Route::storefront:
        if (!is_sale_id(match.id)) return problem(Code::not_found);
        return options_.pages.page(request, "/shop/");
    case Route::asset:
        if (auto asset = options_.pages.asset(request)) return asset;
        return problem(Code::not_found);
    case Route::livez: return json_response(200, R"({"status":"alive"})");
    case Route::openapi: {
        Response response;
        response.content_type = "application/yaml";
        response.fixed = options_.openapi;
        return response;
    }
    case Route::create_sale:
    case Route::list_sales:
    case Route::edit_sale:
    case Route::restock:
    case Route::close_sale:
    case Route::list_orders:
    case Route::pay_order:
    case Route::journal:
    case Route::audit:
    case Route::list_webhooks:
    case Route::list_webhook_events:
    case Route::replay_webhook:
    case Route::admin_events:
        if (auto refused = identity_.refuse_admin(request, parts_.clock.now())) return refused;
        return std::nullopt;
    case Route::show_order:
    case Route::cancel_order:
    case Route::order_events:
    case Route::readyz:
    case Route::metrics:
    case Route::none:
    case Route::no_method: return std::nullopt;
    }
    return std::nullopt;
}

Task<Response> Api::answer(const Request& request) {
    const RouteMatch match = match_route(request.method, request.path);
    if (may_be_elsewhere(match)) co_await parts_.keeper->discover(std::string(match.id));
    switch (match.route) {
    case Route::purchase: co_return co_await purchase(request, match.id);
    case Route::show_order: co_return co_await show_order(request, match.id);
    case Route::cancel_order: co_return co_await cancel_order(request, match.id);
    case Route::pay_order: co_return co_await pay_order(request, match.id);
    case Route::order_events: co_return co_await order_events(request, match.id);
    case Route::create_sale: co_return co_await create_sale(request);
    case Route::list_sales: co_return co_await list_sales(request);
    case Route::edit_sale: co_return co_await edit_sale(request, match.id);
    case Route::restock: co_return co_await restock(request, match.id);
    case Route::close_sale: co_return co_await close_sale(request, match.id);
    case Route::list_orders: co_return co_await list_orders(request, match.id);
    case Route::journal: co_return co_await show_journal(request, match.id);
    case Route::audit: co_return co_await audit(match.id);
    case Route::list_webhooks: co_return co_await list_webhooks(request);
    case Route::list_webhook_events: co_return co_await list_webhook_events(request);
    case Route::replay_webhook: co_return co_await replay_webhook(request);
    case Route::readyz: co_return co_await readyz();
    case Route::metrics: co_return co_await metrics_page();
    case Route::show_sale: co_return show_sale(match.id);
    case Route::admin_events: co_return co_await admin_events(request);
    case Route::console:
    case Route::storefront:
    case Route::asset:
    case Route::livez:
    case Route::openapi:
    case Route::none:
    case Route::no_method: break; // answered at once
    }
    co_return problem(Code::not_found);
}

Response Api::protocol_error(const ParseFailure& failure) {
    const std::string_view detail = failure.detail;
    switch (failure.status) {
    case 408: return problem(Code::timeout, detail);
    case 413: return problem(Code::payload_too_large, detail);
    case 414: return problem(Code::uri_too_long, detail);
    case 431: return problem(Code::headers_too_large, detail);
    case 503: {
        Response response = problem(Code::overloaded, detail);
        response.headers = refusals_.retry_after(Duration(1000));
        return response;
    }
    default: {
        const InvalidField wrong{std::string(failure.field), std::string(detail)};
        return problem(wrong);
    }
    }
}

Task<Response> Api::readyz() {
    JsonObject backends;
    bool all_up = true;
    for (const Readiness::Backend& backend : parts_.readiness.backends()) {
        const std::string state = backend.state();
        all_up = all_up && state == "up";
        backends.field(backend.name, state);
    }
    const bool is_ready =
        all_up && parts_.readiness.has_recovered() && !parts_.readiness.is_stopping();
    if (is_ready) {
        JsonObject body;
        body.field("status", "ready").json("backends", backends.take());
        co_return json_response(200, body.take());
    }
    const char* why = parts_.readiness.is_stopping()      ? "stopping"
                      : !parts_.readiness.has_recovered() ? "recovering"
                                                          : "a backend is not up";
    JsonObject body;
    body.field("type", "/problems/unavailable")
        .field("title", "Not ready")
        .field("status", std::int64_t{503})
        .field("detail", why)
        .field("code", name_of(Code::unavailable))
        .json("backends", backends.take());
    Response response = json_response(503, body.take());
    response.content_type = "application/problem+json";
    response.headers = refusals_.retry_after(Duration(1000));
    co_return response;
}

Task<Response> Api::metrics_page() {
    Response response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = co_await parts_.metrics();
    co_return response;
}

} // namespace doorbuster::http
