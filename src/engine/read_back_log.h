// The order log over a transport that other processes append to as well (design.md section 4, rules
// 4, 5 and 8). A record is durable when this process has read it back behind the barrier of its own
// epoch; neither a clock nor the transport's word is asked. What the transport gives up on is
// produced again, until it is read back or a later barrier makes it void.
//
// Cores append and wait; the transport's threads bring records; one thread of its own produces
// again and ends waits past their deadline; whoever watches the store says how far it has come.
// Each partition has a lock, held for as long as it takes to look something up.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/latency.h"
#include "engine/store_progress.h"
#include "ports/log_transport.h"
#include "ports/order_log.h"
#include "runtime/clock.h"
#include "runtime/core.h"
#include "runtime/resume.h"

namespace doorbuster {

class ReadBackLog final : public OrderLog, public StoreProgress {
public:
    enum class Ticks { by_itself, when_told };
    struct Options {
        // Records of one partition on their way: appended, or about to be, and not read back. At
        // 50,000 a second and a read-back of 20 ms these are a thousand; more means that it is
        // slow.
        std::size_t window_max = 16'384;
        std::uint64_t lag_max = 0; // records read back, everybody's, that are not in the store
        // On the transport's thread; must not block. Another process has rebuilt a sale that this
        // one had rebuilt before: what was held under our barrier's epoch is void.
        std::function<void(SaleNo, Epoch)> on_barrier;
        // On the thread of whoever calls stored(); must not block.
        std::function<void(std::span<const OrderId>)> on_stored;
        // The log is not what it was; should end the process.
        std::function<void(const Error&)> on_fatal;
        Ticks ticks = Ticks::by_itself; // when_told: no thread of its own, somebody calls tick()
    };
    // The transport is not started yet; it outlives the log.
    ReadBackLog(LogTransport& transport, Cores& cores, const Clock& clock, Options options);
    ~ReadBackLog() override;
    ReadBackLog(const ReadBackLog&) = delete;
    ReadBackLog& operator=(const ReadBackLog&) = delete;

    // Once, blocking. Reads from where the store is; `open` has each sale's last barrier there.
    [[nodiscard]] Result<void> start(const LogPositions& from, std::map<SaleNo, Epoch> open);
    // Produces what was appended, up to `wait_max`. No core may wait for it any more.
    void stop(Duration wait_max);

    // Any thread but a core: the store holds everything below `next`.
    void stored(const LogPositions& next);
    void set_store_up(bool is_up) {
        store_up_.store(is_up, std::memory_order_relaxed);
        store_answered_ns_.store(clock_.steady_ns(), std::memory_order_relaxed);
    }
    // What the thread of its own does, every kTick: produces again, ends waits.
    void tick();

    // OrderLog
    bool take_room(LogPartition partition) override;
    void return_room(LogPartition partition) override;
    LogPosition append(const LogRecordView& record) override;
    std::optional<LogPosition> enqueue(const LogRecordView& record) override;
    Task<Step<void>> durable(LogPosition position) override;
    [[nodiscard]] bool is_durable(LogPosition position) const override;
    [[nodiscard]] bool is_stalled(LogPartition partition) const override;
    [[nodiscard]] LogPosition last_enqueued(LogPartition partition) const override;
    [[nodiscard]] std::uint64_t lag_records() const override;
    [[nodiscard]] Result<std::optional<LogRecord>> find(const OrderId& order) override;

    // StoreProgress
    Task<bool> reached(LogPosition position, Duration wait_max) override;
    Task<bool> stored(const OrderId& order, Duration wait_max) override;
    Task<bool> caught_up(LogPartition partition, Duration wait_max) override;
    [[nodiscard]] bool is_store_up() const override {
        // A store that hangs says nothing at all.
        return store_up_.load(std::memory_order_relaxed) &&
               clock_.steady_ns() - store_answered_ns_.load(std::memory_order_relaxed) <
                   kStoreSilentNsMax;
    }

    // Any thread. From the append until the read-back.
    [[nodiscard]] const LatencyBuckets& append_seconds() const { return append_seconds_; }
    struct Totals {
        std::atomic<std::uint64_t> appended{0};
        std::atomic<std::uint64_t> produced_again{0};
        std::atomic<std::uint64_t> voided{0}; // of our own
    };
    [[nodiscard]] const Totals& totals() const { return totals_; }

private:
    static constexpr std::chrono::milliseconds kTick{20};
    static constexpr std::int64_t kStoreSilentNsMax = 5'000'000'000;

    struct Waiter {
        std::size_t core;
        std::int64_t deadline_ns;
        Resume<bool> resume; // true: durable
    };
    enum class State : std::uint8_t { flying, failed, valid, is_void };
    // One of ours, until it and all before it are settled.
    struct Entry {
        SaleNo sale;
        Epoch epoch;
        OrderId mark; // see mark_of()
        std::string bytes;
        std::int64_t appended_ns;
        State state = State::flying;
        LogPosition position{0};        // once read back
        std::uint64_t earlier_copy = 0; // a hold that stays pending is appended again; 0: none
        std::vector<Waiter> waiters;
    };
    struct Unstored {
        LogRecord record;
        LogPosition position;
    };
    // One partition.
    struct Line {
        std::atomic<std::size_t> in_window{0};
        std::atomic<std::int64_t> oldest_ns{0}; // when entries.front() was appended; 0: none
        mutable std::mutex mutex;               // guards the rest
        std::deque<Entry> entries;
        std::uint64_t first = 1; // the number of entries.front()
        std::unordered_map<OrderId, std::uint64_t, OrderIdHash> by_mark; // the latest copy
        std::set<std::uint64_t> voided;                                  // the latest, of ours
        std::map<SaleNo, Epoch> open;                                    // the last barriers
        std::map<SaleNo, Epoch> own;                                     // of ours, as appended
        LogPosition read_next{1};
        LogPosition stored_next{1};
        // Ours, read back and not in the store.
        std::deque<std::pair<std::uint64_t, LogPosition>> own_unstored;
        // Everybody's orders, read back and not in the store.
        std::unordered_map<OrderId, Unstored, OrderIdHash> unstored;
        std::deque<std::pair<LogPosition, OrderId>> unstored_in_order;
    };
    // What is to be resumed when the lock is given back.
    class Wakeups;

    [[nodiscard]] static OrderId mark_of(LogRecordKind kind, SaleNo sale, Epoch epoch,
                                         const OrderId& order);
    [[nodiscard]] static LogPosition position_of(LogPartition partition, std::uint64_t number);
    [[nodiscard]] Line& line_of(LogPosition position) const;
    [[nodiscard]] static std::uint64_t number_of(LogPosition position);
    LogPosition add(const LogRecordView& record);
    [[nodiscard]] std::size_t here() const;

    void on_records(LogPartition partition, std::span<const RawRecord> records);
    void on_failed(std::span<const std::uint64_t> tags);
    // With the line's lock.
    void read_back(Line& line, LogPosition position, LogRecord record,
                   std::vector<std::pair<SaleNo, Epoch>>& foreign);
    void settle(Line& line, std::uint64_t latest_copy, State state, LogPosition position);
    void void_older(Line& line, SaleNo sale, Epoch than);
    void pop_settled(Line& line, Wakeups& wakeups);
    [[nodiscard]] static bool is_in_store(const Line& line, std::uint64_t number);
    [[nodiscard]] std::optional<LogRecord> look_up(const OrderId& order) const;
    // The ends of the partitions, as they were after the call began or later.
    [[nodiscard]] Result<std::vector<LogPosition>> ends_now(Duration wait_max);
    // Polls `is_so` on the calling core until it holds or the time is over.
    template <class Condition> Task<bool> poll(Condition is_so, Duration wait_max);

    LogTransport& transport_;
    Cores& cores_;
    const Clock& clock_;
    Options options_;
    std::vector<std::unique_ptr<Line>> lines_; // by partition
    std::atomic<std::int64_t> lag_{0};
    std::atomic<bool> store_up_{true};
    std::atomic<std::int64_t> store_answered_ns_{0};
    LatencyBuckets append_seconds_;
    Totals totals_;

    std::mutex reading_mutex_; // for find(): something was read
    std::condition_variable reading_;
    // For find(): who asks while another asks shares the next answer.
    std::mutex ends_turn_; // guards the next two
    Result<std::vector<LogPosition>> ends_;
    std::uint64_t ends_no_ = 0; // the number of the question that ends_ answers
    std::atomic<std::uint64_t> ends_asked_{0};
    std::mutex mutex_; // guards the next
    std::condition_variable stopping_;
    bool is_stopping_ = false;
    bool is_started_ = false; // whoever starts and stops it
    std::thread thread_;
};

} // namespace doorbuster
