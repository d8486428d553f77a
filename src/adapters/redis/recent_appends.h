// RecentAppends: the places in the log of records that this process has just appended and not read
// back yet. Whoever is told of a hold that is pending waits there, where it would otherwise append
// its record once more: an impatient buyer would fill the log.
//
// Any thread; a short lock.
#pragma once

#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

#include "domain/ids.h"

namespace doorbuster::redis {

class RecentAppends {
public:
    void add(const OrderId& order, LogPosition position, std::int64_t now_ns);
    // nullopt: not by us, or too long ago to rely on it.
    [[nodiscard]] std::optional<LogPosition> find(const OrderId& order, std::int64_t now_ns) const;
    // It was read back.
    void forget(const OrderId& order);

private:
    struct Append {
        LogPosition position;
        std::int64_t at_ns = 0;
    };
    struct Shard {
        mutable std::mutex mutex;
        boost::unordered_flat_map<OrderId, Append, OrderIdHash> appends;
        std::deque<std::pair<OrderId, std::int64_t>> line; // the oldest first
    };
    static constexpr std::size_t kShards = 16; // so that cores rarely meet
    [[nodiscard]] static std::size_t shard_of(const OrderId& order) {
        return OrderIdHash()(order) % kShards;
    }

    std::array<Shard, kShards> shards_;
};

} // namespace doorbuster::redis
