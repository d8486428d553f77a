// Reads stretches of a partition, wherever they lie: for the audit, for the tools, for the log's
// own mark. Any thread; callers take turns. A reader that goes on where the last one ended costs no
// new request, so a long stretch is read in parts at full speed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "adapters/kafka/client.h"

namespace doorbuster::kafka {

class RangeReader {
public:
    // `client` is a Role::reader and must outlive this.
    RangeReader(const Client& client, std::string topic);
    ~RangeReader();
    RangeReader(const RangeReader&) = delete;
    RangeReader& operator=(const RangeReader&) = delete;

    // Visits the records in [from, to) in order, `records_max` at most, and says how many. 0: there
    // is none in [from, to). Errc::timeout: nothing came within `wait_max`. Errc::foreign_log:
    // `from` is outside what the partition holds.
    [[nodiscard]] Result<std::size_t>
    read(LogPlace from, LogPosition to, std::size_t records_max, Duration wait_max,
         const std::function<void(const rd_kafka_message_t&)>& visit);

private:
    struct Session { // a partition being fetched
        LogPartition partition;
        LogPosition next;
        Queue queue;
    };

    [[nodiscard]] Result<void> go_to(LogPlace from);
    void leave();

    const Client& client_;
    std::string name_;
    TopicHandle topic_;
    std::timed_mutex mutex_; // one caller at a time
    std::optional<Session> session_;
};

} // namespace doorbuster::kafka
