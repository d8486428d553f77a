// The journal of a sale: what operators did to it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "domain/sale.h"
#include "domain/time.h"

namespace doorbuster {

// Who did what, as it is written down: "admin token, 203.0.113.7", "restocked".
struct JournalNote {
    std::string who;
    std::string what;
};

struct JournalEntry {
    std::int64_t seq = 0; // grows with time, within a store
    TimePoint at;
    std::string who;
    std::string what;
    std::string before; // JSON objects with the terms that changed, named as the contract does
    std::string after;
};

// `before` and `after` of a JournalEntry. Without a `before`: all that was set.
[[nodiscard]] std::pair<std::string, std::string> changed_terms(const SaleTerms* before,
                                                                const SaleTerms& after);

} // namespace doorbuster
