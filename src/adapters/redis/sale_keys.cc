#include "adapters/redis/sale_keys.h"

namespace doorbuster::redis {
namespace {

std::string stem_of(std::string_view prefix, SaleNo sale) {
    return std::string(prefix).append(":{").append(std::to_string(sale.get())).append("}:");
}

} // namespace

SaleKeys::SaleKeys(std::string_view prefix, SaleNo sale) {
    static constexpr std::array<const char*, 7> kNames{"sale",    "users",   "orders",     "keys",
                                                       "pending", "records", "withdrawals"};
    const std::string stem = stem_of(prefix, sale);
    for (std::size_t i = 0; i < kNames.size(); ++i) names_[i] = stem + kNames[i];
}

std::array<std::string, 3> staged_keys(std::string_view prefix, SaleNo sale, Epoch epoch,
                                       std::uint64_t attempt) {
    const std::string stem = stem_of(prefix, sale) + "staged:" + std::to_string(epoch.get()) + ":" +
                             std::to_string(attempt) + ":";
    return {stem + "users", stem + "orders", stem + "keys"};
}

std::string channel_of(std::string_view prefix) { return std::string(prefix) + ":sales"; }

} // namespace doorbuster::redis
