#include "app/load/plan.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <vector>

namespace doorbuster::load {
namespace {

TEST(Permutation, TakesEveryNumberOnceWhateverTheSize) {
    for (const std::uint64_t size : {1U, 2U, 3U, 7U, 64U, 65U, 1000U, 60'000U}) {
        const Permutation order(size, 42);
        std::vector<bool> seen(size, false);
        for (std::uint64_t i = 0; i < size; ++i) {
            const std::uint64_t x = order.at(i);
            ASSERT_LT(x, size);
            ASSERT_FALSE(seen[x]);
            seen[x] = true;
        }
    }
}

TEST(Permutation, LooksRandomAndDependsOnTheSeed) {
    const Permutation a(10'000, 1);
    const Permutation b(10'000, 2);
    int same = 0;
    int in_order = 0;
    for (std::uint64_t i = 0; i + 1 < 10'000; ++i) {
        if (a.at(i) == b.at(i)) ++same;
        if (a.at(i) < a.at(i + 1)) ++in_order;
    }
    EXPECT_LT(same, 50);
    EXPECT_GT(in_order, 4'500);
    EXPECT_LT(in_order, 5'500);
}

TEST(AttemptPlan, GivesEveryBuyerAllAttemptsAmongTheOthers) {
    const AttemptPlan plan({.buyers = 1'000, .attempts_per_buyer = 3, .seed = 5});
    std::map<std::uint64_t, int> attempts;
    std::set<std::uint64_t> early;
    for (std::uint64_t i = 0; i < plan.size(); ++i) {
        const Attempt a = plan.at(i);
        ++attempts[a.buyer];
        EXPECT_EQ(a.quantity, 1);
        if (i < 1'000) early.insert(a.buyer);
    }
    EXPECT_EQ(attempts.size(), 1'000U);
    EXPECT_EQ(attempts.begin()->first, 1U);
    EXPECT_TRUE(std::ranges::all_of(attempts, [](const auto& a) { return a.second == 3; }));
    // In a random order some 70 % of the buyers come in the first third; in turns all of them.
    EXPECT_GT(early.size(), 600U);
    EXPECT_LT(early.size(), 800U);
}

TEST(AttemptPlan, KeepsABuyersQuantityWhereAKeyBindsIt) {
    const AttemptPlan keyed({.buyers = 200,
                             .attempts_per_buyer = 4,
                             .quantity_min = 1,
                             .quantity_max = 3,
                             .same_quantity_per_buyer = true});
    std::map<std::uint64_t, std::set<Units>> quantities;
    std::set<Units> all;
    for (std::uint64_t i = 0; i < keyed.size(); ++i) {
        const Attempt a = keyed.at(i);
        quantities[a.buyer].insert(a.quantity);
        all.insert(a.quantity);
    }
    for (const auto& [buyer, seen] : quantities) EXPECT_EQ(seen.size(), 1U);
    EXPECT_EQ(all, (std::set<Units>{1, 2, 3}));
}

} // namespace
} // namespace doorbuster::load
