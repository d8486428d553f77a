#include "domain/rate.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <vector>

namespace doorbuster {
namespace {

constexpr std::int64_t kStartNs = 1'000'000'000'000'000; // a steady clock is far from 0

Rate any_rate() {
    // From one in ten seconds to 100,000 a second: intervals of at least 10 µs.
    const double per_second =
        *rc::gen::inRange(1, 1'000) * *rc::gen::element(0.1, 1.0, 10.0, 100.0);
    return {per_second, static_cast<double>(*rc::gen::inRange(1, 40))};
}

RC_GTEST_PROP(Rate, LetsThroughNoMoreThanBurstPlusRateInAnyWindow, ()) {
    const Rate rate = any_rate();
    const auto gaps = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 150));
    std::int64_t now = kStartNs;
    std::int64_t arrival = 0;
    std::vector<std::int64_t> allowed;
    for (const int percent : gaps) { // of the interval; most requests come too early
        now += rate.interval_ns() * percent / 100;
        for (int twice = 0; twice < 2; ++twice) {
            const RateDecision decision = decide_rate(rate, arrival, now);
            if (!decision.allowed) continue;
            arrival = decision.arrival_ns;
            allowed.push_back(now);
        }
    }
    // The interval is cut to whole nanoseconds.
    const double rounding = 1.0 + 2.0 / static_cast<double>(rate.interval_ns());
    for (std::size_t first = 0; first < allowed.size(); ++first) {
        for (std::size_t last = first; last < allowed.size(); ++last) {
            const double seconds = static_cast<double>(allowed[last] - allowed[first]) * 1e-9;
            const double most = (rate.burst + rate.per_second * seconds) * rounding;
            RC_ASSERT(static_cast<double>(last - first + 1) <= most + 1e-6);
        }
    }
}

RC_GTEST_PROP(Rate, NamesTheFirstInstantAtWhichARefusedRequestIsLetIn, ()) {
    const Rate rate = any_rate();
    std::int64_t arrival = 0;
    RateDecision refused;
    for (int i = 0; i <= 50; ++i) {
        refused = decide_rate(rate, arrival, kStartNs);
        if (!refused.allowed) break;
        arrival = refused.arrival_ns;
    }
    RC_ASSERT(!refused.allowed);
    RC_ASSERT(refused.arrival_ns == arrival); // a refusal changes nothing
    RC_ASSERT(refused.retry_after_ns > 0);
    RC_ASSERT(!decide_rate(rate, arrival, kStartNs + refused.retry_after_ns - 1).allowed);
    RC_ASSERT(decide_rate(rate, arrival, kStartNs + refused.retry_after_ns).allowed);
}

RC_GTEST_PROP(Rate, LetsAWholeBurstThroughAfterIdleness, ()) {
    const Rate rate = any_rate();
    std::int64_t arrival = *rc::gen::inRange<std::int64_t>(0, kStartNs + 1);
    int allowed = 0;
    for (int i = 0; i < 50; ++i) {
        const RateDecision decision = decide_rate(rate, arrival, kStartNs);
        if (!decision.allowed) break;
        arrival = decision.arrival_ns;
        ++allowed;
    }
    // Cutting the interval to whole nanoseconds may let one more through, never one less.
    RC_ASSERT(allowed >= static_cast<int>(rate.burst));
    RC_ASSERT(allowed <= static_cast<int>(rate.burst) + 1);
}

TEST(Rate, AtTheSteadyPaceIsNeverRefused) {
    const Rate rate{50, 1};
    std::int64_t arrival = 0;
    for (int i = 0; i < 1'000; ++i) {
        const RateDecision decision = decide_rate(rate, arrival, kStartNs + i * 20'000'000LL);
        ASSERT_TRUE(decision.allowed) << i;
        arrival = decision.arrival_ns;
    }
}

TEST(Rate, OfAnyNumbersStaysWithinTheClock) {
    const Rate rate{1e-9, 1e12};
    const RateDecision first = decide_rate(rate, 0, kStartNs);
    EXPECT_TRUE(first.allowed);
    EXPECT_GT(first.arrival_ns, kStartNs);
    const RateDecision late = decide_rate(rate, first.arrival_ns + rate.tolerance_ns(), kStartNs);
    EXPECT_FALSE(late.allowed);
    EXPECT_GT(late.retry_after_ns, 0);
}

} // namespace
} // namespace doorbuster
