#include "adapters/kafka/tail.h"

#include <array>

namespace doorbuster::kafka {
namespace {

// Records handed on in one call: a few tens of microseconds of the listener's work.
constexpr std::size_t kRunMax = 1'000;
// How long the thread waits for a record, and so how late it may notice stop().
constexpr Duration kPoll{100};

} // namespace

Tail::Tail(Options options, Client client)
    : options_(std::move(options)),
      client_(std::move(client)),
      topic_(client_.topic(options_.settings.topic)),
      queue_(client_.new_queue()) {
    records_.resize(kRunMax);
}

Result<std::unique_ptr<Tail>> Tail::start(Options options, std::span<const LogPosition> from) {
    auto client = Client::open(options.settings, Role::tail, options.notice);
    if (!client) return tl::make_unexpected(client.error());
    std::unique_ptr<Tail> tail(new Tail(std::move(options), std::move(*client)));
    if (auto done = tail->open_partitions(from); !done) return tl::make_unexpected(done.error());
    tail->thread_ = std::thread([t = tail.get()] { t->run(); });
    return tail;
}

Result<void> Tail::open_partitions(std::span<const LogPosition> from) {
    for (const LogPosition position : from) {
        if (rd_kafka_consume_start_queue(topic_.get(), opened_, to_offset(position),
                                         queue_.get()) != 0) {
            return tl::make_unexpected(
                to_error(rd_kafka_last_error(), "reading topic " + options_.settings.topic));
        }
        ++opened_;
    }
    return {};
}

Tail::~Tail() {
    stop();
    for (std::int32_t i = 0; i < opened_; ++i) rd_kafka_consume_stop(topic_.get(), i);
}

void Tail::stop() {
    is_stopping_.store(true);
    rd_kafka_queue_yield(queue_.get());
    if (thread_.joinable()) thread_.join();
}

void Tail::run() {
    std::array<rd_kafka_message_t*, kRunMax> messages{};
    while (!is_stopping_.load() && !is_broken_.load()) {
        // Asked for many, librdkafka waits until it has as many: one first, then what is there.
        messages[0] = rd_kafka_consume_queue(queue_.get(), to_ms(kPoll));
        if (messages[0] == nullptr) continue;
        const auto more =
            rd_kafka_consume_batch_queue(queue_.get(), 0, messages.data() + 1, kRunMax - 1);
        const std::size_t count = 1 + static_cast<std::size_t>(more > 0 ? more : 0);
        const std::span<rd_kafka_message_t* const> taken(messages.data(), count);
        if (!take(taken)) is_broken_.store(true);
        for (rd_kafka_message_t* message : taken) rd_kafka_message_destroy(message);
    }
}

bool Tail::take(std::span<rd_kafka_message_t* const> messages) {
    for (const rd_kafka_message_t* message : messages) {
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            hand_on();
            if (!take_error(*message)) return false;
            continue;
        }
        if (options_.mark.is_foreign(*message)) {
            hand_on();
            break_off({make_error_code(Errc::foreign_log),
                       "topic " + options_.settings.topic +
                           " was deleted and made anew while it was in use: restart once it is "
                           "clear which log the store belongs to"});
            return false;
        }
        const LogPartition partition = to_partition(message->partition);
        if (partition != partition_) hand_on();
        partition_ = partition;
        RawRecord& record = records_[count_++];
        record.position = to_position(message->offset);
        record.bytes.assign(bytes_of(*message));
    }
    hand_on();
    return true;
}

void Tail::hand_on() {
    if (count_ == 0) return;
    options_.on_records(partition_, std::span<const RawRecord>(records_.data(), count_));
    count_ = 0;
}

bool Tail::take_error(const rd_kafka_message_t& message) {
    const Error error =
        to_error(message.err, "reading topic " + options_.settings.topic + ", partition " +
                                  std::to_string(message.partition));
    if (!error.is(Errc::foreign_log)) {
        if (options_.notice) options_.notice("kafka: " + error.message());
        return true; // librdkafka goes on by itself
    }
    break_off({error.code, error.context + ": the place where this process reads is no longer in "
                                           "the log (pruned, or the topic was made anew)"});
    return false;
}

void Tail::break_off(const Error& error) {
    if (options_.notice) options_.notice("kafka: " + error.message());
    options_.on_broken(error);
}

} // namespace doorbuster::kafka
