// The topic behind the log: what the brokers say of it, and making or checking it when the log is
// opened. Blocking calls for any thread but a core; each has a bound.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "adapters/kafka/client.h"
#include "base/result.h"

namespace doorbuster::kafka {

struct PartitionState {
    bool has_leader = false;
    std::uint32_t replicas = 0;
    std::uint32_t in_sync = 0;
};

struct TopicState {
    std::uint32_t brokers = 0;
    std::vector<PartitionState> partitions;
};

struct TopicInfo {
    std::string cluster_id;
    std::uint32_t partitions = 0;
    std::uint32_t min_insync = 1; // replicas that must have an order before it counts
};

struct Bounds { // a partition holds the positions [first, end)
    LogPosition first{1};
    LogPosition end{1};
};

// Errc::unavailable or timeout: no broker answers. Errc::not_found: there is no such topic.
[[nodiscard]] Result<TopicState> ask_topic(const Client& client, const std::string& topic,
                                           Duration wait_max);
// Of every partition, `partitions` of them.
[[nodiscard]] Result<std::vector<LogPosition>> ask_ends(const Client& client,
                                                        const std::string& topic,
                                                        std::uint32_t partitions,
                                                        Duration wait_max);
[[nodiscard]] Result<std::vector<Bounds>> ask_bounds(const Client& client, const std::string& topic,
                                                     std::uint32_t partitions, Duration wait_max);

// Makes the topic where there is none; refuses one that would lose orders (Errc::invalid, with the
// command that mends it); warns through options.notice. `client` is a Role::reader.
[[nodiscard]] Result<TopicInfo> open_topic(const Client& client, const OpenOptions& options);

// What a benchmark made. A topic that is not there is fine.
[[nodiscard]] Result<void> delete_topic(const Client& client, const std::string& topic,
                                        Duration wait_max);

// The same of a group of consumers, and what it had committed. One that somebody is still in is
// asked for again until `wait_max` is over; Errc::unavailable then.
[[nodiscard]] Result<void> delete_group(const Client& client, const std::string& group,
                                        Duration wait_max);

} // namespace doorbuster::kafka
