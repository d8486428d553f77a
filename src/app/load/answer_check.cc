#include "app/load/answer_check.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <fmt/format.h>
#include <optional>

#include "domain/time.h"

namespace doorbuster::load {
namespace {

namespace json = boost::json;

constexpr std::size_t kShownMax = 200; // of a body in a complaint: enough to recognise it
constexpr std::size_t kOrderIdMax = 128;

struct RefusalRow {
    PurchaseOutcome outcome;
    std::string_view code;
    int status;
    bool has_retry_after;
};
// contract.md section 3: what a well-formed purchase of an existing sale can be refused with. Any
// other code means that this client or the server is wrong.
constexpr std::array kRefusals{
    RefusalRow{PurchaseOutcome::sold_out, "sold_out", 409, false},
    RefusalRow{PurchaseOutcome::limit_reached, "limit_reached", 409, false},
    RefusalRow{PurchaseOutcome::not_started, "not_started", 409, false},
    RefusalRow{PurchaseOutcome::paused, "paused", 409, false},
    RefusalRow{PurchaseOutcome::closed, "closed", 410, false},
    RefusalRow{PurchaseOutcome::rate_limited, "rate_limited", 429, true},
    RefusalRow{PurchaseOutcome::overloaded, "overloaded", 503, true},
    RefusalRow{PurchaseOutcome::unavailable, "unavailable", 503, true},
    // Of the strategies that only look at the stock (docs/stages.md).
    RefusalRow{PurchaseOutcome::lost_race, "lost_race", 409, false},
    // Only with a key: an earlier run bound it to another quantity. Whether that can be is asked by
    // the books.
    RefusalRow{PurchaseOutcome::idempotency_mismatch, "idempotency_mismatch", 422, false},
};

bool is_media_type(std::string_view value, std::string_view type) {
    return value.substr(0, value.find(';')) == type;
}

bool is_whole_seconds(std::string_view text) {
    return !text.empty() && text.size() <= 9 &&
           std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// nullopt: absent or not a string.
std::optional<std::string_view> text_of(const json::object& object, std::string_view name) {
    const json::value* const value = object.if_contains(name);
    if (value == nullptr || !value->is_string()) return std::nullopt;
    return std::string_view(value->get_string());
}

std::optional<std::int64_t> number_of(const json::object& object, std::string_view name) {
    const json::value* const value = object.if_contains(name);
    if (value == nullptr || !value->is_int64()) return std::nullopt;
    return value->get_int64();
}

// Reads `text` into memory of the stack: an answer of ours needs less than 2 KiB.
class Document {
public:
    explicit Document(std::string_view text)
        : resource_(memory_.data(), memory_.size()), value_(json::storage_ptr(&resource_)) {
        boost::system::error_code error;
        value_ = json::parse(text, error, json::storage_ptr(&resource_));
        if (error) value_ = nullptr;
    }
    [[nodiscard]] const json::object* object() const { return value_.if_object(); }

private:
    std::array<unsigned char, 2048> memory_{};
    json::monotonic_resource resource_;
    json::value value_;
};

bool is_utc_time(std::string_view text) {
    return text.ends_with('Z') && parse_rfc3339(text).has_value();
}

std::string joined_headers(const Answer& answer) {
    std::string out(answer.content_type);
    for (const std::string_view value :
         {answer.retry_after, answer.rate_limit, answer.rate_limit_policy, answer.replayed}) {
        out += '\n';
        out += value;
    }
    return out;
}

} // namespace

const Verdict& AnswerCheck::judge(const Answer& answer, const Asked& asked) {
    verdict_.complaint.clear();
    verdict_.order_id.clear();
    verdict_.created_at.clear();
    if (answer.status == 202) {
        judge_accepted(answer, asked);
    } else {
        judge_refused(answer, asked);
    }
    return verdict_;
}

void AnswerCheck::complain(const Answer& answer, std::string_view why) {
    const bool is_cut = answer.body.size() > kShownMax;
    verdict_.complaint = fmt::format("{}: status {}, body {}{}", why, answer.status,
                                     answer.body.substr(0, kShownMax), is_cut ? "..." : "");
}

void AnswerCheck::judge_accepted(const Answer& answer, const Asked& asked) {
    if (!is_media_type(answer.content_type, "application/json")) {
        return complain(answer, "a 202 that is not application/json");
    }
    const Document document(answer.body);
    const json::object* const order = document.object();
    if (order == nullptr) return complain(answer, "a 202 without a JSON object");
    const auto order_id = text_of(*order, "order_id");
    if (!order_id || order_id->empty() || order_id->size() > kOrderIdMax) {
        return complain(answer, "a 202 without order_id");
    }
    if (text_of(*order, "sale_id") != sale_id_) {
        return complain(answer, "a 202 whose sale_id is not the sale");
    }
    if (text_of(*order, "user_id") != asked.user_id) {
        return complain(answer, fmt::format("a 202 whose user_id is not {}", asked.user_id));
    }
    if (number_of(*order, "quantity") != asked.quantity) {
        return complain(answer, fmt::format("a 202 whose quantity is not {}", asked.quantity));
    }
    if (text_of(*order, "status") != "queued") {
        return complain(answer, "a 202 whose status is not queued");
    }
    const auto created_at = text_of(*order, "created_at");
    if (!created_at || !is_utc_time(*created_at)) {
        return complain(answer, "a 202 whose created_at is no RFC 3339 time in UTC");
    }
    constexpr std::string_view kOrders = "/v1/orders/";
    if (!answer.location.ends_with(*order_id) ||
        !answer.location.substr(0, answer.location.size() - order_id->size()).ends_with(kOrders)) {
        return complain(answer, fmt::format("a 202 whose Location '{}' is not {}{}",
                                            answer.location, kOrders, *order_id));
    }
    if (!answer.replayed.empty() && answer.replayed != "true") {
        return complain(answer, "a 202 whose Idempotency-Replayed is not 'true'");
    }
    if (!answer.replayed.empty() && !asked.has_key) {
        return complain(answer, "a 202 that is a replay, and no key was sent");
    }
    if (answer.replayed.empty() && asked.is_bound) {
        return complain(answer, "a 202 for a bound key without Idempotency-Replayed");
    }
    verdict_.outcome =
        answer.replayed.empty() ? PurchaseOutcome::accepted : PurchaseOutcome::replayed;
    verdict_.order_id = *order_id;
    verdict_.created_at = *created_at;
}

bool AnswerCheck::is_like_the_last(const Answer& answer) const {
    if (last_outcome_ == PurchaseOutcome::accepted || answer.status != last_status_ ||
        answer.body != last_body_) {
        return false;
    }
    std::string_view rest = last_headers_;
    const auto take = [&](std::string_view value) {
        if (!rest.starts_with(value)) return false;
        rest.remove_prefix(value.size());
        if (!rest.starts_with('\n')) return rest.empty();
        rest.remove_prefix(1);
        return true;
    };
    return take(answer.content_type) && take(answer.retry_after) && take(answer.rate_limit) &&
           take(answer.rate_limit_policy) && take(answer.replayed) && rest.empty();
}

void AnswerCheck::remember(const Answer& answer) {
    last_outcome_ = verdict_.outcome;
    last_status_ = answer.status;
    last_body_ = answer.body;
    last_headers_ = joined_headers(answer);
}

void AnswerCheck::judge_refused(const Answer& answer, const Asked& asked) {
    // The key is looked up before every no that a buyer can be given (contract section 3); only a
    // server that cannot look it up may say 503.
    if (asked.is_bound && answer.status != 503) {
        return complain(answer, "a no to a buyer whose key is bound to an order");
    }
    if (is_like_the_last(answer)) {
        verdict_.outcome = last_outcome_;
        return;
    }
    if (!is_media_type(answer.content_type, "application/problem+json")) {
        return complain(answer, "neither a 202 nor application/problem+json");
    }
    const Document document(answer.body);
    const json::object* const problem = document.object();
    if (problem == nullptr) return complain(answer, "a problem without a JSON object");
    const auto code = text_of(*problem, "code");
    if (!code) return complain(answer, "a problem without code");
    const auto* const row = std::ranges::find(kRefusals, *code, &RefusalRow::code);
    const bool is_of_keys =
        row != kRefusals.end() && row->outcome == PurchaseOutcome::idempotency_mismatch;
    if (row == kRefusals.end() || (is_of_keys && !asked.has_key)) {
        return complain(answer, fmt::format("a code that a purchase cannot get, '{}'", *code));
    }
    // `limits.status` lets an operator choose another status for rate_limited.
    const bool may_differ = row->outcome == PurchaseOutcome::rate_limited && answer.status >= 400;
    if (answer.status != row->status && !may_differ) {
        return complain(answer, fmt::format("{} with a status other than {}", *code, row->status));
    }
    if (number_of(*problem, "status") != answer.status) {
        return complain(answer, "a problem whose status is not the answer's");
    }
    if (text_of(*problem, "type") != fmt::format("/problems/{}", *code)) {
        return complain(answer, "a problem whose type is not /problems/ and its code");
    }
    if (text_of(*problem, "title").value_or("").empty() || !text_of(*problem, "detail")) {
        return complain(answer, "a problem without title or detail");
    }
    const bool has_retry_after = !answer.retry_after.empty();
    if (has_retry_after ? !is_whole_seconds(answer.retry_after) : row->has_retry_after) {
        return complain(answer, fmt::format("{} without Retry-After in whole seconds", *code));
    }
    if (row->outcome == PurchaseOutcome::rate_limited &&
        (answer.rate_limit.empty() || answer.rate_limit_policy.empty())) {
        return complain(answer, "rate_limited without RateLimit and RateLimit-Policy");
    }
    if (!answer.replayed.empty()) return complain(answer, "a refusal that is a replay");
    const json::value* const remaining = problem->if_contains("remaining");
    if (row->outcome == PurchaseOutcome::sold_out && remaining != nullptr) {
        const auto left = number_of(*problem, "remaining");
        if (!left || *left < 0 || *left >= asked.quantity) {
            return complain(answer,
                            fmt::format("sold_out whose remaining is no number from 0 to {}",
                                        asked.quantity - 1));
        }
    }
    const json::value* const order_id = problem->if_contains("order_id");
    if (order_id != nullptr) {
        const auto text = text_of(*problem, "order_id");
        if (!text || text->empty() || text->size() > kOrderIdMax) {
            return complain(answer, "a problem whose order_id is no text");
        }
        verdict_.order_id = *text;
    }
    verdict_.outcome = row->outcome;
    const bool is_the_same_for_all =
        !is_of_keys && order_id == nullptr &&
        (remaining == nullptr || number_of(*problem, "remaining") == 0);
    if (is_the_same_for_all) remember(answer);
}

} // namespace doorbuster::load
