// An order's calls, behind its purchase: looking at it, paying and cancelling.
#include "adapters/http/api.h"
#include "domain/json_text.h"
#include "domain/order_json.h"

namespace doorbuster::http {
namespace {

// The store is away, or it would be known. Trying again changes nothing twice.
constexpr const char* kSaleNotKnown = "The order's sale cannot be read at the moment: try again.";

Response no_order() { return problem(Code::not_found, "There is no order with this id."); }

// The shop's name of a payment: as an idempotency key, 1 to 255 printable characters.
Parsed<std::string> payment_ref_of(std::string_view body) {
    const auto fields = JsonFields::parse(body, {"payment_ref"});
    if (!fields) return tl::make_unexpected(fields.error());
    auto ref = fields->text("payment_ref");
    if (!ref) return tl::make_unexpected(ref.error());
    if (!*ref || !is_idempotency_key(**ref)) {
        return tl::make_unexpected(
            InvalidField{"payment_ref", "must be 1 to " + std::to_string(kIdempotencyKeyMax) +
                                            " printable characters"});
    }
    return std::move(**ref);
}

} // namespace

Task<tl::expected<Api::OrderReader, Response>> Api::order_reader(const Request& request) {
    OrderReader reader;
    reader.is_admin = identity_.has_admin_token(request);
    if (reader.is_admin) co_return reader;
    auto buyer = identity_.buyer(request, parts_.clock.now());
    if (!buyer) co_return tl::make_unexpected(std::move(buyer.error()));
    reader.user = std::move(*buyer);
    if (!parts_.purchases.limiter().is_on()) co_return reader;
    const RateSubject subject = subject_of(request, parts_.fingerprints.of(reader.user));
    const auto refusal = co_await parts_.purchases.limiter().check(subject);
    if (!refusal) co_return reader;
    parts_.purchases.count_rate_limited(*refusal);
    co_return tl::make_unexpected(refusals_.write(*refusal));
}

Task<tl::expected<Api::VisibleOrder, Response>> Api::visible_order(const OrderReader& reader,
                                                                   std::string_view id) {
    const auto order_id = OrderId::parse(id);
    if (!order_id) co_return tl::make_unexpected(no_order());
    auto order = co_await parts_.orders.find(*order_id);
    if (!order && !order.error().is(Errc::not_found)) {
        co_return tl::make_unexpected(problem(order.error()));
    }
    // Somebody else's order looks like none.
    if (!order || (!reader.is_admin && order->user != reader.user)) {
        co_return tl::make_unexpected(no_order());
    }
    const SaleView* sale = co_await sale_of(*order_id);
    if (sale == nullptr) co_return tl::make_unexpected(problem(Code::unavailable, kSaleNotKnown));
    VisibleOrder visible;
    visible.order = std::move(*order);
    visible.sale_id = sale->terms->id;
    co_return visible;
}

// Of an order that exists: made on another node, it may be new to this one.
Task<const SaleView*> Api::sale_of(OrderId order) {
    const SaleView* sale = parts_.directory.find(order.sale());
    if (sale == nullptr && parts_.keeper != nullptr) {
        co_await parts_.keeper->refresh();
        sale = parts_.directory.find(order.sale());
    }
    co_return sale;
}

Task<Response> Api::show_order(const Request& request, std::string_view id) {
    auto reader = co_await order_reader(request);
    if (!reader) co_return std::move(reader.error());
    auto visible = co_await visible_order(*reader, id);
    if (!visible) co_return std::move(visible.error());
    co_return json_response(200, order_json(visible->order, visible->sale_id));
}

Task<Response> Api::cancel_order(const Request& request, std::string_view id) {
    if (auto refused = refuse_body_type(request)) co_return std::move(*refused);
    const auto fields = JsonFields::parse(request.body, {});
    if (!fields) co_return problem(fields.error());
    auto reader = co_await order_reader(request);
    if (!reader) co_return std::move(reader.error());
    auto visible = co_await visible_order(*reader, id);
    if (!visible) co_return std::move(visible.error());
    OrderChange change;
    change.order = visible->order.id;
    change.action = OrderAction::cancel;
    co_return co_await change_order(std::move(change), Code::not_cancellable);
}

// Admin only: answer_now has seen to that.
Task<Response> Api::pay_order(const Request& request, std::string_view id) {
    if (auto refused = refuse_body_type(request)) co_return std::move(*refused);
    auto ref = payment_ref_of(request.body);
    if (!ref) co_return problem(ref.error());
    const auto order_id = OrderId::parse(id);
    if (!order_id) co_return no_order();
    OrderChange change;
    change.order = *order_id;
    change.action = OrderAction::pay;
    change.payment_ref = std::move(*ref);
    co_return co_await change_order(std::move(change), Code::not_payable);
}

Task<Response> Api::change_order(OrderChange change, Code refusal) {
    const OrderId id = change.order;
    const auto changed = co_await parts_.orders.change(std::move(change));
    if (!changed && changed.error().is(Errc::not_found)) co_return no_order();
    if (!changed) co_return problem(changed.error());
    const SaleView* sale = co_await sale_of(id);
    if (sale == nullptr) co_return problem(Code::unavailable, kSaleNotKnown);
    switch (changed->verdict) {
    case ChangeVerdict::done:
    case ChangeVerdict::unchanged:
        co_return json_response(200, order_json(changed->order, sale->terms->id));
    case ChangeVerdict::refused: co_return refused_change(refusal, changed->order);
    case ChangeVerdict::unknown: break;
    }
    co_return no_order();
}

} // namespace doorbuster::http
