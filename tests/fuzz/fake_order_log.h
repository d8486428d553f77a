// An order log in memory, for fuzzing: every record is durable as soon as it is enqueued, unless
// the log is told to misbehave. Its two faces are used as the port says: cores enqueue, the order
// writer's thread reads. Records that are stored are forgotten; positions go on for ever.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "ports/order_log.h"

namespace doorbuster::fuzz {

class FakeOrderLog final : public OrderLog, public OrderLogReader {
public:
    // How the log treats orders from now on; barriers are taken always.
    struct Mood {
        std::uint64_t room = UINT64_MAX; // orders that it still takes
        bool is_stuck = false;           // nothing is known to become durable
    };
    void set_mood(Mood mood) {
        const std::lock_guard lock(mutex_);
        mood_ = mood;
    }

    std::optional<LogPosition> enqueue(const LogRecordView& record) override {
        const std::lock_guard lock(mutex_);
        if (record.kind == LogRecordKind::order) {
            if (mood_.room == 0) return std::nullopt;
            --mood_.room;
        }
        records_.push_back({record.kind, record.sale, record.epoch, record.order, record.quantity,
                            std::string(record.user), std::string(record.key)});
        arrived_.notify_all();
        return LogPosition(end_locked() - 1);
    }
    Task<Step<void>> durable(LogPosition position) override {
        if (is_durable(position)) co_return Step<void>();
        Refusal late;
        late.reason = PurchaseOutcome::unavailable;
        co_return tl::make_unexpected(Stop(late));
    }
    [[nodiscard]] bool is_durable(LogPosition position) const override {
        const std::lock_guard lock(mutex_);
        return !mood_.is_stuck && position.get() < end_locked();
    }
    [[nodiscard]] LogPosition last_enqueued() const override {
        const std::lock_guard lock(mutex_);
        return LogPosition(end_locked() - 1);
    }
    [[nodiscard]] std::uint64_t lag_records() const override {
        const std::lock_guard lock(mutex_);
        return records_.size();
    }
    [[nodiscard]] Result<std::optional<LogRecord>> find(const OrderId& order) override {
        const std::lock_guard lock(mutex_);
        for (const LogRecord& record : records_) {
            if (record.kind == LogRecordKind::order && record.order == order) {
                return std::optional(record);
            }
        }
        return std::optional<LogRecord>();
    }

    [[nodiscard]] const std::string& id() const override { return id_; }
    [[nodiscard]] LogPosition first() const override {
        const std::lock_guard lock(mutex_);
        return LogPosition(first_);
    }
    [[nodiscard]] LogPosition end() const override {
        const std::lock_guard lock(mutex_);
        return LogPosition(end_locked());
    }
    [[nodiscard]] Result<LogBatch> read_batch(LogPosition from, std::size_t records_max,
                                              Duration wait_max) override {
        std::unique_lock lock(mutex_);
        arrived_.wait_for(lock, wait_max, [&] { return end_locked() > from.get(); });
        if (from.get() < first_ || from.get() > end_locked()) return fail(Errc::foreign_log);
        LogBatch batch;
        batch.first = batch.next = from;
        while (batch.next.get() < end_locked() && batch.records.size() < records_max) {
            batch.records.push_back(records_[batch.next.get() - first_]);
            batch.next = batch.next.next();
        }
        return batch;
    }
    void stored(LogPosition next) override {
        const std::lock_guard lock(mutex_);
        stored_ = next.get();
        forget_stored();
    }
    [[nodiscard]] std::unique_ptr<LogPin> pin() override {
        const std::lock_guard lock(mutex_);
        ++pins_;
        return std::make_unique<Pin>(*this);
    }

private:
    class Pin final : public LogPin {
    public:
        explicit Pin(FakeOrderLog& log) : log_(log) {}
        ~Pin() override {
            const std::lock_guard lock(log_.mutex_);
            --log_.pins_;
            log_.forget_stored();
        }

    private:
        FakeOrderLog& log_;
    };

    [[nodiscard]] std::uint64_t end_locked() const { return first_ + records_.size(); }
    void forget_stored() {
        if (pins_ > 0) return;
        while (first_ < stored_ && !records_.empty()) {
            records_.pop_front();
            ++first_;
        }
    }

    std::string id_ = "fuzz";
    mutable std::mutex mutex_; // guards the rest
    std::condition_variable arrived_;
    Mood mood_;
    std::deque<LogRecord> records_; // from first_ on
    std::uint64_t first_ = 1;
    std::uint64_t stored_ = 1;
    int pins_ = 0;
};

} // namespace doorbuster::fuzz
