// For tests: an order log in memory that is as full, as slow and as durable as the test says. Any
// thread may use it and change its mood. Its two faces are one object here.
#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <condition_variable>
#include <cstdint>
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
    };

    // The test's side.
    void set_durability(Durability durability) {
        const std::lock_guard lock(mutex_);
        durability_ = durability;
    }
    void set_room(std::uint64_t records) { // that it still takes
        const std::lock_guard lock(mutex_);
        room_ = records;
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
        return records_;
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
    std::optional<LogPosition> enqueue(const LogRecordView& record) override {
        const std::lock_guard lock(mutex_);
        if (room_ == 0) return std::nullopt;
        --room_;
        records_.push_back({record.kind, record.sale, record.epoch, record.order, record.quantity,
                            std::string(record.user), std::string(record.key)});
        if (durability_ == Durability::at_once) settle();
        return LogPosition(records_.size());
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
        return position <= durable_;
    }
    [[nodiscard]] LogPosition last_enqueued() const override {
        const std::lock_guard lock(mutex_);
        return LogPosition(records_.size());
    }
    [[nodiscard]] std::uint64_t lag_records() const override {
        const std::lock_guard lock(mutex_);
        return records_.size() + 1 - stored_.get();
    }
    [[nodiscard]] Result<std::optional<LogRecord>> find(const OrderId& order) override {
        const std::lock_guard lock(mutex_);
        for (std::size_t i = 0; i < durable_.get(); ++i) {
            if (records_[i].order == order) return std::optional(records_[i]);
        }
        return std::optional<LogRecord>();
    }

    // OrderLogReader.
    [[nodiscard]] const std::string& id() const override { return id_; }
    [[nodiscard]] LogPosition first() const override { return LogPosition(1); }
    [[nodiscard]] LogPosition end() const override {
        const std::lock_guard lock(mutex_);
        return durable_.next();
    }
    [[nodiscard]] Result<LogBatch> read_batch(LogPosition from, std::size_t records_max,
                                              Duration wait_max) override {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, wait_max, [&] { return read_error_ || from <= durable_; });
        if (read_error_) return tl::make_unexpected(*read_error_);
        if (from < first() || from > durable_.next()) {
            return fail(Errc::foreign_log, "a position outside the log");
        }
        LogBatch batch;
        batch.first = from;
        batch.next = from;
        while (batch.next <= durable_ && batch.records.size() < records_max) {
            batch.records.push_back(records_[batch.next.get() - 1]);
            batch.next = batch.next.next();
        }
        return batch;
    }
    void stored(LogPosition next) override {
        const std::lock_guard lock(mutex_);
        stored_ = next;
    }
    [[nodiscard]] std::unique_ptr<LogPin> pin() override { return std::make_unique<LogPin>(); }

private:
    struct Waiting {
        LogPosition position;
        Executor home;
        Resume<bool> resume;
    };

    [[nodiscard]] bool gives_up() const {
        const std::lock_guard lock(mutex_);
        return durability_ == Durability::never;
    }
    static Step<void> late() {
        Refusal refusal;
        refusal.reason = PurchaseOutcome::unavailable;
        return tl::make_unexpected(Stop(refusal));
    }
    // With the mutex. A Task goes on by a post to its core, so nothing of it runs in here.
    void settle() {
        durable_ = LogPosition(records_.size());
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
    std::vector<LogRecord> records_; // position 1 first
    LogPosition durable_{0};
    LogPosition stored_{1};
    std::optional<Error> read_error_;
    std::vector<Waiting> waiting_;
};

} // namespace doorbuster::fixture
