// The operators' calls about webhooks. Api::answer_now has checked that the caller may administer.
#include "adapters/http/api.h"
#include "adapters/http/lists.h"
#include "domain/json_text.h"
#include "engine/cloud_event.h"

namespace doorbuster::http {
namespace {

std::string endpoint_json(const WebhookStatus& status) {
    const EndpointRecord& record = status.record;
    const auto if_any = [](const std::string& text) {
        return text.empty() ? std::nullopt : std::optional(text);
    };
    JsonObject body;
    body.field("url", record.url)
        .field("state", to_string(record.state))
        .field("since", record.since)
        .field("reason", if_any(record.reason))
        .field("pending", status.pending)
        .field("parked", record.parked)
        .field("delivered", record.delivered)
        .field("failing_since", record.failing_since)
        .field("last_error", if_any(record.last_error));
    return body.take();
}

std::string event_json(const WebhookEvent& waiting) {
    const OutboxEvent& event = waiting.event;
    JsonObject body;
    body.field("id", event_id(event.order.id, event.order.version))
        .field("type", event_type(event.order.status))
        .field("sale_id", event.sale_id)
        .field("order_id", event.order.id.text())
        .field("time", event.at)
        .field("state", waiting.state == AsideState::parked ? "parked" : "pending")
        .field("attempts", waiting.attempts)
        .field("failing_since", waiting.failing_since)
        .field("last_error",
               waiting.last_error.empty() ? std::nullopt : std::optional(waiting.last_error));
    return body.take();
}

// "<order id>.<version>"
std::optional<ReplayRequest::EventName> parse_event_id(std::string_view text) {
    const std::size_t dot = text.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    const auto order = OrderId::parse(text.substr(0, dot));
    const auto version = whole_number(text.substr(dot + 1));
    if (!order || !version || *version < 1) return std::nullopt;
    return ReplayRequest::EventName{*order, *version};
}

struct Replay {
    std::string endpoint;
    ReplayRequest request;
};

Parsed<Replay> read_replay(const JsonFields& fields) {
    Replay replay;
    const auto endpoint = fields.text("endpoint");
    if (!endpoint) return tl::make_unexpected(endpoint.error());
    if (!*endpoint) return invalid("endpoint", "must be there: the endpoint's URL");
    replay.endpoint = **endpoint;
    int wishes = 0;
    const auto since = fields.text("since");
    if (!since) return tl::make_unexpected(since.error());
    if (*since) {
        replay.request.since = parse_rfc3339(**since);
        if (!replay.request.since) {
            return invalid("since", "must be an RFC 3339 time, 2026-11-27T09:00:00Z");
        }
        ++wishes;
    }
    const auto event = fields.text("event_id");
    if (!event) return tl::make_unexpected(event.error());
    if (*event) {
        replay.request.event = parse_event_id(**event);
        if (!replay.request.event) return invalid("event_id", "must be an event's id");
        ++wishes;
    }
    const auto parked = fields.flag("parked");
    if (!parked) return tl::make_unexpected(parked.error());
    replay.request.parked = parked->value_or(false);
    if (replay.request.parked) ++wishes;
    if (wishes > 1) return invalid("body", "must have one of since, event_id and parked at most");
    return replay;
}

// Where the page begins.
Parsed<std::int64_t> seq_of(const Page& page) {
    if (page.cursor.empty()) return 0;
    const auto seq = whole_number(page.cursor);
    if (!seq || *seq < 0) return invalid("cursor", "must be a next_cursor of this list");
    return *seq;
}

Response unknown_endpoint() {
    return problem(Code::not_found, "No such endpoint is in the settings.");
}

} // namespace

Task<Response> Api::list_webhooks(const Request& request) {
    const auto query = parse_query(request.query, {"limit", "cursor"});
    if (!query) co_return problem(query.error());
    const auto page = page_of(*query);
    if (!page) co_return problem(page.error());
    const auto after = seq_of(*page);
    if (!after) co_return problem(after.error());
    std::vector<std::string> items;
    std::optional<std::string> next_cursor;
    if (parts_.webhooks == nullptr) co_return list_response(items, next_cursor);
    const auto all = co_await parts_.webhooks->list();
    if (!all) co_return problem(all.error());
    for (auto i = static_cast<std::size_t>(*after); i < all->size(); ++i) {
        if (items.size() == page->limit) {
            next_cursor = std::to_string(i);
            break;
        }
        items.push_back(endpoint_json((*all)[i]));
    }
    co_return list_response(items, next_cursor);
}

Task<Response> Api::list_webhook_events(const Request& request) {
    const auto query = parse_query(request.query, {"limit", "cursor", "endpoint", "state"});
    if (!query) co_return problem(query.error());
    const auto page = page_of(*query);
    if (!page) co_return problem(page.error());
    const std::string* endpoint = filter_of(*query, "endpoint");
    if (endpoint == nullptr) {
        const InvalidField wrong{"endpoint", "must be there: the endpoint's URL"};
        co_return problem(wrong);
    }
    AsideState state = AsideState::retrying;
    if (const std::string* of = filter_of(*query, "state")) {
        if (*of != "pending" && *of != "parked") {
            const InvalidField wrong{"state", "must be pending or parked"};
            co_return problem(wrong);
        }
        if (*of == "parked") state = AsideState::parked;
    }
    const auto after = seq_of(*page);
    if (!after) co_return problem(after.error());
    if (parts_.webhooks == nullptr) co_return unknown_endpoint();
    const auto events = co_await parts_.webhooks->events(*endpoint, state, *after, page->limit);
    if (!events && events.error().is(Errc::not_found)) co_return unknown_endpoint();
    if (!events) co_return problem(events.error());
    std::vector<std::string> items;
    for (const WebhookEvent& event : events->events) items.push_back(event_json(event));
    std::optional<std::string> next_cursor;
    if (events->next) next_cursor = std::to_string(*events->next);
    co_return list_response(items, next_cursor);
}

Task<Response> Api::replay_webhook(const Request& request) {
    if (auto refused = refuse_body_type(request)) co_return std::move(*refused);
    const auto fields =
        JsonFields::parse(request.body, {"endpoint", "since", "event_id", "parked"});
    if (!fields) co_return problem(fields.error());
    const auto replay = read_replay(*fields);
    if (!replay) co_return problem(replay.error());
    if (parts_.webhooks == nullptr) co_return unknown_endpoint();
    const auto status = co_await parts_.webhooks->replay(replay->endpoint, replay->request);
    if (!status && status.error().is(Errc::not_found)) {
        co_return problem(Code::not_found, "No such endpoint is in the settings, or the outbox "
                                           "does not hold this event (any more).");
    }
    if (!status) co_return problem(status.error());
    co_return json_response(200, endpoint_json(*status));
}

} // namespace doorbuster::http
