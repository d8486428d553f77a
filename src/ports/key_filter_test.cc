#include "ports/inventory.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <string>
#include <thread>
#include <vector>

namespace doorbuster {
namespace {

Fingerprint print_of(std::uint64_t n) {
    static constexpr Fingerprinter kPrints(3, 4);
    return kPrints.of(std::to_string(n));
}

RC_GTEST_PROP(KeyFilter, NeverDeniesAKeyThatWasAdded, ()) {
    KeyFilter filter(*rc::gen::inRange<std::size_t>(0, 500)); // often far too small
    std::vector<Fingerprint> added;
    const auto numbers = *rc::gen::arbitrary<std::vector<std::uint64_t>>();
    for (const std::uint64_t n : numbers) {
        // Prints that a filter could find hard, too.
        added.push_back(n % 3 == 0   ? Fingerprint{n, n}
                        : n % 3 == 1 ? Fingerprint{n, 0}
                                     : print_of(n));
        filter.add(added.back());
        for (const Fingerprint& key : added) RC_ASSERT(filter.may_contain(key));
    }
}

TEST(KeyFilter, IsWrongForLessThanOnePercentOfOthersWhenItIsFull) {
    // 682 and 87,381: 12 bits a key just fit into a power of two, so there is no slack.
    for (const std::uint64_t keys : {682ULL, 10'000ULL, 87'381ULL, 100'000ULL}) {
        KeyFilter filter(keys);
        for (std::uint64_t n = 0; n < keys; ++n) filter.add(print_of(n));
        constexpr std::uint64_t kOthers = 200'000;
        std::uint64_t wrong = 0;
        for (std::uint64_t n = 0; n < kOthers; ++n) {
            if (filter.may_contain(print_of(1'000'000 + n))) ++wrong;
        }
        EXPECT_LT(wrong, kOthers / 100) << keys << " keys";
    }
}

TEST(KeyFilter, GrowsAndIsStillWrongForFewWhenItHoldsFarMoreThanExpected) {
    constexpr std::uint64_t kKeys = 100'000; // five filters of up to 131,072 keys
    KeyFilter filter(0);
    for (std::uint64_t n = 0; n < kKeys; ++n) filter.add(print_of(n));
    for (std::uint64_t n = 0; n < kKeys; ++n) ASSERT_TRUE(filter.may_contain(print_of(n)));
    constexpr std::uint64_t kOthers = 200'000;
    std::uint64_t wrong = 0;
    for (std::uint64_t n = 0; n < kOthers; ++n) {
        if (filter.may_contain(print_of(1'000'000 + n))) ++wrong;
    }
    EXPECT_LT(wrong, kOthers * 5 / 100);
}

TEST(KeyFilter, DeniesEverythingWhileItIsEmpty) {
    const KeyFilter filter(100);
    for (std::uint64_t n = 0; n < 1'000; ++n) EXPECT_FALSE(filter.may_contain(print_of(n)));
}

TEST(KeyFilter, ShowsAKeyToOtherCoresAsSoonAsTheyCanKnowOfIt) {
    constexpr std::uint64_t kKeys = 20'000;
    KeyFilter filter(100); // grows meanwhile
    std::atomic<std::uint64_t> added{0};
    std::thread owner([&] {
        for (std::uint64_t n = 0; n < kKeys; ++n) {
            filter.add(print_of(n));
            added.store(n + 1, std::memory_order_release);
        }
    });
    std::uint64_t denied = 0;
    for (std::uint64_t seen = 0; seen < kKeys;) {
        seen = added.load(std::memory_order_acquire);
        if (seen > 0 && !filter.may_contain(print_of(seen - 1))) ++denied;
        if (seen > 0 && !filter.may_contain(print_of((seen - 1) / 2))) ++denied;
    }
    owner.join();
    EXPECT_EQ(denied, 0U);
}

} // namespace
} // namespace doorbuster
