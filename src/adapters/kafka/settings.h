// What a user says about Kafka, and what must not be said. Values; no thread owns them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "domain/time.h"

namespace doorbuster::kafka {

// Of a topic that we create. Eight: sales are spread over them, each has one writer at a time, and
// four writers with two partitions each is more than one store takes.
inline constexpr std::uint32_t kPartitionsDefault = 8;
// A process reads all partitions; more are a typing error.
inline constexpr std::uint32_t kPartitionsMax = 1'000;
// Two copies may be lost, and one while another is restarted.
inline constexpr std::uint32_t kReplicationDefault = 3;

// For an operator: something is odd, or went on. Called on any thread, also librdkafka's.
using Notice = std::function<void(const std::string&)>;

struct Settings {
    std::string brokers; // host:port,host:port
    std::string topic;
    std::string group; // of the order writers
    std::uint32_t partitions = kPartitionsDefault;
    std::uint32_t replication_factor = 0;          // 0: three, or as many as there are brokers
    std::map<std::string, std::string> properties; // librdkafka's own: TLS, SASL, tuning
};

// What opening waits for the brokers at most: a broker that starts takes some ten seconds.
inline constexpr Duration kOpenWait{30'000};

// Are the settings of a topic that exists looked at? Left out: the brokers cannot say them (those
// of librdkafka's mock cluster).
enum class TopicCheck { made, left_out };

// How the log is opened, by transport and feed alike.
struct OpenOptions {
    Settings settings;
    std::string new_log_id;   // random, [a-z0-9]{1,64}: names the log if it is new
    std::string store_log_id; // the id that the store names, or empty
    Duration wait_max = kOpenWait;
    TopicCheck topic_check = TopicCheck::made;
    Notice notice = nullptr; // none: nobody wants to know
};

// Errc::invalid, with the name of the key and what to do. Does not know all of librdkafka's
// properties: open() finds the rest.
[[nodiscard]] Result<void> check(const Settings& settings);

// Why this librdkafka property cannot be set by a user; empty: it can.
[[nodiscard]] std::string_view why_protected(std::string_view property);

} // namespace doorbuster::kafka
