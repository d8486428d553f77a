#include "adapters/http/problem.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <spdlog/spdlog.h>

#include "domain/json_text.h"

namespace doorbuster::http {
namespace {

struct Row {
    std::string_view name;
    std::uint16_t status;
    std::string_view title;
    std::string_view detail;
};

Row row_of(Code code) {
    switch (code) {
    case Code::sold_out: return {"sold_out", 409, "Sold out", "There are not enough units left."};
    case Code::limit_reached:
        return {"limit_reached", 409, "Limit reached",
                "You would have more units of this sale than one buyer may have."};
    case Code::not_started:
        return {"not_started", 409, "Not started", "The sale has not started yet."};
    case Code::paused: return {"paused", 409, "Paused", "The sale is paused. Try again later."};
    case Code::closed: return {"closed", 410, "Closed", "The sale is over."};
    case Code::rate_limited:
        return {"rate_limited", 429, "Too many requests", "Slow down, then try again."};
    case Code::overloaded:
        return {"overloaded", 503, "Overloaded",
                "Too many purchases are in flight. Nothing was bought; try again."};
    case Code::unavailable:
        return {"unavailable", 503, "Unavailable", "The sale cannot answer now. Try again."};
    case Code::idempotency_mismatch:
        return {"idempotency_mismatch", 422, "Idempotency key used before",
                "This Idempotency-Key belongs to an accepted request with another body."};
    case Code::unauthorized: return {"unauthorized", 401, "Unauthorized", "Say who you are."};
    case Code::forbidden: return {"forbidden", 403, "Forbidden", "You may not do this."};
    case Code::not_found: return {"not_found", 404, "Not found", "There is nothing here."};
    case Code::method_not_allowed:
        return {"method_not_allowed", 405, "Method not allowed",
                "This address does not know that method; the Allow header lists those it does."};
    case Code::timeout:
        return {"timeout", 408, "Request timeout", "The request took too long to arrive."};
    case Code::payload_too_large:
        return {"payload_too_large", 413, "Body too large", "A body may have 64 KiB."};
    case Code::uri_too_long:
        return {"uri_too_long", 414, "Address too long", "The request's target is too long."};
    case Code::unsupported_media_type:
        return {"unsupported_media_type", 415, "Unsupported media type",
                "A body needs the header Content-Type: application/json."};
    case Code::headers_too_large:
        return {"headers_too_large", 431, "Headers too large",
                "The request's headers are too large."};
    case Code::invalid_request:
        return {"invalid_request", 400, "Invalid request", "The request is not valid."};
    case Code::already_exists:
        return {"already_exists", 409, "Already exists",
                "There is a sale with this id and other terms."};
    case Code::below_sold:
        return {"below_sold", 409, "Below sold",
                "Not so many units are free: the others are sold or being bought."};
    case Code::not_payable:
        return {"not_payable", 409, "Not payable", "The order's status allows no payment."};
    case Code::not_cancellable:
        return {"not_cancellable", 409, "Not cancellable",
                "The order's status does not allow to cancel it."};
    case Code::invalid_state:
        return {"invalid_state", 409, "Invalid state", "The sale's state does not allow this."};
    case Code::lost_race:
        return {"lost_race", 409, "Somebody was faster",
                "Another buyer took the unit that you were shown. Nothing was bought; try again."};
    }
    return {"unavailable", 503, "Unavailable", ""};
}

JsonObject begin(const Row& row, std::string_view detail) {
    JsonObject body;
    body.field("type", "/problems/" + std::string(row.name))
        .field("title", row.title)
        .field("status", std::int64_t{row.status})
        .field("detail", detail)
        .field("code", row.name);
    return body;
}

constexpr std::uint32_t kJitterMaxS = 2; // on top of a wait, whatever the wait
// A sale may start in the year 9999; recipients need not read more (RFC 9111, section 1.2.2).
constexpr std::int64_t kRetryAfterMaxS = 2'147'483'647;

constexpr std::size_t kCodes = static_cast<std::size_t>(Code::lost_race) + 1;

// The bodies that never change, made on first use; they live as long as the process.
const std::string& standing_body(Code code) {
    static const std::array<std::string, kCodes> bodies = [] {
        std::array<std::string, kCodes> made;
        for (std::size_t i = 0; i < kCodes; ++i) {
            const auto each = static_cast<Code>(i);
            JsonObject body = begin(row_of(each), row_of(each).detail);
            if (each == Code::sold_out) body.field("remaining", std::int64_t{0});
            made[i] = body.take();
        }
        return made;
    }();
    return bodies[static_cast<std::size_t>(code)];
}

Response empty(Code code) {
    Response response;
    response.status = row_of(code).status;
    response.content_type = "application/problem+json";
    if (code == Code::unauthorized) response.headers = "WWW-Authenticate: Bearer\r\n";
    return response;
}

} // namespace

Code code_of(PurchaseOutcome outcome) {
    switch (outcome) {
    case PurchaseOutcome::sold_out: return Code::sold_out;
    case PurchaseOutcome::limit_reached: return Code::limit_reached;
    case PurchaseOutcome::not_started: return Code::not_started;
    case PurchaseOutcome::paused: return Code::paused;
    case PurchaseOutcome::closed: return Code::closed;
    case PurchaseOutcome::rate_limited: return Code::rate_limited;
    case PurchaseOutcome::overloaded: return Code::overloaded;
    case PurchaseOutcome::idempotency_mismatch: return Code::idempotency_mismatch;
    case PurchaseOutcome::lost_race: return Code::lost_race;
    case PurchaseOutcome::unavailable:
    case PurchaseOutcome::accepted: // answers that are not refusals
    case PurchaseOutcome::replayed: break;
    }
    return Code::unavailable;
}

std::string_view name_of(Code code) { return row_of(code).name; }

Response problem(Code code) {
    Response response = empty(code);
    response.fixed = standing_body(code);
    return response;
}

Response problem(Code code, std::string_view detail) {
    Response response = empty(code);
    response.body = begin(row_of(code), detail).take();
    return response;
}

Response problem(const InvalidField& wrong) {
    Response response = empty(Code::invalid_request);
    const bool is_named = wrong.field != "request" && wrong.field != "body" &&
                          wrong.field != "query"; // else it is a part, not a name
    const std::string subject = is_named ? wrong.field : "The " + wrong.field;
    JsonObject body = begin(row_of(Code::invalid_request), subject + " " + wrong.detail);
    body.field("field", wrong.field);
    response.body = body.take();
    return response;
}

Response below_sold(Units remaining) {
    Response response = empty(Code::below_sold);
    const Row row = row_of(Code::below_sold);
    response.body = begin(row, row.detail).field("remaining", remaining).take();
    return response;
}

Response refused_change(Code code, const Order& order) {
    Response response = empty(code);
    const Row row = row_of(code);
    JsonObject body = begin(row, row.detail);
    body.field("order_id", order.id.text()).field("order_status", to_string(order.status));
    response.body = body.take();
    return response;
}

Response problem(const Error& error) {
    // Overload comes by the thousand and is in the metrics; the rest is for an operator.
    const auto level = error.is(Errc::unavailable) ? spdlog::level::debug : spdlog::level::warn;
    spdlog::log(level, "a request failed: {}", error.message());
    Response response = problem(Code::unavailable);
    response.headers = "Retry-After: 1\r\n";
    return response;
}

std::string RefusalWriter::retry_after(Duration wait) {
    // Marsaglia, "Xorshift RNGs", 2003; a guess that nobody has to be unable to make.
    jitter_ ^= jitter_ << 13;
    jitter_ ^= jitter_ >> 17;
    jitter_ ^= jitter_ << 5;
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
    // Nobody minds two seconds; more, and many would miss the start that they wait for.
    const std::int64_t total =
        std::min(std::max<std::int64_t>(1, seconds) + jitter_ % (kJitterMaxS + 1), kRetryAfterMaxS);
    return "Retry-After: " + std::to_string(total) + "\r\n";
}

Response RefusalWriter::write(const Refusal& refusal) {
    const Code code = code_of(refusal.reason);
    const bool carries =
        refusal.order_id.has_value() || (code == Code::sold_out && refusal.remaining > 0);
    Response response = carries ? empty(code) : problem(code);
    if (carries) {
        JsonObject body = begin(row_of(code), row_of(code).detail);
        if (code == Code::sold_out) body.field("remaining", refusal.remaining);
        if (refusal.order_id) body.field("order_id", refusal.order_id->text());
        response.body = body.take();
    }
    if (refusal.retry_after) {
        response.headers += retry_after(*refusal.retry_after);
    } else if (code == Code::overloaded || code == Code::unavailable) {
        response.headers += retry_after(Duration(1000));
    }
    if (code == Code::rate_limited && refusal.rate) {
        // draft-ietf-httpapi-ratelimit-headers-10: q quota, w window, r remaining, t time to reset.
        const std::string name = '"' + std::string(refusal.rate->policy) + '"';
        const auto window = std::chrono::ceil<std::chrono::seconds>(refusal.rate->window).count();
        const auto wait = refusal.retry_after.value_or(Duration(1000));
        const auto reset = std::chrono::ceil<std::chrono::seconds>(wait).count();
        response.headers += "RateLimit-Policy: " + name +
                            ";q=" + std::to_string(refusal.rate->quota) +
                            ";w=" + std::to_string(std::max<std::int64_t>(1, window)) + "\r\n" +
                            "RateLimit: " + name + ";r=0;t=" + std::to_string(reset) + "\r\n";
        if (rate_limited_status_ != response.status) {
            response.status = rate_limited_status_;
            JsonObject body;
            const Row row = row_of(code);
            body.field("type", "/problems/rate_limited")
                .field("title", row.title)
                .field("status", std::int64_t{rate_limited_status_})
                .field("detail", row.detail)
                .field("code", row.name);
            response.fixed = {};
            response.body = body.take();
        }
    }
    return response;
}

} // namespace doorbuster::http
