// librdkafka's objects with owners, and its errors as ours. One Client is one librdkafka instance:
// a connection to each broker it needs, and threads of its own. Its calls may be made on any
// thread, unless said otherwise.
#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "adapters/kafka/settings.h"
#include "base/result.h"
#include "domain/ids.h"

namespace doorbuster::kafka {

template <auto destroy> struct Destroy {
    template <class T> void operator()(T* object) const noexcept { destroy(object); }
};

using TopicHandle = std::unique_ptr<rd_kafka_topic_t, Destroy<rd_kafka_topic_destroy>>;
using Queue = std::unique_ptr<rd_kafka_queue_t, Destroy<rd_kafka_queue_destroy>>;
using Event = std::unique_ptr<rd_kafka_event_t, Destroy<rd_kafka_event_destroy>>;
using Message = std::unique_ptr<rd_kafka_message_t, Destroy<rd_kafka_message_destroy>>;
using Places = std::unique_ptr<rd_kafka_topic_partition_list_t,
                               Destroy<rd_kafka_topic_partition_list_destroy>>;
using RichError = std::unique_ptr<rd_kafka_error_t, Destroy<rd_kafka_error_destroy>>;

// What an instance is for; each has settings of its own (client.cc says which and why).
enum class Role {
    producer, // appends
    tail,     // reads every partition, for the read-back
    reader,   // asks about the topic, reads stretches of it
    feed,     // reads as one of the group of order writers
};

// The callbacks that a Role::feed needs. `self` goes to them as librdkafka's opaque.
struct FeedCallbacks {
    void* self = nullptr;
    void (*on_rebalance)(rd_kafka_t*, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t*,
                         void* self) = nullptr;
};

class Client {
public:
    // Errc::invalid names the property that librdkafka does not take.
    [[nodiscard]] static Result<Client> open(const Settings& settings, Role role,
                                             const Notice& notice, FeedCallbacks callbacks = {});

    [[nodiscard]] rd_kafka_t* get() const { return handle_.get(); }
    [[nodiscard]] TopicHandle topic(const std::string& name) const;
    [[nodiscard]] Queue new_queue() const { return Queue(rd_kafka_queue_new(handle_.get())); }
    // It is never destroyed: its threads, silent from here on, end with the process.
    void abandon();

private:
    struct Close {
        void operator()(rd_kafka_t* handle) const noexcept;
    };
    struct Context { // librdkafka's opaque: at a fixed address, and outlives the handle
        Notice notice;
        std::atomic<int> level_max; // of librdkafka's log lines that become notices
        FeedCallbacks callbacks;
    };

    Client() = default;
    static void on_log(const rd_kafka_t* handle, int level, const char* facility, const char* text);
    static void on_rebalance(rd_kafka_t* handle, rd_kafka_resp_err_t code,
                             rd_kafka_topic_partition_list_t* partitions, void* opaque);

    std::unique_ptr<Context> context_;
    std::unique_ptr<rd_kafka_t, Close> handle_;
};

// What a caller can do about a librdkafka error.
[[nodiscard]] Errc errc_of(rd_kafka_resp_err_t code);
// `doing` is what was being done, to what.
[[nodiscard]] Error to_error(rd_kafka_resp_err_t code, std::string doing);

[[nodiscard]] inline std::int64_t to_offset(LogPosition position) {
    return static_cast<std::int64_t>(position.get()) - 1; // the first offset is 0
}
[[nodiscard]] inline LogPosition to_position(std::int64_t offset) {
    return LogPosition(static_cast<std::uint64_t>(offset) + 1);
}
[[nodiscard]] inline std::int32_t to_int(LogPartition partition) {
    return static_cast<std::int32_t>(partition.get());
}
[[nodiscard]] inline LogPartition to_partition(std::int32_t partition) {
    return LogPartition(static_cast<std::uint32_t>(partition));
}
[[nodiscard]] inline std::string_view bytes_of(const rd_kafka_message_t& message) {
    if (message.payload == nullptr) return {};
    return {static_cast<const char*>(message.payload), message.len};
}
// librdkafka's time-outs are ints of milliseconds; -1 would be for ever.
[[nodiscard]] int to_ms(Duration wait);

} // namespace doorbuster::kafka
