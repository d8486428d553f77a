// Admission: the answers that need nothing but what the core knows, cheapest first, in the
// contract's order (section 3). A no costs no hop; a request that may be the retry of an accepted
// one is never told no here.
#pragma once

#include <optional>

#include "domain/purchase.h"
#include "engine/sale_directory.h"

namespace doorbuster {

// Can the key be ruled out? True: it may be bound, only the inventory knows.
[[nodiscard]] bool may_be_bound(const SaleView& sale, const PurchaseRequest& request);

// closed, not_started, paused, sold_out; nullopt: ask on.
[[nodiscard]] std::optional<Refusal> refuse_by_sale(const SaleView& sale, TimePoint now);

} // namespace doorbuster
