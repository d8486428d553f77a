// What a buyer asks for and what the sale may answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>

#include "base/error.h"
#include "base/fingerprint.h"
#include "domain/ids.h"
#include "domain/time.h"

namespace doorbuster {

// How a purchase ended. Stable numbers: they are stored, logged and plotted. The names are the
// contract's codes.
enum class PurchaseOutcome : std::uint8_t {
    accepted = 1,
    sold_out = 2,
    limit_reached = 3,
    not_started = 4,
    paused = 5,
    closed = 6,
    rate_limited = 7,
    overloaded = 8,
    unavailable = 9,
    idempotency_mismatch = 10,
    replayed = 11,
    lost_race = 12, // of a stock that is only looked at: somebody else was faster
};
inline constexpr std::size_t kPurchaseOutcomes = 13; // one more than the largest number

[[nodiscard]] const char* to_string(PurchaseOutcome outcome);
// May the same request succeed later, if nothing else changes but time and load?
[[nodiscard]] bool is_retryable(PurchaseOutcome outcome);

// One attempt to buy. The texts belong to the caller and outlive the purchase.
struct PurchaseRequest {
    SaleNo sale;
    LogPartition partition; // the sale's
    OrderId order_id;       // made by the serving node before it asks for stock
    std::string_view user;
    Fingerprint user_print;
    std::string_view key;  // empty: none
    Fingerprint key_print; // of the user and the key together; meaningless without a key
    Units quantity = 1;

    [[nodiscard]] bool has_key() const { return !key.empty(); }
};

// Which limit refused, for the 429's headers (draft-ietf-httpapi-ratelimit-headers).
struct RateRefusal {
    const char* policy = ""; // "system", "user" or "ip"
    std::int64_t quota = 0;  // requests that may come at once
    Duration window{0};      // in which the quota is restored
};

// A clear no.
struct Refusal {
    PurchaseOutcome reason = PurchaseOutcome::unavailable;
    Units remaining = 0;                  // sold_out: how many are left
    std::optional<OrderId> order_id;      // limit_reached: the latest; 503: the unit that is held
    std::optional<Duration> retry_after;  // where known
    std::optional<RateRefusal> rate;      // rate_limited
    std::optional<LogPosition> leaves_at; // the answer may leave when the log is durable up to here
};

// Why a step of a purchase did not go on: an answer, or a backend that is down.
using Stop = std::variant<Refusal, Error>;
template <class T> using Step = tl::expected<T, Stop>;

} // namespace doorbuster
