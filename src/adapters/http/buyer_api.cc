// The purchase: purchase_now (the no that needs no hop) → purchase →
// engine/purchase_service.
#include "adapters/http/api.h"
#include "adapters/http/views.h"
#include "engine/admission.h"

namespace doorbuster::http {
namespace {

InvalidField bad_key() { return {"Idempotency-Key", "must be 1 to 255 printable characters"}; }

} // namespace

// Nearly all buyers of a sale send the same text: what it means is remembered from one to the next.
Parsed<Units> Api::quantity_of(std::string_view body) {
    if (body == last_body_) return last_quantity_;
    const auto fields = JsonFields::parse(body, {"quantity"});
    if (!fields) return tl::make_unexpected(fields.error());
    const auto quantity = fields->integer("quantity", 1, kQuantityMax);
    if (!quantity) return tl::make_unexpected(quantity.error());
    last_body_ = body;
    last_quantity_ = quantity->value_or(1);
    return last_quantity_;
}

// 400 and 415, then 404: what the contract lets win over everything else.
tl::expected<Api::Attempt, Response> Api::parse_purchase(const Request& request,
                                                         std::string_view sale_id) {
    if (auto refused = refuse_body_type(request)) return tl::make_unexpected(std::move(*refused));
    const auto quantity = quantity_of(request.body);
    if (!quantity) return tl::make_unexpected(problem(quantity.error()));
    if (request.has_idempotency_key && !is_idempotency_key(request.idempotency_key)) {
        return tl::make_unexpected(problem(bad_key()));
    }
    if (auto refused = identity_.refuse_early(request); refused && refused->status == 400) {
        return tl::make_unexpected(std::move(*refused));
    }
    Attempt attempt;
    attempt.sale = parts_.directory.find(sale_id);
    if (attempt.sale == nullptr) {
        return tl::make_unexpected(problem(Code::not_found, "There is no sale with this id."));
    }
    attempt.request.sale = attempt.sale->terms->no;
    attempt.request.partition = attempt.sale->terms->partition;
    attempt.request.quantity = *quantity;
    attempt.request.key = request.idempotency_key;
    return attempt;
}

std::optional<Response> Api::purchase_now(const Request& request, std::string_view sale_id) {
    const std::int64_t started_ns = parts_.clock.steady_ns();
    auto attempt = parse_purchase(request, sale_id);
    if (!attempt) return std::move(attempt.error());
    const auto refusal = refuse_by_sale(*attempt->sale, parts_.clock.now());
    if (!refusal) return std::nullopt;
    PurchaseRequest& wanted = attempt->request;
    if (wanted.has_key()) { // looked up after the stock: see PurchaseService::purchase
        // Only who the buyer is tells whether the key is bound; a token costs too much here.
        if (!identity_.reads_header() || request.user_id.empty()) return std::nullopt;
        wanted.user_print = parts_.fingerprints.of(request.user_id);
        wanted.key_print = parts_.fingerprints.of(wanted.user_print, wanted.key);
        if (may_be_bound(*attempt->sale, wanted)) return std::nullopt;
    }
    parts_.purchases.count(*attempt->sale, refusal->reason, started_ns);
    return refusals_.write(*refusal);
}

RateSubject Api::subject_of(const Request& request, const Fingerprint& user) const {
    RateSubject subject;
    subject.user = user;
    const auto client = parts_.proxies.client_of(request);
    subject.address = parts_.fingerprints.of(limit_key_of(client));
    return subject;
}

Task<Response> Api::purchase(const Request& request, std::string_view sale_id) {
    const std::int64_t started_ns = parts_.clock.steady_ns();
    auto attempt = parse_purchase(request, sale_id);
    if (!attempt) co_return std::move(attempt.error());
    auto user = identity_.buyer(request, parts_.clock.now());
    if (!user) co_return std::move(user.error());
    PurchaseRequest& wanted = attempt->request;
    SaleView& sale = *attempt->sale;
    wanted.user = *user;
    wanted.user_print = parts_.fingerprints.of(wanted.user);
    if (wanted.has_key()) {
        wanted.key_print = parts_.fingerprints.of(wanted.user_print, wanted.key);
    }
    RateSubject subject;
    if (parts_.purchases.limiter().is_on()) {
        subject = subject_of(request, wanted.user_print);
        subject.counts_for_system = true;
    }
    const auto reserved = co_await parts_.purchases.purchase(sale, wanted, subject);
    if (reserved) {
        parts_.purchases.count(
            sale, reserved->replayed ? PurchaseOutcome::replayed : PurchaseOutcome::accepted,
            started_ns);
        co_return accepted(*reserved, sale, *user);
    }
    if (const auto* refusal = std::get_if<Refusal>(&reserved.error())) {
        parts_.purchases.count(sale, refusal->reason, started_ns);
        parts_.purchases.count_rate_limited(*refusal);
        co_return refusals_.write(*refusal);
    }
    parts_.purchases.count(sale, PurchaseOutcome::unavailable, started_ns);
    co_return problem(std::get<Error>(reserved.error()));
}

Response Api::accepted(const Reservation& reservation, const SaleView& sale,
                       std::string_view user) const {
    Response response = json_response(
        202, accepted_json(reservation.order, sale.terms->id, user, reservation.quantity));
    response.headers = "Location: /v1/orders/" + reservation.order.text() + "\r\n";
    if (reservation.replayed) response.headers += "Idempotency-Replayed: true\r\n";
    return response;
}

Response Api::show_sale(std::string_view id) {
    const SaleView* sale = parts_.directory.find(id);
    if (sale == nullptr) return problem(Code::not_found, "There is no sale with this id.");
    return json_response(200, sale_json(*sale->terms, sale->remaining(), parts_.clock.now()));
}

} // namespace doorbuster::http
