// The clock: passed in to whoever decides by time, so that tests can set it. Any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "domain/time.h"

namespace doorbuster {

class Alarms;

class Clock {
public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual TimePoint now() const = 0;          // UTC, for people and windows
    [[nodiscard]] virtual std::int64_t steady_ns() const = 0; // for rates and deadlines
    // Who wakes sleepers (runtime/sleep.h) where time is not the system's. Null: its timers do.
    [[nodiscard]] virtual Alarms* alarms() const { return nullptr; }
};

class SystemClock final : public Clock {
public:
    [[nodiscard]] TimePoint now() const override {
        return std::chrono::floor<Duration>(std::chrono::system_clock::now());
    }
    [[nodiscard]] std::int64_t steady_ns() const override {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(
                   std::chrono::steady_clock::now().time_since_epoch())
            .count();
    }
};

// Stands still until it is told otherwise.
class ManualClock final : public Clock {
public:
    explicit ManualClock(TimePoint start) : now_ms_(start.time_since_epoch().count()) {}

    [[nodiscard]] TimePoint now() const override { return TimePoint(Duration(now_ms_.load())); }
    [[nodiscard]] std::int64_t steady_ns() const override { return now_ms_.load() * 1'000'000; }
    void advance(Duration by) { now_ms_ += by.count(); }

private:
    std::atomic<std::int64_t> now_ms_;
};

} // namespace doorbuster
