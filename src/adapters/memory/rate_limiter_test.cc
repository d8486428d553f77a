#include "adapters/memory/rate_limiter.h"

#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "runtime/task_fixture.h"

namespace doorbuster::memory {
namespace {

using namespace fixture;

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr std::int64_t kNowNs = 1'000'000'000'000;
constexpr std::int64_t kSecondNs = 1'000'000'000;

Fingerprint print_of(std::uint64_t n) {
    static constexpr Fingerprinter kPrints(3, 4);
    return kPrints.of(std::to_string(n));
}

TEST(SubjectLimit, LimitsEachSubjectForItself) {
    SubjectLimit limit({1, 2}, 1'000);
    EXPECT_TRUE(limit.take(print_of(1), kNowNs).allowed);
    EXPECT_TRUE(limit.take(print_of(1), kNowNs).allowed);
    const RateDecision refused = limit.take(print_of(1), kNowNs);
    EXPECT_FALSE(refused.allowed);
    EXPECT_EQ(refused.retry_after_ns, kSecondNs);
    EXPECT_TRUE(limit.take(print_of(2), kNowNs).allowed);
    EXPECT_TRUE(limit.take(print_of(1), kNowNs + kSecondNs).allowed);
}

TEST(SubjectLimit, ForgetsTheIdleAndOnlyThem) {
    SubjectLimit limit({1, 5}, 1'000'000);
    constexpr std::uint64_t kIdle = 10'000;
    for (std::uint64_t n = 0; n < kIdle; ++n) {
        ASSERT_TRUE(limit.take(print_of(n), kNowNs).allowed);
    }
    EXPECT_EQ(limit.entries(), kIdle);
    const Fingerprint busy = print_of(kIdle);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(limit.take(busy, kNowNs).allowed);
    // Two seconds on, one request's time has passed for the idle, two of five for the busy one.
    const std::int64_t later = kNowNs + 2 * kSecondNs;
    for (std::uint64_t n = 0; n < 2'000; ++n) { // newcomers in every shard
        ASSERT_TRUE(limit.take(print_of(1'000'000 + n), later).allowed);
    }
    EXPECT_EQ(limit.entries(), 2'001U);
    EXPECT_TRUE(limit.take(busy, later).allowed);
    EXPECT_TRUE(limit.take(busy, later).allowed);
    EXPECT_FALSE(limit.take(busy, later).allowed);
}

TEST(SubjectLimit, KeepsItsBoundHoweverManyAreBusy) {
    constexpr std::size_t kMax = 6'400;
    SubjectLimit limit({0.001, 1}, kMax);
    for (std::uint64_t n = 0; n < 5 * kMax; ++n) {
        ASSERT_TRUE(limit.take(print_of(n), kNowNs).allowed);
    }
    EXPECT_LE(limit.entries(), kMax + 64); // a shard's share is rounded up
    EXPECT_GE(limit.entries(), kMax / 2);
}

TEST(SubjectLimit, GivesBackWhatWasRefusedElsewhere) {
    SubjectLimit limit({1, 1}, 1'000);
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(limit.take(print_of(1), kNowNs).allowed);
        limit.give_back(print_of(1));
    }
    EXPECT_TRUE(limit.take(print_of(1), kNowNs).allowed);
    EXPECT_FALSE(limit.take(print_of(1), kNowNs).allowed);
}

class MemoryRateLimiterTest : public testing::Test {
protected:
    std::optional<Refusal> check(MemoryRateLimiter& limiter, std::uint64_t user,
                                 std::uint64_t address, bool counts_for_system = true) {
        RateSubject subject;
        subject.user = print_of(user);
        subject.address = print_of(1'000'000 + address);
        subject.counts_for_system = counts_for_system;
        return run_on(cores_.at(0), limiter.check(subject));
    }

    ManualClock clock_{kNoon};
    RunningCores cores_{3};
};

std::string policy_of(const std::optional<Refusal>& refusal) {
    return refusal && refusal->rate ? refusal->rate->policy : "none";
}

TEST_F(MemoryRateLimiterTest, IsOffUntilALimitIsSet) {
    MemoryRateLimiter off({}, clock_);
    EXPECT_FALSE(off.is_on());
    for (int i = 0; i < 100; ++i) EXPECT_FALSE(check(off, 1, 1));
    EXPECT_TRUE(MemoryRateLimiter({{1, 1}, {}, {}}, clock_).is_on());
    EXPECT_TRUE(MemoryRateLimiter({{}, {1, 1}, {}}, clock_).is_on());
    EXPECT_TRUE(MemoryRateLimiter({{}, {}, {1, 1}}, clock_).is_on());
}

TEST_F(MemoryRateLimiterTest, SaysWhichLimitRefusedAndWhenToComeBack) {
    MemoryRateLimiter limiter({{}, {2, 4}, {}}, clock_);
    for (int i = 0; i < 4; ++i) ASSERT_FALSE(check(limiter, 1, 1));
    const auto refused = check(limiter, 1, 1);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->reason, PurchaseOutcome::rate_limited);
    EXPECT_EQ(refused->retry_after, Duration(500));
    EXPECT_EQ(policy_of(refused), "user");
    EXPECT_EQ(refused->rate->quota, 4);
    EXPECT_EQ(refused->rate->window, Duration(2'000));
    clock_.advance(Duration(499));
    EXPECT_TRUE(check(limiter, 1, 1));
    clock_.advance(Duration(1));
    EXPECT_FALSE(check(limiter, 1, 1));
}

TEST_F(MemoryRateLimiterTest, CountsARequestThatANarrowLimitRefusedAgainstNoWiderOne) {
    MemoryRateLimiter limiter({{1, 2}, {1, 1}, {}}, clock_);
    ASSERT_FALSE(check(limiter, 1, 1));
    for (int i = 0; i < 50; ++i) ASSERT_EQ(policy_of(check(limiter, 1, 1)), "user");
    EXPECT_FALSE(check(limiter, 2, 1)) << "the second of the system's burst is still there";
    EXPECT_EQ(policy_of(check(limiter, 3, 1)), "system");
}

TEST_F(MemoryRateLimiterTest, CountsARequestThatAWideLimitRefusedAgainstNoNarrowOne) {
    MemoryRateLimiter limiter({{1, 1}, {0.01, 1}, {0.01, 1}}, clock_);
    ASSERT_FALSE(check(limiter, 1, 1));
    for (int i = 0; i < 50; ++i) ASSERT_EQ(policy_of(check(limiter, 2, 2)), "system");
    clock_.advance(Duration(1'000));
    EXPECT_FALSE(check(limiter, 2, 2)) << "user and address still have their only request";
    EXPECT_EQ(policy_of(check(limiter, 2, 2)), "ip");
    EXPECT_EQ(policy_of(check(limiter, 2, 3)), "user");
    EXPECT_EQ(policy_of(check(limiter, 4, 3)), "system") << "address 3 was not counted";
}

TEST_F(MemoryRateLimiterTest, CountsOnlyPurchasesForTheSystem) {
    MemoryRateLimiter limiter({{1, 1}, {}, {}}, clock_);
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(check(limiter, 1, 1, false));
    EXPECT_FALSE(check(limiter, 1, 1, true));
    EXPECT_EQ(policy_of(check(limiter, 1, 1, true)), "system");
}

Task<int> try_often(MemoryRateLimiter& limiter, std::uint64_t first_user, int times) {
    int allowed = 0;
    for (int i = 0; i < times; ++i) {
        RateSubject subject;
        subject.user = print_of(first_user + static_cast<std::uint64_t>(i));
        subject.counts_for_system = true;
        if (!co_await limiter.check(subject)) ++allowed;
    }
    co_return allowed;
}

TEST_F(MemoryRateLimiterTest, HoldsTheSystemsLimitExactlyAcrossCores) {
    constexpr int kBurst = 1'000;
    MemoryRateLimiter limiter({{100, kBurst}, {1, 1}, {}}, clock_);
    for (int round = 0; round < 3; ++round) {
        std::vector<std::future<int>> cores;
        for (std::size_t i = 0; i < cores_.size(); ++i) {
            const auto first_user = static_cast<std::uint64_t>(round) * 100'000 + i * 10'000;
            cores.push_back(start_on(cores_.at(i), try_often(limiter, first_user, 2'000)));
        }
        int allowed = 0;
        for (auto& core : cores) allowed += finish(core);
        EXPECT_EQ(allowed, round == 0 ? kBurst : 200); // the clock stands still meanwhile
        clock_.advance(Duration(2'000));
    }
}

} // namespace
} // namespace doorbuster::memory
