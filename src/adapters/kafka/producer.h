// Appends to the topic: librdkafka's idempotent producer, so that what is sent again after a lost
// answer stands in the log once and in its place. produce() is for any thread and never blocks; one
// thread of our own hears what failed.
//
// A fatal error (the brokers no longer know the producer, its sequence has a gap, another has its
// place) is the end of one librdkafka instance: what was outstanding is reported as failed, and a
// new instance takes its place.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "adapters/kafka/client.h"
#include "ports/log_transport.h"

namespace doorbuster::kafka {

class Producer {
public:
    using OnFailed = std::function<void(std::span<const std::uint64_t>, const Error&)>;

    [[nodiscard]] static Result<std::unique_ptr<Producer>> open(Settings settings, std::string key,
                                                                Notice notice, OnFailed on_failed);
    ~Producer();
    Producer(const Producer&) = delete;
    Producer& operator=(const Producer&) = delete;

    // See LogTransport::produce.
    [[nodiscard]] bool produce(LogPartition partition, std::string_view bytes, std::uint64_t tag);
    // Any thread. What is wrong, or empty.
    [[nodiscard]] std::string trouble() const;
    // Any thread. How often a fatal error has made a new instance necessary.
    [[nodiscard]] std::uint64_t renewals() const { return renewals_.load(); }
    // Blocking. Sends what was taken, up to `wait_max`, and reports the rest as failed.
    void stop(Duration wait_max);

private:
    struct Instance {
        Client client;
        TopicHandle topic;
        Queue events;
    };

    Producer(Settings settings, std::string key, Notice notice, OnFailed on_failed);
    [[nodiscard]] Result<std::unique_ptr<Instance>> make_instance() const;
    void run();
    // False: the instance met a fatal error.
    [[nodiscard]] bool serve(Instance& instance, Duration wait);
    void report(rd_kafka_event_t* event);
    void empty(Instance& instance);
    void renew();
    void flush(Duration wait_max);
    void set_trouble(std::string text);

    const Settings settings_;
    const std::string key_;
    const Notice notice_;
    const OnFailed on_failed_;
    std::shared_mutex instance_mutex_; // shared to produce, exclusive to change instance_
    std::unique_ptr<Instance> instance_;
    std::atomic<std::uint64_t> renewals_{0};
    mutable std::mutex mutex_; // guards the next two
    std::string trouble_;
    bool is_stopping_ = false;
    std::condition_variable stopping_;
    std::vector<std::uint64_t> failed_; // the poll thread's
    std::thread thread_;
};

} // namespace doorbuster::kafka
