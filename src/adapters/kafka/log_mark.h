// What tells this log from any other. Kafka's own topic id would do, but librdkafka 2.0 does not
// know it (the brokers tell it from version 10 of the metadata on, 2.0 asks for version 9), so the
// log has a mark of its own: a random id that is the key of EVERY record, "log:" and the id.
//
// - The log's first record is a barrier of sale 0 and epoch 0, which means nothing to any reader,
//   appended to partition 0 by whoever finds the topic empty. When two do, the first one counts.
// - Whatever is pruned, the first record that is left still says which log it is; and a reader that
//   goes on in a topic that was deleted and made anew notices at the first record.
// - A record without such a key comes from a stranger's hand: it is handed on, and judged by what
//   is in it.
//
// The log's id for the store is the cluster's id, a slash, and the mark's.
#pragma once

#include <string>
#include <string_view>

#include "adapters/kafka/client.h"
#include "adapters/kafka/range_reader.h"
#include "adapters/kafka/topic.h"

namespace doorbuster::kafka {

class LogMark {
public:
    LogMark() = default;
    explicit LogMark(std::string_view id) : key_("log:" + std::string(id)) {}

    [[nodiscard]] std::string_view id() const { return std::string_view(key_).substr(4); }
    [[nodiscard]] const std::string& key() const { return key_; }
    // Is this record another log's?
    [[nodiscard]] bool is_foreign(const rd_kafka_message_t& message) const;

private:
    std::string key_ = "log:";
};

struct OpenedLog {
    TopicInfo topic;
    LogMark mark;
    std::string id; // for the store
};

// Opens the topic (topic.h), then finds its mark, or appends it when the topic is empty.
// Errc::invalid: the topic is somebody else's, or would lose orders.
[[nodiscard]] Result<OpenedLog> open_log(const Client& client, RangeReader& reader,
                                         const OpenOptions& options);

} // namespace doorbuster::kafka
