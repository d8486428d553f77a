#include "domain/sale.h"

#include <gtest/gtest.h>

namespace doorbuster {
namespace {

constexpr TimePoint kStart{Duration(10'000)};
constexpr TimePoint kEnd{Duration(20'000)};
constexpr Duration kTick{1};

SaleTerms terms() {
    SaleTerms terms;
    terms.starts_at = kStart;
    terms.ends_at = kEnd;
    return terms;
}

TEST(SaleState, IsOpenFromItsStartUntilJustBeforeItsEnd) {
    EXPECT_EQ(state_of(terms(), kStart - kTick), SaleState::scheduled);
    EXPECT_EQ(state_of(terms(), kStart), SaleState::open);
    EXPECT_EQ(state_of(terms(), kEnd - kTick), SaleState::open);
    EXPECT_EQ(state_of(terms(), kEnd), SaleState::closed);
}

TEST(SaleState, WithoutAnEndStaysOpen) {
    SaleTerms endless = terms();
    endless.ends_at.reset();
    EXPECT_EQ(state_of(endless, TimePoint::max()), SaleState::open);
}

TEST(SaleState, PausedShowsOnlyWhileItWouldBeOpen) {
    SaleTerms paused = terms();
    paused.paused = true;
    EXPECT_EQ(state_of(paused, kStart - kTick), SaleState::scheduled);
    EXPECT_EQ(state_of(paused, kStart), SaleState::paused);
    EXPECT_EQ(state_of(paused, kEnd), SaleState::closed);
}

TEST(SaleState, ClosedByAnOperatorWinsOverEverything) {
    SaleTerms closed = terms();
    closed.paused = true;
    closed.closed_at = kEnd; // even when that clock was ahead of ours
    for (const TimePoint now : {kStart - kTick, kStart, kEnd}) {
        EXPECT_EQ(state_of(closed, now), SaleState::closed);
    }
}

} // namespace
} // namespace doorbuster
