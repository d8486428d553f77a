// What a sale is: its terms, as the operator set them, and the state that follows from them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "domain/ids.h"
#include "domain/time.h"

namespace doorbuster {

inline constexpr Units kPerUserLimitMax = kQuantityMax;
inline constexpr std::int64_t kPriceMax = 1'000'000'000'000; // minor units; fits every SQL bigint

enum class SaleState : std::uint8_t { scheduled, open, paused, closed };
[[nodiscard]] const char* to_string(SaleState state);

struct SaleTerms {
    SaleNo no;
    std::string id;    // slug, see is_sale_id
    std::string title; // 1 to kTitleMax characters
    Units stock = 0;
    Units per_user_limit = 1;
    TimePoint starts_at;
    std::optional<TimePoint> ends_at;
    std::optional<std::int64_t> price; // minor units, with a currency
    std::optional<std::string> currency;
    Duration payment_timeout{0}; // 0: no payment step
    bool paused = false;
    std::optional<TimePoint> closed_at; // by an operator; a sale that merely ended has none
    std::int64_t version = 1;           // counts changes of the terms
    LogPartition partition;             // of the order log, for good: chosen at creation

    friend bool operator==(const SaleTerms&, const SaleTerms&) = default;
};

// What a change of stock by `add` units is remembered as under its Idempotency-Key.
[[nodiscard]] std::string restock_text(Units add);

// In the order in which refusals win (contract.md section 3): closed, not started, paused.
[[nodiscard]] SaleState state_of(const SaleTerms& terms, TimePoint now);

} // namespace doorbuster
