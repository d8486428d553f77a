// The order log in one SQLite file, with group commit: what arrives during a write shares the next
// one; there is no timer. Cores enqueue, one thread of its own commits and wakes them, the order
// writer reads through a connection of its own.
//
// A commit is one row: the records of the group, their CRC-32 and the position of the first. When a
// commit returns, its records are durable (WAL, synchronous = FULL).
//
// Failures: a full disk stalls the log (nothing is acknowledged, the commit is tried again until
// there is room, new records are refused meanwhile). Anything else, above all a failed sync, is
// fatal: it is reported once and never retried (design.md section 4, rule 15).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "adapters/sqlite/database.h"
#include "adapters/sqlite/watermark.h"
#include "base/latency.h"
#include "ports/order_log.h"
#include "runtime/clock.h"
#include "runtime/core.h"
#include "runtime/resume.h"

namespace doorbuster::sqlite {

struct OrderLogOptions {
    std::string folder;        // of log.db and log.mark
    std::uint64_t lag_max = 0; // records enqueued but not in the store; past it enqueue refuses
    std::string new_log_id;    // random, used if the log is new
    bool is_expected = false;  // the store names a log: a new one cannot be it
    // How long a purchase waits for its commit before its buyer hears 503. A healthy commit takes a
    // millisecond; five seconds pass only when the disk is full or hangs.
    Duration durable_wait{5'000};
};

class SqliteOrderLog final : public OrderLog, public OrderLogReader {
public:
    // Errc::lost_tail, too_new, corrupt or io, each with what to do. `on_fatal` is called on the
    // log's thread, once, and should end the process.
    [[nodiscard]] static Result<std::unique_ptr<SqliteOrderLog>>
    open(OrderLogOptions options, Cores& cores, const Clock& clock,
         std::function<void(const Error&)> on_fatal);
    ~SqliteOrderLog() override;
    SqliteOrderLog(const SqliteOrderLog&) = delete;
    SqliteOrderLog& operator=(const SqliteOrderLog&) = delete;

    // True when open() found no log and made one.
    [[nodiscard]] bool is_new() const { return is_new_; }
    // The log has been found to be the store's: from here on closing it may tidy up its files.
    // Before that, a start that is refused leaves them as they were.
    [[nodiscard]] Result<void> adopt();
    // Commits what is enqueued and ends the thread. No core may wait for it any more.
    void stop();

    // OrderLog
    bool take_room(LogPartition) override;
    void return_room(LogPartition) override;
    LogPosition append(const LogRecordView& record) override;
    std::optional<LogPosition> enqueue(const LogRecordView& record) override;
    Task<Step<void>> durable(LogPosition position) override;
    [[nodiscard]] bool is_durable(LogPosition position) const override;
    [[nodiscard]] bool is_stalled(LogPartition) const override {
        return stalled_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] LogPosition last_enqueued(LogPartition partition) const override;
    [[nodiscard]] std::uint64_t lag_records() const override;
    [[nodiscard]] Result<std::optional<LogRecord>> find(const OrderId& order) override;

    // OrderLogReader
    [[nodiscard]] const std::string& id() const override { return id_; }
    [[nodiscard]] LogPosition first() const override { return first_; }
    [[nodiscard]] LogPosition end() const override;
    [[nodiscard]] Result<LogBatch> read_batch(LogPosition from, std::size_t records_max,
                                              Duration wait_max) override;
    void stored(LogPosition next) override;
    [[nodiscard]] std::unique_ptr<LogPin> pin() override;

    [[nodiscard]] const LatencyBuckets& commit_seconds() const { return commit_seconds_; }

private:
    struct Group; // records that share a commit
    struct Waiter {
        std::uint64_t position;
        std::int64_t deadline_ns;
        Resume<bool> resume; // true: durable
    };
    struct alignas(64) CoreWaiters { // touched on its core only, but for the count
        std::deque<Waiter> waiters;
        std::atomic<std::size_t> count{0};
        bool is_sweeping = false;
    };
    class Pin;

    SqliteOrderLog(OrderLogOptions options, Cores& cores, const Clock& clock,
                   std::function<void(const Error&)> on_fatal, Watermark watermark);

    [[nodiscard]] Result<void> open_database();
    [[nodiscard]] Result<void> load_bounds();
    void run();
    [[nodiscard]] Result<void> commit(const Group& group);
    [[nodiscard]] Result<void> write_group(const Group& group);
    // False: the disk is full and we are stopping; nothing of the group was acknowledged.
    [[nodiscard]] bool commit_until_done(const Group& group);
    void die(const Error& error);
    void wake_cores();
    void resume_waiters(std::size_t core);
    void sweep_waiters(std::size_t core);
    [[nodiscard]] std::size_t here() const;

    OrderLogOptions options_;
    Cores& cores_;
    const Clock& clock_;
    std::function<void(const Error&)> on_fatal_;
    std::string path_;
    std::string id_;
    bool is_new_ = false;
    LogPosition first_{1};

    // The log's thread.
    Watermark watermark_;
    std::optional<Database> writing_;
    std::optional<Statement> insert_;
    std::optional<Statement> prune_;
    std::uint64_t pruned_to_ = 1;
    std::thread thread_;
    LatencyBuckets commit_seconds_;

    // Between the cores and the log's thread.
    [[nodiscard]] bool is_full() const; // with the mutex
    LogPosition add(const LogRecordView& record, std::unique_lock<std::mutex> lock);

    mutable std::mutex mutex_; // guards the next five
    std::condition_variable arrived_;
    std::unique_ptr<Group> filling_;
    std::size_t rooms_ = 0; // taken, and nothing appended yet
    bool is_stopping_ = false;
    // Groups that are not in the store yet: position, and the times their orders lie between.
    struct GroupNote {
        std::uint64_t first;
        std::uint64_t next;
        TimePoint earliest;
        TimePoint latest;
        TimePoint latest_so_far; // of this group and those before it: sorted
    };
    std::mutex notes_mutex_; // guards unstored_; never held while a core enqueues
    std::deque<GroupNote> unstored_;

    std::atomic<std::uint64_t> last_enqueued_{0};
    std::atomic<std::uint64_t> durable_to_{0}; // the last durable position
    std::atomic<std::uint64_t> stored_next_{1};
    std::atomic<bool> stalled_{false};
    std::atomic<int> pins_{0};
    std::vector<std::unique_ptr<CoreWaiters>> waiters_;

    // The reader's side: the writer's thread and, for find(), blocking threads.
    std::mutex reading_mutex_;
    std::optional<Database> reading_;
    std::condition_variable committed_; // with mutex_: for read_batch
};

} // namespace doorbuster::sqlite
