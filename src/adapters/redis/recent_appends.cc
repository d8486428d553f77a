#include "adapters/redis/recent_appends.h"

namespace doorbuster::redis {
namespace {

// A record that has not come back by now may never: it is appended again.
constexpr std::int64_t kRecentNs = 1'000'000'000;
// Of a shard; what does not fit is appended again when it is asked for.
constexpr std::size_t kShardMax = 8'192;

} // namespace

void RecentAppends::add(const OrderId& order, LogPosition position, std::int64_t now_ns) {
    Shard& shard = shards_[shard_of(order)];
    const std::lock_guard lock(shard.mutex);
    while (!shard.line.empty() && shard.line.front().second + kRecentNs <= now_ns) {
        const auto at = shard.appends.find(shard.line.front().first);
        // It may have been added once more since.
        if (at != shard.appends.end() && at->second.at_ns == shard.line.front().second) {
            shard.appends.erase(at);
        }
        shard.line.pop_front();
    }
    if (shard.line.size() >= kShardMax) return;
    shard.appends.insert_or_assign(order, Append{position, now_ns});
    shard.line.emplace_back(order, now_ns);
}

std::optional<LogPosition> RecentAppends::find(const OrderId& order, std::int64_t now_ns) const {
    const Shard& shard = shards_[shard_of(order)];
    const std::lock_guard lock(shard.mutex);
    const auto at = shard.appends.find(order);
    if (at == shard.appends.end() || at->second.at_ns + kRecentNs <= now_ns) return std::nullopt;
    return at->second.position;
}

void RecentAppends::forget(const OrderId& order) {
    Shard& shard = shards_[shard_of(order)];
    const std::lock_guard lock(shard.mutex);
    shard.appends.erase(order);
}

} // namespace doorbuster::redis
