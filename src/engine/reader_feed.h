// The feed of a log that only this process writes: its one partition, from where the store is.
// Owned by the order writer; used on its thread.
#pragma once

#include <optional>
#include <string>

#include "ports/log_feed.h"
#include "ports/order_log.h"

namespace doorbuster {

class ReaderFeed final : public LogFeed {
public:
    explicit ReaderFeed(OrderLogReader& log) : log_(log) {}

    // Once, before the first next().
    void start(LogPosition from) { next_ = from; }

    [[nodiscard]] const std::string& id() const override { return log_.id(); }
    [[nodiscard]] Result<LogBatch> next(std::size_t records_max, Duration wait_max) override {
        auto batch = log_.read_batch(next_, records_max, wait_max);
        if (batch) next_ = batch->next;
        return batch;
    }
    void stored(LogPlace next) override { log_.stored(next.position); }
    // Somebody else wrote this log's orders to the store.
    [[nodiscard]] Result<void> rewind(LogPartition) override { return fail(Errc::fenced); }
    void wake() override {} // read_batch waits for fractions of a second

private:
    OrderLogReader& log_;
    LogPosition next_{1};
};

} // namespace doorbuster
