#include "base/histogram.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <vector>

namespace doorbuster {
namespace {

std::unique_ptr<Histogram> make() { return std::make_unique<Histogram>(); }

TEST(Histogram, OfNothingIsZero) {
    const auto h = make();
    EXPECT_EQ(h->count(), 0U);
    EXPECT_EQ(h->max(), 0U);
    EXPECT_EQ(h->percentile(0.99), 0U);
}

TEST(Histogram, CountsSmallValuesExactly) {
    const auto h = make();
    for (std::uint64_t v = 1; v <= 200; ++v) h->record(v);
    EXPECT_EQ(h->percentile(0.5), 100U);
    EXPECT_EQ(h->percentile(0.99), 198U);
    EXPECT_EQ(h->percentile(0), 1U);
    EXPECT_EQ(h->percentile(1), 200U);
}

TEST(Histogram, PutsEveryValueIntoTheBucketThatHoldsIt) {
    for (std::uint64_t v = 0; v < Histogram::kValueMax; v += 1 + v / 1000) {
        const std::size_t bucket = histogram::bucket_of(v);
        ASSERT_LE(v, histogram::upper_end(bucket));
        if (bucket > 0) {
            ASSERT_GT(v, histogram::upper_end(bucket - 1));
        }
    }
}

TEST(Histogram, IsNeverTooLowAndLessThanOnePercentTooHighUpToAnHour) {
    std::mt19937_64 random(1);
    std::uniform_real_distribution<double> exponent(0, std::log(3.6e12));
    std::vector<std::uint64_t> values;
    const auto h = make();
    for (int i = 0; i < 20'000; ++i) {
        values.push_back(static_cast<std::uint64_t>(std::exp(exponent(random))));
        h->record(values.back());
    }
    std::ranges::sort(values);
    for (const double q : {0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
        const auto rank = static_cast<std::size_t>(std::ceil(q * 20'000.0));
        const std::uint64_t exact = values[rank - 1];
        EXPECT_GE(h->percentile(q), exact);
        EXPECT_LE(static_cast<double>(h->percentile(q)), static_cast<double>(exact) * 1.008 + 1);
    }
}

TEST(Histogram, KeepsTheExactMaximumBeyondItsRange) {
    const auto h = make();
    h->record(5);
    h->record(Histogram::kValueMax * 3);
    EXPECT_EQ(h->max(), Histogram::kValueMax * 3);
    EXPECT_EQ(h->percentile(1), Histogram::kValueMax * 3);
    EXPECT_EQ(h->percentile(0.5), 5U);
}

TEST(Histogram, MergedIsAsIfOneHadSeenAll) {
    const auto a = make();
    const auto b = make();
    const auto both = make();
    std::mt19937_64 random(7);
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t v = random() % 50'000'000;
        (i % 3 == 0 ? a : b)->record(v);
        both->record(v);
    }
    a->merge(*b);
    EXPECT_EQ(a->count(), both->count());
    EXPECT_EQ(a->max(), both->max());
    for (const double q : {0.5, 0.9, 0.99, 0.999}) EXPECT_EQ(a->percentile(q), both->percentile(q));
}

} // namespace
} // namespace doorbuster
