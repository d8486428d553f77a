// The figures that a console shows, at one moment, and how they look on the wire
// (docs/openapi.yaml, GET /v1/admin/events). Pure values.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/latency.h"
#include "domain/purchase.h"
#include "domain/sale.h"
#include "engine/order_tally.h"

namespace doorbuster {

// One sale, added up over the cores. The counts are this process's, since it started; the orders
// are the store's.
struct SaleFigures {
    std::shared_ptr<const SaleTerms> terms;
    SaleState state = SaleState::scheduled;
    Units remaining = 0;
    bool is_cold = false;      // its stock is not counted now
    bool is_last_look = false; // it is only looked at: what the last look saw
    std::array<std::uint64_t, kPurchaseOutcomes> outcomes{};
    std::uint64_t admitted = 0;
    std::uint64_t reserved = 0;
    OrderTally::Counts orders{};

    [[nodiscard]] std::uint64_t attempts() const;
    [[nodiscard]] std::int64_t stored() const; // orders in the store, in every status
    [[nodiscard]] bool same_as(const SaleFigures& other) const;
};
[[nodiscard]] std::string figures_json(const SaleFigures& sale);

// How long buyers waited, counted in the buckets of LatencyBuckets.
struct LatencyCounts {
    std::array<std::uint64_t, LatencyBuckets::kBounds + 1> buckets{};

    void add(const LatencyBuckets& more);
    [[nodiscard]] LatencyCounts since(const LatencyCounts& earlier) const;
    [[nodiscard]] std::uint64_t total() const;
    // In milliseconds, interpolated within a bucket as Prometheus' histogram_quantile() does;
    // nullopt: nothing was counted. Past the last bound, that bound.
    [[nodiscard]] std::optional<double> percentile_ms(double share) const;
};
// {"count":…,"p50":…,"p90":…,"p99":…,"p999":…}
[[nodiscard]] std::string latency_json(const LatencyCounts& counts);

// What is the process's, not one sale's.
struct ProcessFigures {
    bool is_ready = false;
    std::vector<std::pair<std::string, std::string>> backends; // name, "up" or what is wrong
    std::uint64_t lag_records = 0;
    bool has_writer = false;          // else other processes write
    bool is_direct = false;           // no log and no writer: purchases write their orders
    std::uint64_t written_orders = 0; // by this process, since its start
    std::uint64_t store_conflicts = 0;
    std::size_t connections_in_use = 0;
    std::size_t connections_idle = 0;
    LatencyCounts yes; // since the start
    LatencyCounts all;
    LatencyCounts recent_yes; // of the last seconds
    LatencyCounts recent_all;
    LatencyCounts last_tick; // of all purchases
};
[[nodiscard]] std::string figures_json(const ProcessFigures& process);

// Three digits behind the point are more than a bucket tells.
[[nodiscard]] std::string number_text(double value);

} // namespace doorbuster
