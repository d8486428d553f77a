#include "domain/stock.h"

#include <algorithm>

#include "base/assert.h"

namespace doorbuster {
namespace {

Refusal sold_out(Units remaining) {
    Refusal refusal;
    refusal.reason = PurchaseOutcome::sold_out;
    refusal.remaining = std::max<Units>(remaining, 0);
    return refusal;
}

} // namespace

std::optional<Refusal> refuse_by_state(const SaleTerms& terms, TimePoint now) {
    Refusal refusal;
    switch (state_of(terms, now)) {
    case SaleState::open: return std::nullopt;
    case SaleState::closed: refusal.reason = PurchaseOutcome::closed; break;
    case SaleState::paused: refusal.reason = PurchaseOutcome::paused; break;
    case SaleState::scheduled:
        refusal.reason = PurchaseOutcome::not_started;
        refusal.retry_after = terms.starts_at - now;
        break;
    }
    return refusal;
}

std::optional<tl::expected<StockDecision, Refusal>>
Stock::decide_bound_key(const PurchaseRequest& request) const {
    if (!request.has_key()) return std::nullopt;
    const auto bound = keys_.find(request.key_print);
    if (bound == keys_.end()) return std::nullopt;
    if (static_cast<Units>(bound->second.quantity) != request.quantity) {
        Refusal mismatch;
        mismatch.reason = PurchaseOutcome::idempotency_mismatch;
        return tl::make_unexpected(mismatch);
    }
    return StockDecision(OrderReplayed{bound->second.order, request.quantity});
}

tl::expected<StockDecision, Refusal> Stock::decide(const PurchaseRequest& request,
                                                   TimePoint now) const {
    if (auto bound = decide_bound_key(request)) return *bound;
    if (const auto refusal = refuse_by_state(terms_, now)) return tl::make_unexpected(*refusal);
    if (remaining() <= 0) return tl::make_unexpected(sold_out(0));
    const auto holder = holders_.find(request.user_print);
    const Units has = holder == holders_.end() ? 0 : static_cast<Units>(holder->second.units);
    if (has + request.quantity > terms_.per_user_limit) {
        Refusal refusal;
        refusal.reason = PurchaseOutcome::limit_reached;
        if (holder != holders_.end()) refusal.order_id = holder->second.latest;
        return tl::make_unexpected(refusal);
    }
    if (request.quantity > remaining()) return tl::make_unexpected(sold_out(remaining()));
    OrderPlaced placed{request.order_id, request.user_print, std::nullopt, request.quantity};
    if (request.has_key()) placed.key = request.key_print;
    return StockDecision(placed);
}

void Stock::apply(const OrderPlaced& order) {
    DB_ASSERT(order.quantity > 0 && order.quantity <= kQuantityMax);
    const auto units = static_cast<std::uint32_t>(order.quantity);
    const auto [hold, is_new] = orders_.try_emplace(order.order);
    DB_ASSERT(is_new);
    Holder& holder = holders_[order.user];
    hold->second = {order.user, holder.latest, {}, units};
    if (holder.latest != OrderId()) orders_.find(holder.latest)->second.after = order.order;
    holder.latest = order.order;
    holder.units += units;
    held_ += order.quantity;
    if (order.key) bind_key(*order.key, order.order, order.quantity);
}

Units Stock::release(const OrderId& order) {
    if (const auto taken = withdrawals_.find(order); taken != withdrawals_.end()) {
        held_ -= taken->second;
        withdrawing_ -= taken->second;
        withdrawals_.erase(taken);
        return 0;
    }
    const auto at = orders_.find(order);
    if (at == orders_.end()) return 0;
    const Hold hold = at->second;
    const auto holder = holders_.find(hold.user);
    if (holder->second.units == hold.units) {
        holders_.erase(holder);
    } else {
        holder->second.units -= hold.units;
        // Out of the line of the user's orders.
        if (hold.before != OrderId()) orders_.find(hold.before)->second.after = hold.after;
        if (hold.after != OrderId()) {
            orders_.find(hold.after)->second.before = hold.before;
        } else {
            holder->second.latest = hold.before;
        }
    }
    orders_.erase(order);
    held_ -= static_cast<Units>(hold.units);
    return static_cast<Units>(hold.units);
}

tl::expected<void, Refusal> Stock::decide_withdrawal(Units units) const {
    if (units > remaining()) return tl::make_unexpected(sold_out(remaining()));
    return {};
}

void Stock::apply_withdrawal(const OrderId& id, Units units) {
    withdrawals_.emplace(id, units);
    withdrawing_ += units;
    held_ += units;
}

void Stock::bind_key(const Fingerprint& key, const OrderId& order, Units quantity) {
    keys_.try_emplace(key, BoundKey{order, static_cast<std::uint32_t>(quantity)});
}

void Stock::apply(const SaleTerms& terms) {
    if (terms.version > terms_.version) terms_ = terms;
}

void Stock::reserve_room(std::size_t orders, std::size_t keys) {
    orders_.reserve(orders);
    holders_.reserve(orders);
    keys_.reserve(keys);
}

} // namespace doorbuster
