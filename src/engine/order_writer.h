// The order writer: reads the log in batches and writes each batch to the store in one transaction
// (design.md section 4, rule 1). A thread of its own; everything public may be called from any
// thread but a core, unless it says otherwise.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

#include "base/latency.h"
#include "base/result.h"
#include "domain/ids.h"
#include "domain/log_record.h"
#include "engine/order_tally.h"
#include "engine/reader_feed.h"
#include "engine/store_progress.h"
#include "ports/order_log.h"
#include "ports/order_store.h"
#include "runtime/clock.h"
#include "runtime/task.h"

namespace doorbuster {

class OrderWriter final : public StoreProgress {
public:
    struct Options {
        std::size_t batch_max = 5'000; // orders in a transaction
        StockGuard guard = StockGuard::version_and_stock;
        // Called on the writer's thread when the store is lost for good; should end the process.
        std::function<void(const Error&)> on_fatal;
        OrderTally* tally = nullptr; // told of every batch
        // Called on the writer's thread with the records that the store has by now; must not block.
        std::function<void(std::span<const LogRecord>)> on_stored;
    };
    // Of a log that only this process writes.
    OrderWriter(OrderLogReader& log, OrderStore& store, const Clock& clock, Options options);
    // One of several writers of a shared log: what it does not finish, another one takes over.
    OrderWriter(LogFeed& feed, OrderStore& store, const Clock& clock, Options options);
    ~OrderWriter() override;
    OrderWriter(const OrderWriter&) = delete;
    OrderWriter& operator=(const OrderWriter&) = delete;

    // Starts at the position that the store remembers.
    void start(LogPosition from);
    void start(); // of a shared log: the feed asks the store for its positions
    // Writes what is durable by now (of a shared log: the batch at hand), then ends the thread;
    // gives up after `wait_max`.
    void stop(Duration wait_max);

    // Waits until the record at `position` is in the store. Errc::timeout.
    [[nodiscard]] Result<void> wait_for(LogPosition position, Duration wait_max);

    // StoreProgress
    Task<bool> reached(LogPosition position, Duration wait_max) override;
    Task<bool> stored(const OrderId& order, Duration wait_max) override;
    Task<bool> caught_up(LogPartition partition, Duration wait_max) override;
    [[nodiscard]] bool is_store_up() const override {
        return store_up_.load(std::memory_order_relaxed);
    }
    struct Totals {
        std::atomic<std::uint64_t> batches{0};
        std::atomic<std::uint64_t> orders{0};
        std::atomic<std::uint64_t> conflicts{0};
        std::atomic<std::uint64_t> refused{0};
        std::atomic<std::uint64_t> voided{0};
        std::atomic<std::uint64_t> dead_letters{0};
        // Orders a batch: up to 1, 4, 16, … 4^8, and above.
        std::array<std::atomic<std::uint64_t>, 10> batch_orders{};
        LatencyBuckets batch_seconds;
    };
    [[nodiscard]] const Totals& totals() const { return totals_; }

    // What the thread does with a batch, without its waits: for a simulation, in place of start().
    enum class Written {
        yes,
        elsewhere, // another writer was there: the feed has been rewound
        not_now,   // the store is down
        ended,     // and on_fatal was told why
    };
    [[nodiscard]] Written try_write(const LogBatch& batch);

private:
    void run();
    // The next records; with few of them at hand, those that come within a moment, too.
    [[nodiscard]] Result<LogBatch> read();
    // Retries for ever while the store is down. False: the writer ends; every error but the ones
    // that a rewind mends is fatal.
    [[nodiscard]] bool write(const LogBatch& batch);
    void conclude(const LogBatch& batch);
    void note(const ApplyReport& report, std::int64_t took_ns);
    // Both return false when the writer is stopping.
    [[nodiscard]] bool gather(Duration at_most); // ends early when somebody waits
    [[nodiscard]] bool back_off(Duration time);  // does not: the store is down for them, too

    OrderLogReader* own_log_ = nullptr; // null: others write it, too
    std::optional<ReaderFeed> own_feed_;
    LogFeed& feed_;
    std::optional<LogBatch> ahead_; // read, of another partition than the batch at hand
    OrderStore& store_;
    const Clock& clock_;
    Options options_;
    Totals totals_;
    std::atomic<bool> store_up_{true};

    std::mutex mutex_; // guards the next four
    std::condition_variable moved_;
    LogPosition next_{1};
    int waiting_ = 0; // for a position: then nothing is gathered
    bool is_stopping_ = false;
    std::thread thread_;
};

} // namespace doorbuster
