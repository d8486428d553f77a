#include "adapters/kafka/settings.h"

#include <algorithm>
#include <array>

namespace doorbuster::kafka {
namespace {

constexpr std::size_t kTopicNameMax = 249; // Kafka's own limit

struct Protected {
    std::string_view property;
    std::string_view why;
};

constexpr std::string_view kYes = "a purchase is only answered with a yes when its order cannot "
                                  "be lost";
constexpr std::string_view kOnce = "it keeps retried orders in their place and single";
constexpr std::string_view kStore = "the order store remembers the position, not the group";
constexpr std::string_view kReset = "missing orders must stop the process, not be skipped";
constexpr std::string_view kAll = "the end of the log must be the end for every reader";
constexpr std::string_view kOurs = "doorbuster relies on its own value";

// What the promise rests on. Aliases are listed, too: librdkafka takes either name.
constexpr std::array kProtected = {
    Protected{"acks", kYes},
    Protected{"request.required.acks", kYes},
    Protected{"enable.idempotence", kOnce},
    Protected{"enable.gapless.guarantee", kOnce},
    Protected{"message.send.max.retries", kOnce},
    Protected{"retries", kOnce},
    Protected{"transactional.id", kOurs},
    Protected{"delivery.report.only.error", kOurs},
    Protected{"partitioner", "a sale's partition is fixed when it is created"},
    Protected{"auto.offset.reset", kReset},
    Protected{"enable.auto.commit", kStore},
    Protected{"auto.commit.enable", kStore},
    Protected{"enable.auto.offset.store", kStore},
    Protected{"offset.store.method", kStore},
    Protected{"enable.partition.eof", kOurs},
    Protected{"isolation.level", kAll},
    Protected{"allow.auto.create.topics", "a topic made by accident has the wrong settings"},
    Protected{"partition.assignment.strategy", "all writers of a group must use the same one"},
    Protected{"group.instance.id", "two processes of one configuration would have the same"},
    Protected{"bootstrap.servers", "it is kafka.brokers"},
    Protected{"metadata.broker.list", "it is kafka.brokers"},
    Protected{"group.id", "it is kafka.group"},
    Protected{"log.queue", kOurs},
    Protected{"enabled_events", kOurs},
};

bool is_topic_name(std::string_view name) {
    if (name.empty() || name.size() > kTopicNameMax || name == "." || name == "..") return false;
    return std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == '-';
    });
}

} // namespace

std::string_view why_protected(std::string_view property) {
    const auto* found = std::find_if(kProtected.begin(), kProtected.end(),
                                     [&](const Protected& p) { return p.property == property; });
    return found == kProtected.end() ? std::string_view() : found->why;
}

Result<void> check(const Settings& settings) {
    if (settings.brokers.empty()) {
        return fail(Errc::invalid, "kafka.brokers is empty: name at least one broker, host:port");
    }
    if (!is_topic_name(settings.topic)) {
        return fail(Errc::invalid, "kafka.topic = \"" + settings.topic +
                                       "\" is no name of a topic: 1 to 249 of A-Z a-z 0-9 . _ -");
    }
    if (settings.group.empty()) {
        return fail(Errc::invalid, "kafka.group is empty: the order writers share one group");
    }
    if (settings.partitions == 0 || settings.partitions > kPartitionsMax) {
        return fail(Errc::invalid,
                    "kafka.partitions must be 1 to " + std::to_string(kPartitionsMax));
    }
    for (const auto& [property, value] : settings.properties) {
        const auto why = why_protected(property);
        if (!why.empty()) {
            return fail(Errc::invalid,
                        "kafka.properties: " + property + " cannot be set: " + std::string(why));
        }
    }
    return {};
}

} // namespace doorbuster::kafka
