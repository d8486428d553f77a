// /metrics: what the engine counts, as Prometheus families (contract.md section 5). The engine
// keeps plain counters; families are made only when somebody asks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/latency.h"
#include "engine/lifecycle.h"
#include "engine/order_tally.h"
#include "engine/order_writer.h"
#include "engine/purchase_service.h"
#include "engine/readiness.h"
#include "engine/sale_directory.h"
#include "engine/webhook_dispatcher.h"
#include "ports/order_log.h"
#include "ports/order_store.h"
#include "runtime/core.h"
#include "runtime/task.h"

namespace doorbuster::metrics {

class Metrics {
public:
    struct Parts { // all outlive the Metrics
        Cores& cores;
        std::vector<std::unique_ptr<SaleDirectory>>& directories; // by core
        std::vector<std::unique_ptr<PurchaseService>>& purchases; // by core
        const OrderLog& log;
        const LatencyBuckets& log_append;
        const OrderWriter* writer = nullptr; // null: other processes write
        const Lifecycle& lifecycle;
        const OrderStore& store;
        const OrderTally& tally;
        const Readiness& readiness;
        const WebhookDispatcher* webhooks = nullptr;     // null: no endpoint is configured
        std::function<std::uint64_t()> redis_calls = {}; // empty: there is no Redis
    };
    explicit Metrics(Parts parts) : parts_(std::move(parts)) {}

    // Any core. The page, in the text format 0.0.4.
    Task<std::string> page();

private:
    Parts parts_;
};

} // namespace doorbuster::metrics
