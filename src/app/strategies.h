// The five published stages and ours, as rows of one table (design.md section 3): which parts each
// is put together from. Constant data; any thread may read it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "app/config.h"
#include "ports/order_store.h"

namespace doorbuster {

enum class StockStep : std::uint8_t { looks_in_sql, looks_in_redis, holds };
enum class LogStep : std::uint8_t {
    direct, // each order by itself into the store, while its buyer waits
    writer, // into log.backend; the order writer brings it to the store
};

struct StrategyRow {
    PurchaseConfig::Strategy strategy;
    std::string_view name;
    bool is_rate_limited; // by what [limits] sets
    StockStep stock_step;
    LogStep log_step;
    StockGuard guard;
    std::string_view danger; // what it does to a real sale; empty: nothing
};

// In the order of PurchaseConfig::Strategy.
[[nodiscard]] std::span<const StrategyRow> strategies();
[[nodiscard]] const StrategyRow& strategy_of(const PurchaseConfig& purchase);

} // namespace doorbuster
