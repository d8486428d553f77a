// LoadReport: what came out of a run, for people and for programs. A value.
//
//     attempts = accepted + replayed + the sum of rejected
//                + errors of the kinds answer, connect, io and timeout
//
// Errors of the kind books come on top: they are about answers that are good one by one (and are
// counted as what they say) but cannot all be true.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/histogram.h"
#include "domain/ids.h"
#include "domain/purchase.h"

namespace doorbuster {

enum class LoadErrorKind : std::uint8_t {
    answer,  // breaks the contract by itself
    books,   // contradicts other answers, or what the sale says of itself
    connect, // no connection: the attempt was not sent
    io,      // the connection broke: the attempt's outcome is unknown
    timeout, // no answer in time: the attempt's outcome is unknown
};
inline constexpr std::size_t kLoadErrorKinds = 5;
[[nodiscard]] const char* to_string(LoadErrorKind kind);

struct LatencyMs {
    double p50 = 0;
    double p90 = 0;
    double p99 = 0;
    double p999 = 0;
    double max = 0;
};
// From nanoseconds; nullopt when nothing was recorded.
[[nodiscard]] std::optional<LatencyMs> latency_of(const Histogram& nanoseconds);
// How the latencies are spread: in milliseconds, at each of these quantiles.
inline constexpr std::array<double, 14> kCurveQuantiles = {
    0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1};
using LatencyCurve = std::array<double, kCurveQuantiles.size()>;
[[nodiscard]] std::optional<LatencyCurve> curve_of(const Histogram& nanoseconds);

struct LoadReport {
    std::uint64_t attempts = 0; // purchases that a buyer tried; a retry is not another one
    std::uint64_t accepted = 0; // distinct orders answered 202
    Units accepted_units = 0;
    std::uint64_t replayed = 0; // 202 again for an order that is counted, or an earlier run's
    std::array<std::uint64_t, kPurchaseOutcomes> rejected{}; // by outcome
    std::array<std::uint64_t, kLoadErrorKinds> errors{};     // by kind
    std::uint64_t retries = 0; // sent again with its key after a broken connection
    std::uint64_t unsent = 0;  // open loop: due before the end, and no connection was free
    double seconds = 0;        // from the first attempt's due time to the last answer
    double seconds_to_last_accepted = 0; // the same for the last accepted order; 0: there is none
    std::optional<LatencyMs> latency;    // of all attempts, from when each was due
    std::optional<LatencyMs> accepted_latency;  // of accepted orders
    std::optional<LatencyMs> rejected_latency;  // of refusals
    std::optional<LatencyCurve> accepted_curve; // not in the documents below, as the next
    std::optional<LatencyCurve> rejected_curve;
    std::chrono::steady_clock::time_point began; // the first attempt; not in the documents below
    std::vector<std::string> order_ids; // accepted; only where asked for, and not in the documents
    std::vector<std::string> examples;  // of errors, at most 10
    std::vector<std::string> notes;     // what else a reader should know
    bool is_stopped = false;            // ended early, by a signal or because nothing answered

    [[nodiscard]] std::uint64_t errors_total() const;
    [[nodiscard]] double attempts_per_second() const;
    [[nodiscard]] double accepted_per_second() const;
};

// One JSON document (contract section 2, and more fields), without a newline at its end.
// A latency of which there is no sample is null.
[[nodiscard]] std::string to_json(const LoadReport& report);
// The note about attempts that an open loop did not send.
[[nodiscard]] std::string unsent_note(std::uint64_t unsent);
// The table for people, several lines.
[[nodiscard]] std::string to_table(const LoadReport& report);
// The notes and the examples of errors, in lines; empty when there are none.
[[nodiscard]] std::string to_remarks(const LoadReport& report);

} // namespace doorbuster
