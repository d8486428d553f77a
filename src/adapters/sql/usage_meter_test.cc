#include "adapters/sql/usage_meter.h"

#include <gtest/gtest.h>

namespace doorbuster::sql {
namespace {

TEST(RecentPeak, IsTheGreatestOfThisWindowAndTheLast) {
    RecentPeak peak;
    peak.note(10, 3);
    peak.note(10, 7);
    peak.note(10, 5);
    EXPECT_EQ(peak.read(10), 7U);
    peak.note(11, 2);
    EXPECT_EQ(peak.read(11), 7U);
}

TEST(RecentPeak, ForgetsWhatIsTwoWindowsAgo) {
    RecentPeak peak;
    peak.note(10, 7);
    peak.note(12, 1);
    EXPECT_EQ(peak.read(12), 1U);
    EXPECT_EQ(peak.read(14), 0U);
}

TEST(UsageMeter, SeesThoseWhoAreAtWorkNowHoweverLongTheyAre) {
    UsageMeter meter;
    EXPECT_EQ(meter.read().in_use_max, 0U);
    {
        const AtWork one(meter);
        const AtWork other(meter);
        EXPECT_EQ(meter.read().in_use_max, 2U);
    }
    EXPECT_EQ(meter.read().in_use_max, 2U) << "a moment ago";
    EXPECT_GT(meter.read().in_use_ns, 0);
}

} // namespace
} // namespace doorbuster::sql
