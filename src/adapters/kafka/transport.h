// ports/log_transport.h over Kafka: opens the topic, then puts a producer, a tail, a reader and a
// probe together. Its threads: the producer's (failures), the tail's (records), the probe's.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "adapters/kafka/client.h"
#include "adapters/kafka/log_mark.h"
#include "adapters/kafka/producer.h"
#include "adapters/kafka/range_reader.h"
#include "adapters/kafka/tail.h"
#include "adapters/kafka/topic.h"
#include "ports/log_transport.h"

namespace doorbuster::kafka {

class KafkaTransport final : public LogTransport {
public:
    // Blocking. Makes the topic where there is none, refuses one that would lose orders. Errors:
    // Errc::invalid (configuration, topic), unavailable or timeout (no broker within wait_max).
    [[nodiscard]] static Result<std::unique_ptr<KafkaTransport>> open(OpenOptions options);
    ~KafkaTransport() override;
    KafkaTransport(const KafkaTransport&) = delete;
    KafkaTransport& operator=(const KafkaTransport&) = delete;

    [[nodiscard]] const std::string& id() const override { return log_.id; }
    [[nodiscard]] std::uint32_t partitions() const override { return log_.topic.partitions; }
    [[nodiscard]] Result<void> start(std::span<const LogPosition> from, Listener listener) override;
    [[nodiscard]] bool produce(LogPartition partition, std::string_view bytes,
                               std::uint64_t tag) override;
    [[nodiscard]] bool is_up() const override { return is_up_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::string state() const override;
    [[nodiscard]] Result<std::vector<LogPosition>> ends(Duration wait_max) override;
    [[nodiscard]] Result<std::vector<RawRecord>>
    read(LogPlace from, LogPosition to, std::size_t records_max, Duration wait_max) override;
    void stop(Duration wait_max) override;

    // Any thread. How often a fatal error has made a new producer necessary.
    [[nodiscard]] std::uint64_t renewals() const { return producer_->renewals(); }

private:
    KafkaTransport(OpenOptions options, Client client);
    [[nodiscard]] Result<void> check_places(std::span<const LogPosition> from);
    struct Look {
        bool is_up;          // a broker answers, and has the topic
        std::string trouble; // what is wrong all the same, or empty
    };

    void probe();
    [[nodiscard]] Look look() const;

    const OpenOptions options_;
    const Client client_; // a Role::reader
    RangeReader reader_;
    OpenedLog log_;
    std::unique_ptr<Producer> producer_;
    std::unique_ptr<Tail> tail_;
    std::atomic<bool> is_started_{false};
    std::atomic<bool> is_up_{true};
    mutable std::mutex mutex_; // guards the next two
    std::string trouble_;
    bool is_stopping_ = false;
    std::condition_variable stopping_;
    std::thread probe_;
};

} // namespace doorbuster::kafka
