// The arithmetic of rate limits: GCRA, the generic cell rate algorithm (ITU-T I.371), in its
// virtual-scheduling form. One number a limited thing: the theoretical arrival time of its next
// request. Pure. Times are nanoseconds of a steady clock.
#pragma once

#include <cstdint>

namespace doorbuster {

struct Rate {
    double per_second = 0; // 0: no limit
    double burst = 1;      // requests that may come at once, at least 1

    [[nodiscard]] constexpr bool is_set() const { return per_second > 0; }
    // Nanoseconds between two requests at the steady rate.
    [[nodiscard]] constexpr std::int64_t interval_ns() const {
        return bounded_ns(1e9 / per_second);
    }
    // How far ahead of time the theoretical arrival may run.
    [[nodiscard]] constexpr std::int64_t tolerance_ns() const {
        return bounded_ns((burst - 1) * 1e9 / per_second);
    }

private:
    // A rate of once in a century must not leave the range of a clock: a year is as long as ever.
    static constexpr double kNsMax = 365.0 * 86'400 * 1e9;

    [[nodiscard]] static constexpr std::int64_t bounded_ns(double ns) {
        return static_cast<std::int64_t>(ns < kNsMax ? ns : kNsMax);
    }
};

struct RateDecision {
    bool allowed = false;
    std::int64_t arrival_ns = 0;     // the new theoretical arrival time, if allowed
    std::int64_t retry_after_ns = 0; // if not
};

[[nodiscard]] constexpr RateDecision decide_rate(const Rate& rate, std::int64_t arrival_ns,
                                                 std::int64_t now_ns) {
    const std::int64_t expected = arrival_ns > now_ns ? arrival_ns : now_ns;
    const std::int64_t allowed_from = expected - rate.tolerance_ns();
    if (now_ns < allowed_from) return {false, arrival_ns, allowed_from - now_ns};
    return {true, expected + rate.interval_ns(), 0};
}

} // namespace doorbuster
