// For tests in one thread: time that stands still while something is done and jumps to whatever is
// due next, so that hours pass in no time and one seed always gives the same run.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "runtime/clock.h"
#include "runtime/sleep.h"

namespace doorbuster::fixture {

class VirtualTime final : public Clock, public Alarms {
public:
    explicit VirtualTime(TimePoint start)
        : now_(std::chrono::nanoseconds(start.time_since_epoch())) {}

    // What is due at the same time happens in the order in which it was asked for.
    void in(std::chrono::nanoseconds wait, std::function<void()> what) {
        due_.emplace(now_ + std::max(wait, std::chrono::nanoseconds(0)), std::move(what));
    }
    // Jumps to what is due next and does it. False: nothing is.
    bool step() {
        if (due_.empty()) return false;
        auto next = due_.extract(due_.begin());
        now_ = std::max(now_, next.key());
        next.mapped()();
        return true;
    }
    [[nodiscard]] bool is_idle() const { return due_.empty(); }
    [[nodiscard]] std::chrono::nanoseconds since_1970() const { return now_; }
    void clear() { due_.clear(); }

    [[nodiscard]] TimePoint now() const override {
        return TimePoint(std::chrono::floor<Duration>(now_));
    }
    [[nodiscard]] std::int64_t steady_ns() const override { return now_.count(); }
    [[nodiscard]] Alarms* alarms() const override { return const_cast<VirtualTime*>(this); }
    void wake_in(Duration time, Resume<bool> wake) override {
        in(time, [wake = std::make_shared<Resume<bool>>(std::move(wake))] { (*wake)(true); });
    }

private:
    std::chrono::nanoseconds now_;
    std::multimap<std::chrono::nanoseconds, std::function<void()>> due_;
};

} // namespace doorbuster::fixture
