// How long is left of a wait. A value of one thread.
#pragma once

#include <algorithm>
#include <chrono>

#include "domain/time.h"

namespace doorbuster::kafka {

class Deadline {
public:
    explicit Deadline(Duration wait_max) : at_(Clock::now() + wait_max) {}

    [[nodiscard]] bool has_passed() const { return Clock::now() >= at_; }
    // Zero when it has passed.
    [[nodiscard]] Duration left() const {
        return std::max(std::chrono::ceil<Duration>(at_ - Clock::now()), Duration(0));
    }
    [[nodiscard]] Duration left(Duration at_most) const { return std::min(left(), at_most); }

private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point at_;
};

} // namespace doorbuster::kafka
