#include "domain/purchase.h"

namespace doorbuster {

const char* to_string(PurchaseOutcome outcome) {
    switch (outcome) {
    case PurchaseOutcome::accepted: return "accepted";
    case PurchaseOutcome::sold_out: return "sold_out";
    case PurchaseOutcome::limit_reached: return "limit_reached";
    case PurchaseOutcome::not_started: return "not_started";
    case PurchaseOutcome::paused: return "paused";
    case PurchaseOutcome::closed: return "closed";
    case PurchaseOutcome::rate_limited: return "rate_limited";
    case PurchaseOutcome::overloaded: return "overloaded";
    case PurchaseOutcome::unavailable: return "unavailable";
    case PurchaseOutcome::idempotency_mismatch: return "idempotency_mismatch";
    case PurchaseOutcome::replayed: return "replayed";
    case PurchaseOutcome::lost_race: return "lost_race";
    }
    return "unknown";
}

bool is_retryable(PurchaseOutcome outcome) {
    switch (outcome) {
    case PurchaseOutcome::not_started:
    case PurchaseOutcome::paused:
    case PurchaseOutcome::rate_limited:
    case PurchaseOutcome::lost_race:
    case PurchaseOutcome::overloaded:
    case PurchaseOutcome::unavailable: return true;
    case PurchaseOutcome::accepted:
    case PurchaseOutcome::replayed:
    case PurchaseOutcome::sold_out:
    case PurchaseOutcome::limit_reached:
    case PurchaseOutcome::closed:
    case PurchaseOutcome::idempotency_mismatch: return false;
    }
    return false;
}

} // namespace doorbuster
