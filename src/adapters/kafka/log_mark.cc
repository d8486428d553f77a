#include "adapters/kafka/log_mark.h"

#include <optional>

#include "adapters/kafka/deadline.h"
#include "domain/log_record.h"

namespace doorbuster::kafka {
namespace {

constexpr std::string_view kPrefix = "log:";
constexpr std::size_t kIdMax = 64;
// Records of strangers before the first of ours: more, and the topic is theirs.
constexpr std::size_t kStrangersMax = 1'000;
constexpr Duration kReadMax{10'000};

std::string mark_bytes() {
    LogRecordView barrier;
    barrier.kind = LogRecordKind::barrier;
    std::string bytes;
    append_record(bytes, barrier);
    return bytes;
}

std::string_view key_of(const rd_kafka_message_t& message) {
    if (message.key == nullptr) return {};
    return {static_cast<const char*>(message.key), message.key_len};
}

std::optional<LogMark> mark_of(const rd_kafka_message_t& message) {
    const std::string_view key = key_of(message);
    if (!key.starts_with(kPrefix) || key.size() > kPrefix.size() + kIdMax) return std::nullopt;
    return LogMark(key.substr(kPrefix.size()));
}

// Appends the mark, as any record is: acknowledged by the replicas that the topic asks for.
Result<void> append_mark(const OpenOptions& options, const LogMark& mark, Duration wait_max) {
    const std::string doing = "writing the first record of topic " + options.settings.topic;
    auto client = Client::open(options.settings, Role::producer, options.notice);
    if (!client) return tl::make_unexpected(client.error());
    const TopicHandle topic = client->topic(options.settings.topic);
    std::string bytes = mark_bytes();
    if (rd_kafka_produce(topic.get(), 0, RD_KAFKA_MSG_F_COPY, bytes.data(), bytes.size(),
                         mark.key().data(), mark.key().size(), nullptr) != 0) {
        return tl::make_unexpected(to_error(rd_kafka_last_error(), doing));
    }
    const Deadline deadline(wait_max);
    const Queue queue(rd_kafka_queue_get_main(client->get()));
    constexpr Duration kLook{20}; // a success makes no event: how often to see whether it is done
    while (rd_kafka_outq_len(client->get()) > 0) {
        const Event event(rd_kafka_queue_poll(queue.get(), to_ms(deadline.left(kLook))));
        if (event != nullptr && rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_DR) {
            const auto* message = rd_kafka_event_message_next(event.get());
            if (message != nullptr && message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                return tl::make_unexpected(to_error(message->err, doing));
            }
        }
        if (deadline.has_passed()) return fail(Errc::timeout, doing);
    }
    return {};
}

// The mark of the first record in [bounds) that has one.
Result<std::optional<LogMark>> find_mark(RangeReader& reader, LogPartition partition,
                                         const Bounds& bounds, Duration wait_max) {
    const Deadline deadline(wait_max);
    std::optional<LogMark> mark;
    LogPlace from{partition, bounds.first};
    for (std::size_t seen = 0; !mark && seen < kStrangersMax;) {
        auto count = reader.read(from, bounds.end, seen == 0 ? 1 : kStrangersMax,
                                 deadline.left(kReadMax), [&](const rd_kafka_message_t& message) {
                                     if (!mark) mark = mark_of(message);
                                     from.position = to_position(message.offset).next();
                                 });
        if (!count) return tl::make_unexpected(count.error());
        if (*count == 0) break;
        seen += *count;
    }
    return mark;
}

// For an empty topic: the store's mark, if all its records may have been pruned; else a new one.
LogMark new_mark(const OpenOptions& options, const TopicInfo& info, bool was_used) {
    const std::string prefix = info.cluster_id + "/";
    if (was_used && options.store_log_id.starts_with(prefix)) {
        return LogMark(std::string_view(options.store_log_id).substr(prefix.size()));
    }
    return LogMark(options.new_log_id);
}

Result<LogMark> open_mark(const Client& client, RangeReader& reader, const OpenOptions& options,
                          const TopicInfo& info) {
    const std::string& topic = options.settings.topic;
    const Deadline deadline(options.wait_max);
    for (;;) {
        auto bounds = ask_bounds(client, topic, info.partitions, deadline.left());
        if (!bounds) return tl::make_unexpected(bounds.error());
        bool is_empty = true;
        bool was_used = false;
        for (std::uint32_t i = 0; i < info.partitions; ++i) {
            const Bounds& here = (*bounds)[i];
            was_used = was_used || here.end > LogPosition(1);
            if (here.first >= here.end) continue;
            is_empty = false;
            auto mark = find_mark(reader, LogPartition(i), here, deadline.left());
            if (!mark) return tl::make_unexpected(mark.error());
            if (*mark) return std::move(**mark);
        }
        if (!is_empty) {
            return fail(Errc::invalid, "topic " + topic +
                                           " holds records that are not "
                                           "doorbuster's: give kafka.topic a topic "
                                           "of its own");
        }
        if (deadline.has_passed()) {
            return fail(Errc::timeout, "writing the first record of topic " + topic);
        }
        auto done = append_mark(options, new_mark(options, info, was_used), deadline.left());
        if (!done) return tl::make_unexpected(done.error());
    }
}

} // namespace

bool LogMark::is_foreign(const rd_kafka_message_t& message) const {
    const std::string_view key = key_of(message);
    if (key == key_ || !key.starts_with(kPrefix)) return false;
    // Two processes that found the topic empty both wrote a mark: the second one means nothing.
    static const std::string kMarkBytes = mark_bytes();
    return bytes_of(message) != kMarkBytes;
}

Result<OpenedLog> open_log(const Client& client, RangeReader& reader, const OpenOptions& options) {
    auto info = open_topic(client, options);
    if (!info) return tl::make_unexpected(info.error());
    auto mark = open_mark(client, reader, options, *info);
    if (!mark) return tl::make_unexpected(mark.error());
    std::string id = info->cluster_id + "/" + std::string(mark->id());
    return OpenedLog{std::move(*info), std::move(*mark), std::move(id)};
}

} // namespace doorbuster::kafka
