#include "adapters/prometheus/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>

namespace doorbuster::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Label = ClientMetric::Label;

constexpr std::size_t kSalesMax = 100; // with a label of their own; the rest share `other`

// What one sale adds up to over all cores.
struct SaleCounts {
    std::string id;
    SaleNo no;
    Units remaining = 0;
    std::array<std::uint64_t, kPurchaseOutcomes> outcomes{};
    std::uint64_t total = 0;
};

MetricFamily family(std::string name, std::string help, MetricType type) {
    return {std::move(name), std::move(help), type, {}};
}

ClientMetric counter(std::vector<Label> labels, std::uint64_t value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = static_cast<double>(value);
    return metric;
}

ClientMetric gauge(std::vector<Label> labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = value;
    return metric;
}

// A Prometheus histogram of any number of our buckets, added up.
ClientMetric histogram(std::vector<Label> labels, const std::vector<const LatencyBuckets*>& parts) {
    ClientMetric metric;
    metric.label = std::move(labels);
    std::uint64_t total = 0;
    double sum = 0;
    for (std::size_t i = 0; i <= LatencyBuckets::kBounds; ++i) {
        for (const LatencyBuckets* part : parts) total += part->count(i);
        const double bound = i < LatencyBuckets::kBounds ? LatencyBuckets::bound_seconds(i)
                                                         : std::numeric_limits<double>::infinity();
        metric.histogram.bucket.push_back({total, bound});
    }
    for (const LatencyBuckets* part : parts) sum += part->sum_seconds();
    metric.histogram.sample_count = total;
    metric.histogram.sample_sum = sum;
    return metric;
}

bool is_reported(std::size_t outcome) {
    return outcome >= static_cast<std::size_t>(PurchaseOutcome::accepted);
}

const char* name_of(std::size_t outcome) {
    return to_string(static_cast<PurchaseOutcome>(outcome));
}

void add_sales(std::vector<MetricFamily>& page, std::vector<SaleCounts> sales,
               const std::map<SaleNo, OrderTally::Counts>& tally) {
    std::ranges::sort(sales, [](const SaleCounts& a, const SaleCounts& b) {
        return a.total != b.total ? a.total > b.total : a.id < b.id;
    });
    SaleCounts other;
    other.id = "other";
    OrderTally::Counts other_orders{};
    auto purchases =
        family("doorbuster_purchases_total", "Purchases by how they ended.", MetricType::Counter);
    auto remaining = family("doorbuster_stock_remaining", "Units left to sell.", MetricType::Gauge);
    auto orders = family("doorbuster_orders", "Orders by status.", MetricType::Gauge);
    const auto add = [&](const SaleCounts& sale, const OrderTally::Counts& counts) {
        for (std::size_t i = 0; i < sale.outcomes.size(); ++i) {
            if (!is_reported(i) || sale.outcomes[i] == 0) continue;
            purchases.metric.push_back(
                counter({{"sale", sale.id}, {"outcome", name_of(i)}}, sale.outcomes[i]));
        }
        remaining.metric.push_back(gauge({{"sale", sale.id}}, static_cast<double>(sale.remaining)));
        for (std::uint8_t i = 1; i < kOrderStatuses; ++i) {
            const char* status = to_string(static_cast<OrderStatus>(i));
            orders.metric.push_back(
                gauge({{"sale", sale.id}, {"status", status}}, static_cast<double>(counts[i])));
        }
    };
    for (std::size_t i = 0; i < sales.size(); ++i) {
        const auto counts = tally.find(sales[i].no);
        const OrderTally::Counts own =
            counts == tally.end() ? OrderTally::Counts{} : counts->second;
        if (i < kSalesMax) {
            add(sales[i], own);
            continue;
        }
        other.remaining += sales[i].remaining;
        for (std::size_t k = 0; k < own.size(); ++k) other_orders[k] += own[k];
        for (std::size_t k = 0; k < kPurchaseOutcomes; ++k) {
            other.outcomes[k] += sales[i].outcomes[k];
        }
    }
    if (sales.size() > kSalesMax) add(other, other_orders);
    page.push_back(std::move(purchases));
    page.push_back(std::move(remaining));
    page.push_back(std::move(orders));
}

ClientMetric batch_orders(const OrderWriter::Totals& totals) {
    ClientMetric metric;
    std::uint64_t total = 0;
    double bound = 1;
    for (std::size_t i = 0; i < totals.batch_orders.size(); ++i, bound *= 4) {
        total += totals.batch_orders[i].load(std::memory_order_relaxed);
        const bool is_last = i + 1 == totals.batch_orders.size();
        metric.histogram.bucket.push_back(
            {total, is_last ? std::numeric_limits<double>::infinity() : bound});
    }
    metric.histogram.sample_count = total;
    metric.histogram.sample_sum =
        static_cast<double>(totals.orders.load(std::memory_order_relaxed));
    return metric;
}

void add_usage(std::vector<MetricFamily>& page, const OrderStore::Usage& usage) {
    auto statements =
        family("doorbuster_store_statements_total",
               "Statements sent to the order store, BEGIN and COMMIT too.", MetricType::Counter);
    statements.metric.push_back(counter({}, usage.statements));
    page.push_back(std::move(statements));
    auto most =
        family("doorbuster_store_connections_in_use_max",
               "Connections to the order store at work at a time, at most within the last second.",
               MetricType::Gauge);
    most.metric.push_back(gauge({}, static_cast<double>(usage.in_use_max)));
    page.push_back(std::move(most));
    auto busy = family("doorbuster_store_connection_seconds_total",
                       "Time that connections to the order store were at work, added up.",
                       MetricType::Counter);
    ClientMetric seconds;
    seconds.counter.value = static_cast<double>(usage.in_use_ns) / 1e9;
    busy.metric.push_back(std::move(seconds));
    page.push_back(std::move(busy));
}

void add_webhooks(std::vector<MetricFamily>& page, const WebhookDispatcher& webhooks) {
    constexpr auto relaxed = std::memory_order_relaxed;
    auto deliveries = family("doorbuster_webhook_deliveries_total",
                             "Events sent to an endpoint, by how that ended.", MetricType::Counter);
    auto pending =
        family("doorbuster_webhook_pending",
               "Events that an endpoint may still have to be told, at most.", MetricType::Gauge);
    for (const auto& counters : webhooks.counters()) {
        const Label endpoint{"endpoint", counters->label};
        deliveries.metric.push_back(
            counter({endpoint, {"outcome", "delivered"}}, counters->delivered.load(relaxed)));
        deliveries.metric.push_back(
            counter({endpoint, {"outcome", "failed"}}, counters->failed.load(relaxed)));
        deliveries.metric.push_back(
            counter({endpoint, {"outcome", "parked"}}, counters->parked.load(relaxed)));
        pending.metric.push_back(
            gauge({endpoint}, static_cast<double>(counters->pending.load(relaxed))));
    }
    page.push_back(std::move(deliveries));
    page.push_back(std::move(pending));
}

} // namespace

Task<std::string> Metrics::page() {
    std::map<std::string, SaleCounts> by_id;
    for (std::size_t i = 0; i < parts_.cores.size(); ++i) {
        auto collect = [this, i, &by_id] {
            parts_.directories[i]->for_each([&](const SaleView& view) {
                SaleCounts& sale = by_id[view.terms->id];
                sale.id = view.terms->id;
                sale.no = view.terms->no;
                sale.remaining = std::max<Units>(view.remaining(), 0);
                for (std::size_t k = 0; k < kPurchaseOutcomes; ++k) {
                    const auto n = view.counts.of(static_cast<PurchaseOutcome>(k));
                    sale.outcomes[k] += n;
                    sale.total += n;
                }
            });
        };
        co_await call_on(parts_.cores.at(i), collect);
    }
    std::vector<SaleCounts> sales;
    auto tally = parts_.tally.counts();
    for (auto& [id, sale] : by_id) sales.push_back(std::move(sale));

    std::vector<MetricFamily> page;
    add_sales(page, std::move(sales), tally);

    auto durations = family("doorbuster_purchase_duration_seconds",
                            "From the request's arrival to its answer.", MetricType::Histogram);
    for (std::size_t k = 1; k < kPurchaseOutcomes; ++k) {
        std::vector<const LatencyBuckets*> cores;
        for (const auto& service : parts_.purchases) {
            cores.push_back(&service->counters().duration[k]);
        }
        durations.metric.push_back(histogram({{"outcome", name_of(k)}}, cores));
    }
    page.push_back(std::move(durations));

    auto limited = family("doorbuster_rate_limited_total", "Requests refused by a rate limit.",
                          MetricType::Counter);
    constexpr std::array<const char*, 3> kLimits = {"system", "user", "ip"};
    for (std::size_t k = 0; k < kLimits.size(); ++k) {
        std::uint64_t sum = 0;
        for (const auto& service : parts_.purchases) {
            sum += service->counters().rate_limited[k].load(std::memory_order_relaxed);
        }
        limited.metric.push_back(counter({{"limit", kLimits[k]}}, sum));
    }
    page.push_back(std::move(limited));

    auto append = family("doorbuster_log_append_seconds", "A group commit of the order log.",
                         MetricType::Histogram);
    append.metric.push_back(histogram({}, {&parts_.log_append}));
    page.push_back(std::move(append));

    auto lag = family("doorbuster_log_lag_records", "Records in the order log, not yet stored.",
                      MetricType::Gauge);
    lag.metric.push_back(gauge({}, static_cast<double>(parts_.log.lag_records())));
    page.push_back(std::move(lag));

    static const OrderWriter::Totals kNothing;
    const OrderWriter::Totals& writer =
        parts_.writer != nullptr ? parts_.writer->totals() : kNothing;
    auto batch = family("doorbuster_writer_batch_orders", "Orders a transaction of the writer.",
                        MetricType::Histogram);
    batch.metric.push_back(batch_orders(writer));
    page.push_back(std::move(batch));
    auto seconds = family("doorbuster_writer_batch_seconds", "A transaction of the order writer.",
                          MetricType::Histogram);
    seconds.metric.push_back(histogram({}, {&writer.batch_seconds}));
    page.push_back(std::move(seconds));
    auto conflicts =
        family("doorbuster_store_conflicts_total",
               "Times the store's version guard sent a batch back.", MetricType::Counter);
    conflicts.metric.push_back(counter({}, writer.conflicts.load(std::memory_order_relaxed)));
    page.push_back(std::move(conflicts));

    const Lifecycle::Totals& lives = parts_.lifecycle.totals();
    auto changes = family("doorbuster_order_changes_total",
                          "Orders whose status changed behind the writer.", MetricType::Counter);
    for (const auto& [status, count] :
         {std::pair("paid", &lives.paid), std::pair("cancelled", &lives.cancelled),
          std::pair("expired", &lives.expired)}) {
        changes.metric.push_back(
            counter({{"status", status}}, count->load(std::memory_order_relaxed)));
    }
    page.push_back(std::move(changes));
    auto released = family("doorbuster_give_backs_total", "Orders whose units are for sale again.",
                           MetricType::Counter);
    released.metric.push_back(counter({}, lives.released.load(std::memory_order_relaxed)));
    page.push_back(std::move(released));
    auto release = family("doorbuster_give_back_seconds",
                          "From the decision that ends orders until their units are for sale.",
                          MetricType::Histogram);
    release.metric.push_back(histogram({}, {&lives.release_seconds}));
    page.push_back(std::move(release));

    auto connections = family("doorbuster_store_connections", "Connections to the order store.",
                              MetricType::Gauge);
    const auto pool = parts_.store.connections();
    connections.metric.push_back(gauge({{"state", "in_use"}}, static_cast<double>(pool.in_use)));
    connections.metric.push_back(gauge({{"state", "idle"}}, static_cast<double>(pool.idle)));
    page.push_back(std::move(connections));

    add_usage(page, parts_.store.usage());
    if (parts_.redis_calls) {
        auto calls =
            family("doorbuster_redis_calls_total", "Commands sent to Redis.", MetricType::Counter);
        calls.metric.push_back(counter({}, parts_.redis_calls()));
        page.push_back(std::move(calls));
    }

    auto up = family("doorbuster_backend_up", "1 while the backend answers.", MetricType::Gauge);
    for (const Readiness::Backend& backend : parts_.readiness.backends()) {
        up.metric.push_back(gauge({{"backend", backend.name}}, backend.state() == "up" ? 1 : 0));
    }
    page.push_back(std::move(up));
    if (parts_.webhooks != nullptr) add_webhooks(page, *parts_.webhooks);
    const prometheus::TextSerializer serializer;
    co_return serializer.Serialize(page);
}

} // namespace doorbuster::metrics
