#include "engine/admission.h"

#include "domain/stock.h"

namespace doorbuster {

bool may_be_bound(const SaleView& sale, const PurchaseRequest& request) {
    if (!request.has_key()) return false;
    return !sale.signals || sale.signals->may_be_bound(request.key_print);
}

std::optional<Refusal> refuse_by_sale(const SaleView& sale, TimePoint now) {
    if (auto refusal = refuse_by_state(*sale.terms, now)) return refusal;
    Refusal refusal;
    if (!sale.signals || sale.signals->is_cold.load(std::memory_order_relaxed)) {
        refusal.reason = PurchaseOutcome::unavailable;
        return refusal;
    }
    if (sale.signals->sold_out()) {
        refusal.reason = PurchaseOutcome::sold_out;
        return refusal;
    }
    return std::nullopt;
}

} // namespace doorbuster
