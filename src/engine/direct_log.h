// `direct` (design.md section 3): an order log that is none. What is enqueued waits in memory until
// somebody asks for it to be durable, and is then written to the store, a batch of one, on a thread
// of the blocking pool: as many at a time as that has threads. A crash before that loses nothing
// that was promised, because nothing was.
//
// Any core. Every record is asked for by the one who enqueued it, once; of several barriers, by
// whoever asks for the last.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/latency.h"
#include "engine/audit.h"
#include "engine/order_tally.h"
#include "engine/store_progress.h"
#include "ports/order_log.h"
#include "ports/order_store.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"

namespace doorbuster {

class DirectLog final : public OrderLog, public StoreProgress {
public:
    struct Options {
        StockGuard guard = StockGuard::version;
        std::size_t waiting_max = 10'000; // records that are not in the store; one more is refused
        // On a core. The store has this order now.
        std::function<void(std::span<const OrderId>)> on_stored;
    };
    struct Parts { // all outlive the log
        OrderStore& store;
        BlockingPool& blocking;
        OrderTally& tally;
        const Clock& clock;
    };
    DirectLog(Parts parts, Options options) : parts_(parts), options_(std::move(options)) {}

    // OrderLog
    bool take_room(LogPartition) override;
    void return_room(LogPartition) override;
    LogPosition append(const LogRecordView& record) override;
    std::optional<LogPosition> enqueue(const LogRecordView& record) override;
    // Writes it. `lost_race` when the store's guard stopped it: then nothing was written.
    // `unavailable` with the order's id when nobody knows: the connection was lost at the COMMIT.
    Task<Step<void>> durable(LogPosition position) override;
    [[nodiscard]] bool is_durable(LogPosition position) const override;
    [[nodiscard]] LogPosition last_enqueued(LogPartition partition) const override;
    [[nodiscard]] std::uint64_t lag_records() const override { return 0; }
    [[nodiscard]] Result<std::optional<LogRecord>> find(const OrderId&) override {
        return std::optional<LogRecord>();
    }

    // StoreProgress: nothing is behind the store.
    Task<bool> reached(LogPosition position, Duration) override { co_return is_durable(position); }
    Task<bool> stored(const OrderId&, Duration) override { co_return true; }
    Task<bool> caught_up(LogPartition, Duration) override { co_return true; }
    [[nodiscard]] bool is_store_up() const override {
        return is_store_up_.load(std::memory_order_relaxed);
    }

    // Any thread. A transaction of one order.
    [[nodiscard]] const LatencyBuckets& append_seconds() const { return append_seconds_; }

private:
    // The record, and if it is a barrier, those before it.
    [[nodiscard]] std::vector<LogRecord> take(LogPosition position);
    void done(LogPosition position);
    [[nodiscard]] Result<ApplyReport> write(std::span<const LogRecord> records);

    Parts parts_;
    Options options_;
    LatencyBuckets append_seconds_;
    std::atomic<bool> is_store_up_{true};
    std::atomic<std::size_t> room_taken_{0};
    mutable std::mutex mutex_; // guards the rest
    std::uint64_t last_ = 0;
    std::map<std::uint64_t, LogRecord> waiting_;
    std::set<std::uint64_t> unwritten_; // waiting, or being written
};

// What an audit reads of it: nothing, it is all in the store.
class NoLogBooks final : public LogBooks {
public:
    [[nodiscard]] LogWriters writers() const override { return LogWriters::one; }
    [[nodiscard]] std::unique_ptr<LogPin> pin() override { return nullptr; }
    [[nodiscard]] Result<std::vector<LogPosition>> ends() override {
        return std::vector<LogPosition>{LogPosition(1)};
    }
    [[nodiscard]] Result<std::vector<AuditTail::Entry>> read(LogPlace, LogPosition) override {
        return std::vector<AuditTail::Entry>();
    }
};

} // namespace doorbuster
