// What a run of the expiry benchmark found, and how it is written. Values; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "app/load/result_file.h"
#include "base/histogram.h"

namespace doorbuster {

struct ExpiryBenchOptions {
    std::string folder;                         // empty of doorbuster's files
    std::uint64_t orders = 1'000'000;           // all due in the same millisecond
    std::uint64_t singles = 200;                // due one by one
    std::uint64_t purchases_per_second = 2'000; // of another sale, all the while
    double alone_seconds = 5;                   // of purchases before anything is due
    bool with_events = false;                   // every change of an order goes to the outbox, too

    std::string version; // for the report
    std::string command; // as it was typed
};

// Milliseconds.
struct LatencySummary {
    std::uint64_t count = 0;
    double p50 = 0;
    double p99 = 0;
    double max = 0;
};
[[nodiscard]] LatencySummary summary_of(const Histogram& nanoseconds);

// The purchases while something else went on.
struct ExpiryBenchPurchases {
    double seconds = 0;
    LatencySummary latency; // from when the purchase was due until its 202 could leave
    std::uint64_t refused = 0;
    std::uint64_t lag_records_max = 0; // in the log, not yet in the store
};

// Orders that expired, and the units that could be bought again.
struct ExpiryBenchOrders {
    LatencySummary decided_to_sellable; // from the beginning of the transaction that decided
    LatencySummary due_to_sellable;
    LatencySummary transaction; // each, with its wait for its turn at the store
};

struct ExpiryBenchReport {
    ExpiryBenchOptions options;
    ResultHead head;
    ExpiryBenchOrders together;
    double together_seconds = 0; // from when they were due until the last was for sale
    double at_rest_seconds = 0;  // until every give-back was ticked off
    LatencySummary tick_off;     // each transaction
    std::uint64_t store_wal_bytes_max = 0;
    ExpiryBenchOrders singles;
    ExpiryBenchPurchases alone; // nothing expires
    ExpiryBenchPurchases while_together;
    ExpiryBenchPurchases while_singles;

    [[nodiscard]] double expired_per_second() const;
};

[[nodiscard]] std::string to_json(const ExpiryBenchReport& report);
[[nodiscard]] std::string to_markdown(const ExpiryBenchReport& report);
// For people, a few lines.
[[nodiscard]] std::string to_text(const ExpiryBenchReport& report);

} // namespace doorbuster
