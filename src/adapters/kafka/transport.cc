#include "adapters/kafka/transport.h"

#include "base/assert.h"

namespace doorbuster::kafka {
namespace {

// The probe asks every second, and takes a broker that is silent for two for away: /readyz is
// three seconds late at most, and the question costs a broker next to nothing.
constexpr Duration kProbeEvery{1'000};
constexpr Duration kProbeMax{2'000};
// For the ends of the partitions at the start: an election takes some seconds.
constexpr Duration kCheckMax{15'000};

} // namespace

KafkaTransport::KafkaTransport(OpenOptions options, Client client)
    : options_(std::move(options)),
      client_(std::move(client)),
      reader_(client_, options_.settings.topic) {}

Result<std::unique_ptr<KafkaTransport>> KafkaTransport::open(OpenOptions options) {
    if (auto checked = check(options.settings); !checked) {
        return tl::make_unexpected(checked.error());
    }
    auto client = Client::open(options.settings, Role::reader, options.notice);
    if (!client) return tl::make_unexpected(client.error());
    std::unique_ptr<KafkaTransport> self(
        new KafkaTransport(std::move(options), std::move(*client)));
    auto log = open_log(self->client_, self->reader_, self->options_);
    if (!log) return tl::make_unexpected(log.error());
    self->log_ = std::move(*log);
    return self;
}

KafkaTransport::~KafkaTransport() { stop(Duration(0)); }

Result<void> KafkaTransport::check_places(std::span<const LogPosition> from) {
    const std::string& topic = options_.settings.topic;
    if (from.size() != log_.topic.partitions) {
        return fail(Errc::foreign_log, "the store knows " + std::to_string(from.size()) +
                                           " partitions, topic " + topic + " has " +
                                           std::to_string(log_.topic.partitions));
    }
    auto bounds = ask_bounds(client_, topic, log_.topic.partitions, kCheckMax);
    if (!bounds) return tl::make_unexpected(bounds.error());
    for (std::size_t i = 0; i < from.size(); ++i) {
        const Bounds& held = (*bounds)[i];
        if (from[i] >= held.first && from[i] <= held.end) continue;
        return fail(Errc::foreign_log,
                    "position " + std::to_string(from[i].get()) + " of partition " +
                        std::to_string(i) + " is outside topic " + topic + ", which holds " +
                        std::to_string(held.first.get()) + " to " + std::to_string(held.end.get()) +
                        (from[i] < held.first ? ": orders were pruned before they were stored"
                                              : ": acknowledged orders are missing at its end"));
    }
    return {};
}

Result<void> KafkaTransport::start(std::span<const LogPosition> from, Listener listener) {
    DB_ASSERT(producer_ == nullptr);
    if (auto inside = check_places(from); !inside) return inside;
    Tail::Options tail;
    tail.settings = options_.settings;
    tail.mark = log_.mark;
    tail.notice = options_.notice;
    tail.on_records = std::move(listener.on_records);
    tail.on_broken = std::move(listener.on_broken);
    auto started = Tail::start(std::move(tail), from);
    if (!started) return tl::make_unexpected(started.error());
    auto producer = Producer::open(options_.settings, log_.mark.key(), options_.notice,
                                   std::move(listener.on_failed));
    if (!producer) return tl::make_unexpected(producer.error());
    tail_ = std::move(*started);
    producer_ = std::move(*producer);
    probe_ = std::thread([this] { probe(); });
    is_started_.store(true, std::memory_order_release);
    return {};
}

bool KafkaTransport::produce(LogPartition partition, std::string_view bytes, std::uint64_t tag) {
    if (!is_started_.load(std::memory_order_acquire)) return false;
    if (partition.get() >= log_.topic.partitions) return false;
    return producer_->produce(partition, bytes, tag);
}

KafkaTransport::Look KafkaTransport::look() const {
    const auto topic = ask_topic(client_, options_.settings.topic, kProbeMax);
    if (!topic) return {false, topic.error().message()};
    for (std::size_t i = 0; i < topic->partitions.size(); ++i) {
        const PartitionState& partition = topic->partitions[i];
        const std::string name = "partition " + std::to_string(i);
        if (!partition.has_leader) return {true, name + " has no leader: its brokers are down"};
        if (partition.in_sync < log_.topic.min_insync) {
            return {true, name + " takes no orders: " + std::to_string(partition.in_sync) +
                              " replicas are in sync, min.insync.replicas is " +
                              std::to_string(log_.topic.min_insync)};
        }
    }
    if (topic->partitions.size() > log_.topic.partitions) {
        return {true, "the topic has " + std::to_string(topic->partitions.size()) +
                          " partitions by now: restart this process, it knows " +
                          std::to_string(log_.topic.partitions)};
    }
    return {true, {}};
}

void KafkaTransport::probe() {
    for (;;) {
        Look now = look();
        is_up_.store(now.is_up, std::memory_order_relaxed);
        std::unique_lock lock(mutex_);
        if (now.trouble != trouble_ && options_.notice) {
            options_.notice("kafka: " + (now.trouble.empty() ? "up again" : now.trouble));
        }
        trouble_ = std::move(now.trouble);
        stopping_.wait_for(lock, kProbeEvery, [this] { return is_stopping_; });
        if (is_stopping_) return;
    }
}

std::string KafkaTransport::state() const {
    if (!is_started_.load(std::memory_order_acquire)) return "not started";
    if (tail_->is_broken()) return "the log is not what it was: restart this process";
    {
        const std::lock_guard lock(mutex_);
        if (is_stopping_) return "stopped";
        if (!trouble_.empty()) return trouble_;
    }
    const std::string trouble = producer_->trouble();
    return trouble.empty() ? "up" : trouble;
}

Result<std::vector<LogPosition>> KafkaTransport::ends(Duration wait_max) {
    return ask_ends(client_, options_.settings.topic, log_.topic.partitions, wait_max);
}

Result<std::vector<RawRecord>> KafkaTransport::read(LogPlace from, LogPosition to,
                                                    std::size_t records_max, Duration wait_max) {
    if (from.partition.get() >= log_.topic.partitions) {
        return fail(Errc::foreign_log, "topic " + options_.settings.topic + " has no partition " +
                                           std::to_string(from.partition.get()));
    }
    std::vector<RawRecord> records;
    bool is_foreign = false;
    auto count =
        reader_.read(from, to, records_max, wait_max, [&](const rd_kafka_message_t& message) {
            is_foreign = is_foreign || log_.mark.is_foreign(message);
            records.push_back({to_position(message.offset), std::string(bytes_of(message))});
        });
    if (!count) return tl::make_unexpected(count.error());
    if (is_foreign) {
        return fail(Errc::foreign_log,
                    "topic " + options_.settings.topic + " was deleted and made anew");
    }
    return records;
}

void KafkaTransport::stop(Duration wait_max) {
    if (!probe_.joinable()) return;
    producer_->stop(wait_max);
    tail_->stop();
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    stopping_.notify_all();
    probe_.join();
}

} // namespace doorbuster::kafka
