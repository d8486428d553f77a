// What the tests of this folder share: librdkafka's mock cluster, the real broker that
// DOORBUSTER_TEST_KAFKA names, and a listener that remembers what it heard.
#pragma once

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "adapters/kafka/feed.h"
#include "adapters/kafka/transport.h"
#include "domain/log_record.h"

namespace doorbuster::kafka {

inline constexpr Duration kTestWait{30'000}; // far above what anything here takes

inline std::string random_text() {
    std::random_device random;
    return std::to_string(random()) + std::to_string(random());
}

inline OpenOptions options_for(const std::string& brokers, const std::string& topic) {
    OpenOptions options;
    options.settings.brokers = brokers;
    options.settings.topic = topic;
    options.settings.group = "writers-" + topic;
    options.settings.partitions = 2;
    options.new_log_id = "test" + random_text();
    options.wait_max = kTestWait;
    return options;
}

// A cluster inside librdkafka, with a topic "orders" of two partitions.
class MockCluster {
public:
    explicit MockCluster(int brokers = 1) {
        std::array<char, 512> text{};
        rd_kafka_conf_t* conf = rd_kafka_conf_new();
        rd_kafka_conf_set_log_cb(conf, nullptr); // it says that it has no brokers
        handle_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf, text.data(), text.size()));
        cluster_ = rd_kafka_mock_cluster_new(handle_.get(), brokers);
        rd_kafka_mock_topic_create(cluster_, "orders", 2, brokers);
    }
    ~MockCluster() { rd_kafka_mock_cluster_destroy(cluster_); }
    MockCluster(const MockCluster&) = delete;
    MockCluster& operator=(const MockCluster&) = delete;

    [[nodiscard]] rd_kafka_mock_cluster_t* get() const { return cluster_; }
    [[nodiscard]] OpenOptions options() const {
        OpenOptions options = options_for(rd_kafka_mock_cluster_bootstraps(cluster_), "orders");
        options.topic_check = TopicCheck::left_out;
        // The mock does not say which broker it is that is back: look more often.
        options.settings.properties["reconnect.backoff.max.ms"] = "100";
        return options;
    }

private:
    std::unique_ptr<rd_kafka_t, Destroy<rd_kafka_destroy>> handle_;
    rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

// The protocol's numbers of the requests that the tests make fail.
inline constexpr std::int16_t kProduceRequest = 0;
inline constexpr std::int16_t kSyncGroupRequest = 14;

// The real broker's address; empty: there is none.
inline std::string real_brokers() {
    const char* brokers = std::getenv("DOORBUSTER_TEST_KAFKA");
    return brokers == nullptr ? "" : brokers;
}

// At the start of a test that needs the real broker. Outside CI it is skipped without one.
#define KAFKA_NEEDS_BROKER()                                                                       \
    if (real_brokers().empty()) {                                                                  \
        const char* ci = std::getenv("CI");                                                        \
        if (ci != nullptr && std::string(ci) == "true") FAIL() << "no DOORBUSTER_TEST_KAFKA";      \
        GTEST_SKIP() << "no DOORBUSTER_TEST_KAFKA";                                                \
    }                                                                                              \
    static_cast<void>(0)

// Remembers what a transport's listener hears.
class Heard {
public:
    LogTransport::Listener listener() {
        LogTransport::Listener listener;
        listener.on_records = [this](LogPartition partition, std::span<const RawRecord> records) {
            const std::lock_guard lock(mutex_);
            auto& to = records_[partition];
            to.insert(to.end(), records.begin(), records.end());
            changed_.notify_all();
        };
        listener.on_failed = [this](std::span<const std::uint64_t> tags, const Error& error) {
            const std::lock_guard lock(mutex_);
            failed_.insert(failed_.end(), tags.begin(), tags.end());
            failure_ = error.message();
            changed_.notify_all();
        };
        listener.on_broken = [this](const Error& error) {
            const std::lock_guard lock(mutex_);
            broken_.push_back(error);
            changed_.notify_all();
        };
        return listener;
    }

    // The bytes read back from a partition, once there are `count` of them (without the marks).
    std::vector<std::string> bytes(std::uint32_t partition, std::size_t count) {
        wait([&] { return texts(partition).size() >= count; });
        const std::lock_guard lock(mutex_);
        return texts(partition);
    }
    std::vector<std::uint64_t> failed(std::size_t count) {
        wait([&] { return failed_.size() >= count; });
        const std::lock_guard lock(mutex_);
        return failed_;
    }
    std::string failure() {
        const std::lock_guard lock(mutex_);
        return failure_;
    }
    std::vector<Error> broken(std::size_t count) {
        wait([&] { return broken_.size() >= count; });
        const std::lock_guard lock(mutex_);
        return broken_;
    }
    std::vector<RawRecord> records(std::uint32_t partition) {
        const std::lock_guard lock(mutex_);
        return records_[LogPartition(partition)];
    }

private:
    template <class Predicate> void wait(const Predicate& predicate) {
        std::unique_lock lock(mutex_);
        EXPECT_TRUE(changed_.wait_for(lock, kTestWait, predicate)) << "waited too long";
    }
    std::vector<std::string> texts(std::uint32_t partition) {
        std::vector<std::string> all;
        for (const RawRecord& record : records_[LogPartition(partition)]) {
            if (record.bytes != mark_) all.push_back(record.bytes);
        }
        return all;
    }

    static std::string mark_bytes() {
        LogRecordView barrier;
        barrier.kind = LogRecordKind::barrier;
        std::string bytes;
        append_record(bytes, barrier);
        return bytes;
    }

    const std::string mark_ = mark_bytes();
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<LogPartition, std::vector<RawRecord>> records_;
    std::vector<std::uint64_t> failed_;
    std::string failure_;
    std::vector<Error> broken_;
};

// Opened and started where the log ends; the errors are the test's.
inline std::unique_ptr<KafkaTransport> started(OpenOptions options, Heard& heard) {
    auto transport = KafkaTransport::open(std::move(options));
    EXPECT_TRUE(transport) << transport.error().message();
    if (!transport) return nullptr;
    const auto ends = (*transport)->ends(kTestWait);
    EXPECT_TRUE(ends) << ends.error().message();
    if (!ends) return nullptr;
    const auto done = (*transport)->start(*ends, heard.listener());
    EXPECT_TRUE(done) << done.error().message();
    return std::move(*transport);
}

// "text 0" to "text n-1", with the tags 0 to n-1.
inline std::vector<std::string> produce_many(LogTransport& transport, std::uint32_t partition,
                                             const std::string& text, std::size_t count) {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < count; ++i) {
        all.push_back(text + " " + std::to_string(i));
        EXPECT_TRUE(transport.produce(LogPartition(partition), all.back(), i));
    }
    return all;
}

// The bytes of an order of sale 1 with this quantity.
inline std::string order_bytes(Units quantity) {
    LogRecordView record;
    record.sale = SaleNo(1);
    record.epoch = Epoch(1);
    record.quantity = quantity;
    record.user = "user";
    std::string bytes;
    append_record(bytes, record);
    return bytes;
}

// Appends orders with the quantities `first` to `first + count - 1`.
inline void produce_orders(LogTransport& transport, std::uint32_t partition, Units first,
                           Units count) {
    for (Units i = first; i < first + count; ++i) {
        EXPECT_TRUE(transport.produce(LogPartition(partition), order_bytes(i), 0));
    }
}

// A store as far as a feed knows one: its position in each partition, moved by take().
class FakePositions {
public:
    PositionOf position_of() {
        return [this](LogPartition partition) -> Result<LogPosition> {
            ++asked_[partition];
            if (is_down_) return fail(Errc::unavailable, "the store is down");
            return positions_.at(partition);
        };
    }
    void set_down(bool is_down) { is_down_ = is_down; }
    void set(std::uint32_t partition, LogPosition position) {
        positions_.set(LogPartition(partition), position);
    }
    [[nodiscard]] LogPosition at(std::uint32_t partition) const {
        return positions_.at(LogPartition(partition));
    }
    [[nodiscard]] int asked(std::uint32_t partition) { return asked_[LogPartition(partition)]; }

    // Applies a batch as the store does: only at its own position.
    bool apply(const LogBatch& batch) {
        if (batch.first != positions_.at(batch.partition)) return false;
        positions_.set(batch.partition, batch.next);
        for (const LogRecord& record : batch.records) {
            if (record.kind != LogRecordKind::barrier) applied_.push_back(record);
        }
        return true;
    }
    [[nodiscard]] const std::vector<LogRecord>& applied() const { return applied_; }
    [[nodiscard]] std::vector<Units> quantities() const {
        std::vector<Units> all;
        for (const LogRecord& record : applied_) all.push_back(record.quantity);
        return all;
    }

private:
    LogPositions positions_;
    std::map<LogPartition, int> asked_;
    bool is_down_ = false;
    std::vector<LogRecord> applied_;
};

inline std::unique_ptr<KafkaFeed> opened_feed(OpenOptions options, FakePositions& positions) {
    auto feed = KafkaFeed::open(std::move(options), positions.position_of());
    EXPECT_TRUE(feed) << feed.error().message();
    return feed ? std::move(*feed) : nullptr;
}

// One step of a writer. False: next() failed.
inline bool step(KafkaFeed& feed, FakePositions& positions, Duration wait_max = Duration(20)) {
    const auto batch = feed.next(100, wait_max);
    if (!batch) return false;
    if (batch->records.empty()) return true;
    if (positions.apply(*batch)) {
        feed.stored({batch->partition, batch->next});
    } else {
        EXPECT_TRUE(feed.rewind(batch->partition));
    }
    return true;
}

// Until `predicate` holds, looked at every few milliseconds. A group that is dealt anew may wait
// for a session of the mock cluster to end, which alone takes most of kTestWait.
template <class Predicate> bool eventually(const Predicate& predicate) {
    const Deadline deadline(4 * kTestWait);
    std::mutex mutex;
    std::condition_variable never;
    while (!predicate()) {
        if (deadline.has_passed()) return false;
        std::unique_lock lock(mutex);
        never.wait_for(lock, Duration(5));
    }
    return true;
}

} // namespace doorbuster::kafka
