// Reads every partition from a position on, for good: the read-back of this process's own records
// and of everybody else's. No consumer group is involved: each serving process sees everything.
// One thread of its own hands the records on; librdkafka's threads connect again by themselves.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "adapters/kafka/client.h"
#include "adapters/kafka/log_mark.h"
#include "ports/log_transport.h"

namespace doorbuster::kafka {

class Tail {
public:
    struct Options {
        Settings settings;
        LogMark mark;
        Notice notice;
        std::function<void(LogPartition, std::span<const RawRecord>)> on_records;
        std::function<void(const Error&)> on_broken;
    };

    // `from` has an entry for each partition.
    [[nodiscard]] static Result<std::unique_ptr<Tail>> start(Options options,
                                                             std::span<const LogPosition> from);
    ~Tail();
    Tail(const Tail&) = delete;
    Tail& operator=(const Tail&) = delete;

    // Any thread. Why nothing is read any more, or empty.
    [[nodiscard]] bool is_broken() const { return is_broken_.load(); }
    // Blocking, not from a callback.
    void stop();

private:
    Tail(Options options, Client client);
    [[nodiscard]] Result<void> open_partitions(std::span<const LogPosition> from);
    void run();
    // False: the log is not what it was.
    [[nodiscard]] bool take(std::span<rd_kafka_message_t* const> messages);
    [[nodiscard]] bool take_error(const rd_kafka_message_t& message);
    void break_off(const Error& error);
    void hand_on();

    const Options options_;
    Client client_;
    TopicHandle topic_;
    Queue queue_;
    std::int32_t opened_ = 0; // partitions
    // The thread's: a run of records of one partition. The strings are used again and again.
    LogPartition partition_;
    std::vector<RawRecord> records_;
    std::size_t count_ = 0;
    std::atomic<bool> is_stopping_{false};
    std::atomic<bool> is_broken_{false};
    std::thread thread_;
};

} // namespace doorbuster::kafka
