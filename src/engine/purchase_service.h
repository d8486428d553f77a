// A purchase, step by step, behind admission: the bound key, the rate limits, the in-flight limit,
// the reservation, and the wait until the order is durable. One per core; used on its core only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "domain/ids.h"
#include "domain/purchase.h"
#include "engine/purchase_counters.h"
#include "engine/sale_directory.h"
#include "ports/inventory.h"
#include "ports/order_log.h"
#include "ports/rate_limiter.h"
#include "runtime/clock.h"
#include "runtime/task.h"

namespace doorbuster {

class PurchaseService {
public:
    struct Parts { // all outlive the service
        const Clock& clock;
        Inventory& inventory;
        OrderLog& log;
        RateLimiter& limiter;
    };
    PurchaseService(Parts parts, OrderIdSource ids, std::size_t in_flight_max)
        : parts_(parts), ids_(ids), in_flight_max_(in_flight_max) {}

    // Buys, or says why not. A Reservation is a promise: its order is durable. `request` gets its
    // order id here; its texts and `sale` outlive the call.
    Task<Step<Reservation>> purchase(SaleView& sale, PurchaseRequest request,
                                     const RateSubject& subject);

    // Books an answer: the outcome, and how long the buyer waited for it.
    void count(SaleView& sale, PurchaseOutcome outcome, std::int64_t started_ns);
    void count_rate_limited(const Refusal& refusal);
    [[nodiscard]] const PurchaseCounters& counters() const { return counters_; }
    [[nodiscard]] RateLimiter& limiter() { return parts_.limiter; }

private:
    // The answer of a bound key, when it may leave; nullopt: it is not bound.
    Task<Step<std::optional<Reservation>>> replay(const PurchaseRequest& request);
    Task<Step<Reservation>> reserve_and_wait(SaleView& sale, const PurchaseRequest& request);
    // The output gate: an answer that rests on earlier holds leaves when they are durable.
    Task<Step<Reservation>> leave(Reservation reservation);
    Task<Refusal> leave(Refusal refusal);

    Parts parts_;
    OrderIdSource ids_;
    std::size_t in_flight_max_;
    std::size_t in_flight_ = 0;
    PurchaseCounters counters_;
};

} // namespace doorbuster
