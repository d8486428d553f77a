// ports/log_feed.h over a Kafka consumer group: the group's coordinator deals out the partitions
// among the order writers that run, and deals them anew when one comes or goes. Where to read from
// is the store's to say, never the group's: committed offsets are written for monitoring alone.
//
// One thread, the writer's, but for wake(); it is destroyed when that thread is done.
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "adapters/kafka/client.h"
#include "adapters/kafka/deadline.h"
#include "adapters/kafka/log_mark.h"
#include "ports/log_feed.h"

namespace doorbuster::kafka {

class KafkaFeed final : public LogFeed {
public:
    // Blocking. Makes the topic where there is none, refuses one that would lose orders. Errors as
    // KafkaTransport::open. Joins the group; the first next() calls find out what it got.
    [[nodiscard]] static Result<std::unique_ptr<KafkaFeed>> open(OpenOptions options,
                                                                 PositionOf position_of);
    // Leaves the group, within a few seconds.
    ~KafkaFeed() override;
    KafkaFeed(const KafkaFeed&) = delete;
    KafkaFeed& operator=(const KafkaFeed&) = delete;

    [[nodiscard]] const std::string& id() const override { return log_.id; }
    [[nodiscard]] Result<LogBatch> next(std::size_t records_max, Duration wait_max) override;
    void stored(LogPlace next) override;
    [[nodiscard]] Result<void> rewind(LogPartition partition) override;
    void wake() override;

    // The partitions that are ours at the moment; the writer's thread.
    [[nodiscard]] std::size_t partitions_held() const { return parts_.size(); }

private:
    struct Buffered {
        LogPosition position;
        LogRecord record;
    };
    struct Part {               // a partition that is ours
        bool is_placed = false; // the store has said where; else nothing of it is taken
        LogPosition next{1};    // of the next batch
        std::deque<Buffered> buffer;
        LogPosition stored{1};
        bool is_commit_due = false;
    };

    KafkaFeed(OpenOptions options, OpenedLog log, PositionOf position_of);
    static void on_rebalance(rd_kafka_t* handle, rd_kafka_resp_err_t code,
                             rd_kafka_topic_partition_list_t* places, void* self);
    void gain(rd_kafka_topic_partition_list_t* places);
    void lose(rd_kafka_topic_partition_list_t* places);
    [[nodiscard]] Result<void> place_all();
    [[nodiscard]] Result<void> place(LogPartition partition, Part& part);
    [[nodiscard]] Result<void> fill(std::size_t records_max, const Deadline& deadline);
    void take(const rd_kafka_message_t& message);
    void take_error(const rd_kafka_message_t& message);
    void drop_buffer(Part& part);
    [[nodiscard]] LogBatch hand_out(std::size_t records_max);
    void commit_stored();
    void close();
    void notice(const std::string& text) const;

    const OpenOptions options_;
    const OpenedLog log_;
    const PositionOf position_of_;
    std::optional<Client> client_;
    Queue queue_;
    std::map<LogPartition, Part> parts_;
    std::size_t buffered_ = 0;    // records, of all partitions
    LogPartition turn_;           // whose records were handed out last
    std::optional<Error> broken_; // what stands against reading on, until a rewind
    std::optional<Deadline> commit_at_;
    bool was_dealt_ = false; // partitions, or none of them, by the group's coordinator
    std::atomic<bool> is_woken_{false};
};

} // namespace doorbuster::kafka
