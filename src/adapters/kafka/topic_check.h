// Would this topic lose orders? Pure: what the brokers say about a topic goes in, what an operator
// should do comes out.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "adapters/kafka/settings.h"
#include "domain/time.h"

namespace doorbuster::kafka {

// A finite retention below this is refused: the writer's lag must have room for an outage of the
// store over a long weekend, found on its last day.
inline constexpr Duration kRetentionMin{7LL * 24 * 60 * 60 * 1'000};
// Our producer's batches: far above what a linger of a millisecond gathers, far below the topic's
// bound (max.message.bytes), which would refuse a whole batch.
inline constexpr std::int64_t kBatchBytesMax = 256 * 1024;

struct TopicFacts {
    std::uint32_t brokers = 0;
    std::uint32_t partitions = 0;
    std::uint32_t replicas_min = 0;            // of the partition with the fewest
    std::map<std::string, std::string> config; // the values in force; may be empty (not allowed)
};

struct TopicVerdict {
    std::vector<std::string> refusals; // the topic would lose orders, or take none
    std::vector<std::string> warnings;
};

[[nodiscard]] TopicVerdict check_topic(const Settings& settings, const TopicFacts& facts);

// How many copies a topic of ours gets, and how many of them a yes needs.
[[nodiscard]] std::uint32_t replication_of(const Settings& settings, std::uint32_t brokers);
[[nodiscard]] std::uint32_t min_insync_of(std::uint32_t replication);
// The settings of a topic that we create.
[[nodiscard]] std::vector<std::pair<std::string, std::string>>
new_topic_config(std::uint32_t replication);

} // namespace doorbuster::kafka
