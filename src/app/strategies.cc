#include "app/strategies.h"

#include <array>

namespace doorbuster {
namespace {

using Strategy = PurchaseConfig::Strategy;

constexpr std::array<StrategyRow, 6> kStrategies = {{
    {Strategy::naive, "naive", false, StockStep::looks_in_sql, LogStep::direct,
     StockGuard::overwrite, "sells more units than there are: it looks, then writes what it saw"},
    {Strategy::optimistic, "optimistic", false, StockStep::looks_in_sql, LogStep::direct,
     StockGuard::version, ""},
    {Strategy::limited, "limited", true, StockStep::looks_in_sql, LogStep::direct,
     StockGuard::version, ""},
    {Strategy::cached, "cached", true, StockStep::looks_in_redis, LogStep::direct,
     StockGuard::version,
     "can sell more units than there are (a look in Redis can be torn), and a transaction that is "
     "rolled back can stop the sale for good"},
    {Strategy::queued, "queued", true, StockStep::looks_in_redis, LogStep::writer,
     StockGuard::version,
     "loses buyers who were told yes (many orders carry one version, one of them wins), and can "
     "sell "
     "more units than there are"},
    {Strategy::reserve, "reserve", true, StockStep::holds, LogStep::writer,
     StockGuard::version_and_stock, ""},
}};

constexpr bool are_in_order() {
    for (std::size_t i = 0; i < kStrategies.size(); ++i) {
        if (static_cast<std::size_t>(kStrategies[i].strategy) != i) return false;
    }
    return true;
}
static_assert(are_in_order());

} // namespace

std::span<const StrategyRow> strategies() { return kStrategies; }

const StrategyRow& strategy_of(const PurchaseConfig& purchase) {
    return kStrategies[static_cast<std::size_t>(purchase.strategy)];
}

} // namespace doorbuster
