#include "domain/sale.h"

namespace doorbuster {

const char* to_string(SaleState state) {
    switch (state) {
    case SaleState::scheduled: return "scheduled";
    case SaleState::open: return "open";
    case SaleState::paused: return "paused";
    case SaleState::closed: return "closed";
    }
    return "unknown";
}

std::string restock_text(Units add) { return "restock " + std::to_string(add); }

SaleState state_of(const SaleTerms& terms, TimePoint now) {
    if (terms.closed_at || (terms.ends_at && now >= *terms.ends_at)) return SaleState::closed;
    if (now < terms.starts_at) return SaleState::scheduled;
    return terms.paused ? SaleState::paused : SaleState::open;
}

} // namespace doorbuster
