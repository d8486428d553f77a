#include "engine/order_service.h"

namespace doorbuster {
namespace {

constexpr Duration kWriterWait{2'000}; // it is milliseconds behind unless the store is down
// Store and log answer in milliseconds, or something is away: then a buyer hears 503.
constexpr Duration kFindWait{2'000};

} // namespace

Order queued_order(LogRecord record) {
    Order order;
    order.id = record.order;
    order.user = std::move(record.user);
    order.key = std::move(record.key);
    order.quantity = record.quantity;
    order.status = OrderStatus::queued;
    return order;
}

Result<Order> OrderService::find_blocking(const OrderId& id) {
    auto stored = store_.find_order(id);
    if (stored || !stored.error().is(Errc::not_found)) return stored;
    auto record = log_.find(id);
    if (!record) return tl::make_unexpected(std::move(record.error()));
    if (*record) return queued_order(std::move(**record));
    return store_.find_order(id); // the writer may have moved it between our two looks
}

Task<Result<Order>> OrderService::find(const OrderId& id) {
    auto look = [this, id] { return find_blocking(id); };
    co_return co_await blocking_.run_within(kFindWait, "the order store", std::move(look));
}

Task<Result<Lifecycle::Change>> OrderService::change(OrderChange change) {
    const auto order = co_await find(change.order);
    if (!order) co_return tl::make_unexpected(order.error());
    if (order->status == OrderStatus::queued) {
        const bool is_stored = co_await progress_.stored(change.order, kWriterWait);
        if (!is_stored) co_return fail(Errc::unavailable, "the order is not in the store yet");
    }
    auto changed = co_await lifecycle_.change(std::move(change));
    // A dead letter: promised, and not in the store until an operator has seen to it.
    if (changed && changed->verdict == ChangeVerdict::unknown) {
        co_return fail(Errc::unavailable, "the order could not be stored");
    }
    co_return changed;
}

Task<Result<OrderPage>> OrderService::list(const SaleTerms& sale, const OrderFilter& filter,
                                           const std::optional<OrderId>& after, std::size_t limit) {
    static_cast<void>(co_await progress_.caught_up(sale.partition, kWriterWait));
    auto read = [&] { return store_.list_orders(sale.no, filter, after, limit); };
    co_return co_await blocking_.run(read);
}

} // namespace doorbuster
