#include "base/latency.h"

#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace doorbuster {
namespace {

std::uint64_t sum_of_counts(const LatencyBuckets& buckets) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i <= LatencyBuckets::kBounds; ++i) sum += buckets.count(i);
    return sum;
}

TEST(LatencyBuckets, CountABoundInTheBucketThatItEnds) {
    for (std::size_t i = 0; i < LatencyBuckets::kBounds; ++i) {
        LatencyBuckets buckets;
        const std::int64_t bound = LatencyBuckets::kFirstBoundNs << i;
        buckets.add(bound);
        EXPECT_EQ(buckets.count(i), 1U);
        buckets.add(bound + 1);
        EXPECT_EQ(buckets.count(i + 1), 1U);
        EXPECT_DOUBLE_EQ(buckets.sum_seconds(), LatencyBuckets::bound_seconds(i) * 2 + 1e-9);
    }
}

TEST(LatencyBuckets, ReachFromFiftyMicrosecondsToOverASecondAndBeyond) {
    EXPECT_DOUBLE_EQ(LatencyBuckets::bound_seconds(0), 50e-6);
    EXPECT_DOUBLE_EQ(LatencyBuckets::bound_seconds(LatencyBuckets::kBounds - 1), 1.6384);
    LatencyBuckets buckets;
    buckets.add(0);
    buckets.add(3'600'000'000'000);
    EXPECT_EQ(buckets.count(0), 1U);
    EXPECT_EQ(buckets.count(LatencyBuckets::kBounds), 1U);
}

TEST(LatencyBuckets, LoseNothingThatSeveralThreadsAdd) {
    constexpr std::int64_t kEach = 20'000;
    LatencyBuckets buckets;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&buckets] {
            for (std::int64_t i = 0; i < kEach; ++i) buckets.add(i * 1'000);
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(sum_of_counts(buckets), 4U * kEach);
    EXPECT_NEAR(buckets.sum_seconds(), 4e-6 * static_cast<double>(kEach * (kEach - 1) / 2), 1e-6);
}

} // namespace
} // namespace doorbuster
