#include "engine/console_figures.h"

#include <array>
#include <cstdio>
#include <numeric>

#include "domain/json_text.h"

namespace doorbuster {
namespace {

std::int64_t plain(std::uint64_t count) { return static_cast<std::int64_t>(count); }

std::string outcomes_json(const SaleFigures& sale) {
    JsonObject outcomes;
    for (std::size_t i = 1; i < kPurchaseOutcomes; ++i) {
        outcomes.field(to_string(static_cast<PurchaseOutcome>(i)), plain(sale.outcomes[i]));
    }
    return outcomes.take();
}

std::string orders_json(const SaleFigures& sale) {
    JsonObject orders;
    for (std::size_t i = 1; i < kOrderStatuses; ++i) {
        orders.field(to_string(static_cast<OrderStatus>(i)), sale.orders[i]);
    }
    return orders.take();
}

} // namespace

std::uint64_t SaleFigures::attempts() const {
    return std::accumulate(outcomes.begin(), outcomes.end(), std::uint64_t{0});
}

std::int64_t SaleFigures::stored() const {
    return std::accumulate(orders.begin(), orders.end(), std::int64_t{0});
}

bool SaleFigures::same_as(const SaleFigures& other) const {
    return terms->version == other.terms->version && state == other.state &&
           remaining == other.remaining && is_cold == other.is_cold && outcomes == other.outcomes &&
           admitted == other.admitted && reserved == other.reserved && orders == other.orders;
}

std::string figures_json(const SaleFigures& sale) {
    const SaleTerms& terms = *sale.terms;
    JsonObject body;
    body.field("id", terms.id)
        .field("title", terms.title)
        .field("state", to_string(sale.state))
        .field("counted", !sale.is_cold)
        .field("last_look", sale.is_last_look)
        .field("stock", terms.stock)
        .field("remaining", sale.is_cold ? std::nullopt : std::optional(sale.remaining))
        .field("per_user_limit", terms.per_user_limit)
        .field("starts_at", terms.starts_at)
        .field("ends_at", terms.ends_at)
        .field("closed_at", terms.closed_at)
        .field("price", terms.price)
        .field("currency", terms.currency)
        .field("payment_timeout_s", std::int64_t{terms.payment_timeout.count() / 1000})
        .field("attempts", plain(sale.attempts()))
        .field("admitted", plain(sale.admitted))
        .field("reserved", plain(sale.reserved))
        .json("outcomes", outcomes_json(sale))
        .field("stored", sale.stored())
        .json("orders", orders_json(sale));
    return body.take();
}

void LatencyCounts::add(const LatencyBuckets& more) {
    for (std::size_t i = 0; i < buckets.size(); ++i) buckets[i] += more.count(i);
}

LatencyCounts LatencyCounts::since(const LatencyCounts& earlier) const {
    LatencyCounts difference;
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        difference.buckets[i] = buckets[i] - earlier.buckets[i];
    }
    return difference;
}

std::uint64_t LatencyCounts::total() const {
    return std::accumulate(buckets.begin(), buckets.end(), std::uint64_t{0});
}

std::optional<double> LatencyCounts::percentile_ms(double share) const {
    const std::uint64_t all = total();
    if (all == 0) return std::nullopt;
    const double rank = share * static_cast<double>(all);
    double below = 0;
    for (std::size_t i = 0; i < LatencyBuckets::kBounds; ++i) {
        const auto here = static_cast<double>(buckets[i]);
        if (here > 0 && below + here >= rank) {
            const double low = i == 0 ? 0 : LatencyBuckets::bound_seconds(i - 1);
            const double high = LatencyBuckets::bound_seconds(i);
            return (low + (high - low) * (rank - below) / here) * 1e3;
        }
        below += here;
    }
    return LatencyBuckets::bound_seconds(LatencyBuckets::kBounds - 1) * 1e3;
}

std::string number_text(double value) {
    std::array<char, 32> text{};
    const int size = std::snprintf(text.data(), text.size(), "%.3f", value);
    return {text.data(), static_cast<std::size_t>(size)};
}

std::string latency_json(const LatencyCounts& counts) {
    JsonObject body;
    body.field("count", plain(counts.total()));
    for (const auto& [name, share] : {std::pair("p50", 0.5), std::pair("p90", 0.9),
                                      std::pair("p99", 0.99), std::pair("p999", 0.999)}) {
        const auto value = counts.percentile_ms(share);
        body.json(name, value ? number_text(*value) : "null");
    }
    return body.take();
}

std::string figures_json(const ProcessFigures& process) {
    JsonObject backends;
    for (const auto& [name, state] : process.backends) backends.field(name, state);
    JsonObject latency;
    latency.json("recent_all", latency_json(process.recent_all))
        .json("recent_accepted", latency_json(process.recent_yes))
        .json("last_tick", latency_json(process.last_tick))
        .json("all", latency_json(process.all))
        .json("accepted", latency_json(process.yes));
    JsonObject connections;
    connections.field("in_use", plain(process.connections_in_use))
        .field("idle", plain(process.connections_idle));
    JsonObject body;
    body.field("ready", process.is_ready)
        .json("backends", backends.take())
        .field("log_lag_records", plain(process.lag_records))
        .field("writes_here", process.has_writer || process.is_direct)
        .field("has_log", !process.is_direct)
        .field("written_orders", plain(process.written_orders))
        .field("store_conflicts", plain(process.store_conflicts))
        .json("store_connections", connections.take())
        .json("latency_ms", latency.take());
    return body.take();
}

} // namespace doorbuster
