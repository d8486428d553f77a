#include "engine/purchase_service.h"

#include <cstring>

#include "engine/admission.h"

namespace doorbuster {
namespace {

constexpr Duration kOverloadedRetryAfter{1000}; // the in-flight window turns over in milliseconds

Stop refused(PurchaseOutcome reason) {
    Refusal refusal;
    refusal.reason = reason;
    refusal.retry_after = kOverloadedRetryAfter;
    return refusal;
}

// Counts up for the length of a scope.
class InFlight {
public:
    explicit InFlight(std::size_t& count) : count_(count) { ++count_; }
    ~InFlight() { --count_; }
    InFlight(const InFlight&) = delete;
    InFlight& operator=(const InFlight&) = delete;

private:
    std::size_t& count_;
};

} // namespace

Task<Step<Reservation>> PurchaseService::purchase(SaleView& sale, PurchaseRequest request,
                                                  const RateSubject& subject) {
    // In this order: whoever sees the stock of the last winner gone sees that winner's key, too.
    const auto refusal = refuse_by_sale(sale, parts_.clock.now());
    // Where other processes bind keys, nearly every key may be bound: reserve() looks it up anyway,
    // so it is asked for beforehand only when a no is about to win over it.
    bool may_replay = may_be_bound(sale, request);
    const bool knows_keys =
        !sale.signals || sale.signals->keys_known == StockSignals::Keys::all_known;
    if (may_replay && (knows_keys || refusal)) {
        auto replayed = co_await replay(request);
        if (!replayed) co_return tl::make_unexpected(std::move(replayed.error()));
        if (*replayed) co_return **replayed;
        may_replay = false;
    }
    if (refusal) co_return tl::make_unexpected(Stop(*refusal));
    std::optional<Refusal> limited;
    if (parts_.limiter.is_on()) limited = co_await parts_.limiter.check(subject);
    if (!limited && in_flight_ >= in_flight_max_) {
        limited = std::get<Refusal>(refused(PurchaseOutcome::overloaded));
    }
    if (limited && may_replay) {
        auto replayed = co_await replay(request);
        if (!replayed) co_return tl::make_unexpected(std::move(replayed.error()));
        if (*replayed) co_return **replayed;
    }
    if (limited) co_return tl::make_unexpected(Stop(*limited));
    const InFlight place(in_flight_);
    request.order_id = ids_.make(request.sale, parts_.clock.now());
    sale.steps.admit();
    co_return co_await reserve_and_wait(sale, request);
}

Task<Step<std::optional<Reservation>>> PurchaseService::replay(const PurchaseRequest& request) {
    using Replayed = std::optional<Reservation>;
    auto bound = co_await parts_.inventory.find_key(request, parts_.log);
    if (!bound) co_return tl::make_unexpected(std::move(bound.error()));
    if (!*bound) co_return Replayed();
    // Replays wait for the log too: bounded, with room for as many as there are purchases.
    if (in_flight_ >= 2 * in_flight_max_) {
        co_return tl::make_unexpected(refused(PurchaseOutcome::overloaded));
    }
    const InFlight place(in_flight_);
    auto left = co_await leave(**bound);
    if (!left) co_return tl::make_unexpected(std::move(left.error()));
    co_return Replayed(*left);
}

Task<Step<Reservation>> PurchaseService::reserve_and_wait(SaleView& sale,
                                                          const PurchaseRequest& request) {
    auto reserved = co_await parts_.inventory.reserve(request, parts_.log);
    if (reserved && !reserved->replayed) sale.steps.reserve();
    if (reserved) co_return co_await leave(*reserved);
    auto* refusal = std::get_if<Refusal>(&reserved.error());
    if (refusal == nullptr) co_return reserved;
    const Refusal answer = co_await leave(*refusal);
    co_return tl::make_unexpected(Stop(answer));
}

Task<Step<Reservation>> PurchaseService::leave(Reservation reservation) {
    auto durable = co_await parts_.log.durable(reservation.position);
    if (durable) {
        parts_.inventory.settled(reservation.order.sale(), reservation.order);
        co_return reservation;
    }
    // The unit is held and the record is in the queue: the order may still come.
    if (auto* refusal = std::get_if<Refusal>(&durable.error())) {
        refusal->order_id = reservation.order;
        refusal->retry_after = kOverloadedRetryAfter;
    }
    co_return tl::make_unexpected(std::move(durable.error()));
}

Task<Refusal> PurchaseService::leave(Refusal refusal) {
    if (!refusal.leaves_at) co_return refusal;
    auto durable = co_await parts_.log.durable(*refusal.leaves_at);
    if (durable) co_return refusal;
    Refusal unavailable;
    unavailable.reason = PurchaseOutcome::unavailable;
    unavailable.retry_after = kOverloadedRetryAfter;
    co_return unavailable;
}

void PurchaseService::count(SaleView& sale, PurchaseOutcome outcome, std::int64_t started_ns) {
    sale.counts.add(outcome);
    counters_.duration[static_cast<std::size_t>(outcome)].add(parts_.clock.steady_ns() -
                                                              started_ns);
}

void PurchaseService::count_rate_limited(const Refusal& refusal) {
    if (!refusal.rate) return;
    const char* policy = refusal.rate->policy;
    const std::size_t which = std::strcmp(policy, "system") == 0 ? 0
                              : std::strcmp(policy, "user") == 0 ? 1
                                                                 : 2;
    counters_.rate_limited[which].fetch_add(1, std::memory_order_relaxed);
}

} // namespace doorbuster
