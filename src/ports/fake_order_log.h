// For tests: an order log in memory that is as full, as slow and as durable as the test says. Any
// thread may use it and change its mood. Its two faces are one object here. It keeps every record,
// unless it is told to forget those that are stored.
#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ports/order_log.h"
#include "runtime/resume.h"

namespace doorbuster::fixture {

class FakeOrderLog final : public OrderLog, public OrderLogReader {
public:
    enum class Durability {
        at_once,   // what is enqueued is on disk
        when_told, // make_durable() says; durable() waits for it
        never,     // durable() gives up, as at its deadline
        untold,    // the same, though what is enqueued is on disk
    };

    // The test's side.
    void set_durability(Durability durability) {
        const std::lock_guard lock(mutex_);
        durability_ = durability;
    }
    enum class Room { for_all, for_all_but_barriers }; // what the room is counted for
    void set_room(std::uint64_t records, Room room = Room::for_all) { // that it still takes
        const std::lock_guard lock(mutex_);
        room_ = records;
        barriers_need_room_ = room == Room::for_all;
    }
    void forget_what_is_stored() { // from now on; records() and find() do not know it any more
        const std::lock_guard lock(mutex_);
        forgets_ = true;
    }
    void make_durable() { // everything enqueued so far
        const std::lock_guard lock(mutex_);
        settle();
    }
    void fail_reads(const Error& error) {
        const std::lock_guard lock(mutex_);
        read_error_ = error;
        changed_.notify_all();
    }
    [[nodiscard]] std::vector<LogRecord> records() const {
        const std::lock_guard lock(mutex_);
        return {records_.begin(), records_.end()};
    }
    [[nodiscard]] std::size_t waiting() const { // calls of durable() that are not answered yet
        const std::lock_guard lock(mutex_);
        return waiting_.size();
    }
    [[nodiscard]] LogPosition stored() const {
        const std::lock_guard lock(mutex_);
        return stored_;
    }

    // OrderLog.
    bool take_room(LogPartition) override {
        const std::lock_guard lock(mutex_);
        if (room_ == 0) return false;
        --room_;
        return true;
    }
    void return_room(LogPartition) override {
        const std::lock_guard lock(mutex_);
        ++room_;
    }
    LogPosition append(const LogRecordView& record) override {
        return_room(record.partition);
        return *enqueue(record);
    }
    std::optional<LogPosition> enqueue(const LogRecordView& record) override {
        const std::lock_guard lock(mutex_);
        if (record.kind != LogRecordKind::barrier || barriers_need_room_) {
            if (room_ == 0) return std::nullopt;
            --room_;
        }
        records_.push_back({record.kind, record.sale, record.epoch, record.order, record.quantity,
                            std::string(record.user), std::string(record.key)});
        const bool is_at_once = durability_ == Durability::at_once;
        if (is_at_once || durability_ == Durability::untold) settle();
        return last();
    }
    Task<Step<void>> durable(LogPosition position) override {
        if (is_durable(position)) co_return Step<void>();
        if (gives_up()) co_return late();
        const Executor home = co_await boost::asio::this_coro::executor;
        auto keep = [this, position, home](Resume<bool> resume) {
            const std::lock_guard lock(mutex_);
            waiting_.push_back({position, home, std::move(resume)});
            if (position <= durable_) settle();
        };
        static_cast<void>(co_await suspend<bool>(std::move(keep)));
        co_return Step<void>();
    }
    [[nodiscard]] bool is_durable(LogPosition position) const override {
        const std::lock_guard lock(mutex_);
        return durability_ != Durability::untold && position <= durable_;
    }
    [[nodiscard]] LogPosition last_enqueued(LogPartition) const override {
        const std::lock_guard lock(mutex_);
        return last();
    }
    [[nodiscard]] std::uint64_t lag_records() const override {
        const std::lock_guard lock(mutex_);
        return last().next().get() - stored_.get();
    }
    [[nodiscard]] Result<std::optional<LogRecord>> find(const OrderId& order) override {
        const std::lock_guard lock(mutex_);
        for (LogPosition at = first_; at <= durable_; at = at.next()) {
            const LogRecord& record = records_[at.get() - first_.get()];
            if (record.kind == LogRecordKind::order && record.order == order) return record;
        }
        return std::optional<LogRecord>();
    }

    // OrderLogReader.
    [[nodiscard]] const std::string& id() const override { return id_; }
    [[nodiscard]] LogPosition first() const override {
        const std::lock_guard lock(mutex_);
        return first_;
    }
    [[nodiscard]] LogPosition end() const override {
        const std::lock_guard lock(mutex_);
        return durable_.next();
    }
    [[nodiscard]] Result<LogBatch> read_batch(LogPosition from, std::size_t records_max,
                                              Duration wait_max) override {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, wait_max, [&] { return read_error_ || from <= durable_; });
        if (read_error_) return tl::make_unexpected(*read_error_);
        if (from < first_ || from > durable_.next()) {
            return fail(Errc::foreign_log, "a position outside the log");
        }
        LogBatch batch;
        batch.first = from;
        batch.next = from;
        while (batch.next <= durable_ && batch.records.size() < records_max) {
            batch.records.push_back(records_[batch.next.get() - first_.get()]);
            batch.next = batch.next.next();
        }
        return batch;
    }
    void stored(LogPosition next) override {
        const std::lock_guard lock(mutex_);
        stored_ = next;
        forget();
    }
    [[nodiscard]] std::unique_ptr<LogPin> pin() override {
        const std::lock_guard lock(mutex_);
        ++pins_;
        return std::make_unique<Pin>(*this);
    }

private:
    struct Waiting {
        LogPosition position;
        Executor home;
        Resume<bool> resume;
    };

    class Pin final : public LogPin {
    public:
        explicit Pin(FakeOrderLog& log) : log_(log) {}
        ~Pin() override {
            const std::lock_guard lock(log_.mutex_);
            --log_.pins_;
            log_.forget();
        }
        Pin(const Pin&) = delete;
        Pin& operator=(const Pin&) = delete;

    private:
        FakeOrderLog& log_;
    };

    [[nodiscard]] bool gives_up() const {
        const std::lock_guard lock(mutex_);
        return durability_ == Durability::never || durability_ == Durability::untold;
    }
    static Step<void> late() {
        Refusal refusal;
        refusal.reason = PurchaseOutcome::unavailable;
        return tl::make_unexpected(Stop(refusal));
    }
    // The rest with the mutex.
    [[nodiscard]] LogPosition last() const {
        return LogPosition(first_.get() + records_.size() - 1);
    }
    void forget() {
        if (!forgets_ || pins_ > 0) return;
        for (; first_ < stored_ && !records_.empty(); first_ = first_.next()) records_.pop_front();
    }
    // A Task goes on by a post to its core, so nothing of it runs in here.
    void settle() {
        durable_ = last();
        for (Waiting& waiting : waiting_) {
            auto go_on = [resume = std::move(waiting.resume)]() mutable { resume(true); };
            boost::asio::post(waiting.home, std::move(go_on));
        }
        waiting_.clear();
        changed_.notify_all();
    }

    const std::string id_ = "fake log";
    mutable std::mutex mutex_; // guards everything below
    std::condition_variable changed_;
    Durability durability_ = Durability::at_once;
    std::uint64_t room_ = UINT64_MAX;
    bool barriers_need_room_ = true;
    bool forgets_ = false;
    int pins_ = 0;
    std::deque<LogRecord> records_; // from first_ on
    LogPosition first_{1};
    LogPosition durable_{0};
    LogPosition stored_{1};
    std::optional<Error> read_error_;
    std::vector<Waiting> waiting_;
};

} // namespace doorbuster::fixture
