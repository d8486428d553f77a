#include "adapters/kafka/topic_check.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace doorbuster::kafka {
namespace {

// What a record batch has around its records, and room for the records' own framing.
constexpr std::int64_t kBatchRoom = 4 * 1024;

class Judge {
public:
    Judge(const Settings& settings, const TopicFacts& facts) : settings_(settings), facts_(facts) {}

    [[nodiscard]] TopicVerdict verdict() {
        check_pruning();
        check_copies();
        check_size();
        if (facts_.partitions < settings_.partitions) {
            warn("it has " + std::to_string(facts_.partitions) +
                 " partitions, kafka.partitions "
                 "says " +
                 std::to_string(settings_.partitions) +
                 "; to add some: kafka-topics.sh "
                 "--bootstrap-server " +
                 settings_.brokers + " --alter --topic " + settings_.topic + " --partitions " +
                 std::to_string(settings_.partitions) + ", then restart every doorbuster");
        }
        return std::move(verdict_);
    }

private:
    [[nodiscard]] const std::string* text(const std::string& key) const {
        const auto found = facts_.config.find(key);
        return found == facts_.config.end() ? nullptr : &found->second;
    }
    [[nodiscard]] std::optional<std::int64_t> number(const std::string& key) const {
        const std::string* value = text(key);
        if (value == nullptr) return std::nullopt;
        std::int64_t parsed = 0;
        const char* end = value->data() + value->size();
        if (std::from_chars(value->data(), end, parsed).ptr != end) return std::nullopt;
        return parsed;
    }
    [[nodiscard]] std::string mend(const std::string& key_and_value) const {
        return "; mend it: kafka-configs.sh --bootstrap-server " + settings_.brokers +
               " --alter --entity-type topics --entity-name " + settings_.topic + " --add-config " +
               key_and_value;
    }
    [[nodiscard]] std::string mend_copies() const {
        return "; give it more with kafka-reassign-partitions.sh --bootstrap-server " +
               settings_.brokers + ", three where there are three brokers";
    }
    void refuse(const std::string& why) {
        verdict_.refusals.push_back("topic " + settings_.topic + ": " + why);
    }
    void warn(const std::string& why) {
        verdict_.warnings.push_back("topic " + settings_.topic + ": " + why);
    }

    void check_pruning() {
        const std::string* policy = text("cleanup.policy");
        if (policy != nullptr && policy->find("compact") != std::string::npos) {
            refuse("cleanup.policy = " + *policy + " deletes orders" +
                   mend("cleanup.policy=delete"));
        }
        if (const auto bytes = number("retention.bytes"); bytes && *bytes >= 0) {
            refuse("retention.bytes = " + std::to_string(*bytes) +
                   " deletes orders that the store may not have yet" + mend("retention.bytes=-1"));
        }
        const auto kept_ms = number("retention.ms");
        if (!kept_ms || *kept_ms < 0) return;
        const std::string is = "retention.ms = " + std::to_string(*kept_ms);
        if (Duration(*kept_ms) < kRetentionMin) {
            refuse(is + " deletes orders that the store may not have yet (7 days are the least)" +
                   mend("retention.ms=-1"));
        } else {
            warn(is + ": an order that is not in the store by then is lost" +
                 mend("retention.ms=-1"));
        }
    }

    void check_copies() {
        const std::uint32_t copies = facts_.replicas_min;
        const auto insync = number("min.insync.replicas");
        const std::string* unclean = text("unclean.leader.election.enable");
        if (copies > 1 && unclean != nullptr && *unclean == "true") {
            refuse("unclean.leader.election.enable = true loses orders when a leader fails" +
                   mend("unclean.leader.election.enable=false"));
        }
        if (insync && *insync > static_cast<std::int64_t>(copies)) {
            refuse("min.insync.replicas = " + std::to_string(*insync) + " with " +
                   std::to_string(copies) + " replicas: it takes no order at all" +
                   mend("min.insync.replicas=" + std::to_string(min_insync_of(copies))));
        }
        if (copies >= 3 && insync && *insync < 2) {
            refuse("min.insync.replicas = " + std::to_string(*insync) +
                   ": an order may be on one disk only when its buyer is told yes" +
                   mend("min.insync.replicas=2"));
        }
        if (copies == 2) {
            warn("two replicas: with one broker away " +
                 std::string(insync && *insync == 2 ? "no order is taken"
                                                    : "new orders are on one disk only") +
                 mend_copies());
        }
        if (copies == 1 && facts_.brokers > 1) {
            refuse("it has one replica on a cluster of " + std::to_string(facts_.brokers) +
                   " brokers: orders are lost with a disk" + mend_copies());
        }
        if (copies == 1 && facts_.brokers == 1) {
            warn("the cluster has one broker: orders are as safe as its disk");
        }
    }

    void check_size() {
        const auto bytes = number("max.message.bytes");
        if (bytes && *bytes < kBatchBytesMax + kBatchRoom) {
            refuse("max.message.bytes = " + std::to_string(*bytes) +
                   " is smaller than a batch of orders" + mend("max.message.bytes=1048588"));
        }
    }

    const Settings& settings_;
    const TopicFacts& facts_;
    TopicVerdict verdict_;
};

} // namespace

TopicVerdict check_topic(const Settings& settings, const TopicFacts& facts) {
    return Judge(settings, facts).verdict();
}

std::uint32_t replication_of(const Settings& settings, std::uint32_t brokers) {
    if (settings.replication_factor != 0) return settings.replication_factor;
    return std::clamp(brokers, 1U, kReplicationDefault);
}

std::uint32_t min_insync_of(std::uint32_t replication) { return replication >= 3 ? 2 : 1; }

std::vector<std::pair<std::string, std::string>> new_topic_config(std::uint32_t replication) {
    return {
        {"min.insync.replicas", std::to_string(min_insync_of(replication))},
        {"retention.ms", "-1"},
        {"retention.bytes", "-1"},
        {"cleanup.policy", "delete"},
        {"unclean.leader.election.enable", "false"},
    };
}

} // namespace doorbuster::kafka
