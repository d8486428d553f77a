#include "domain/time.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <string>

namespace doorbuster {
namespace {

constexpr std::int64_t kLastMs = 253'402'300'799'999; // 9999-12-31T23:59:59.999Z

TimePoint at(std::int64_t ms) { return TimePoint(Duration(ms)); }

RC_GTEST_PROP(Rfc3339, ReadsWhatItWrites, ()) {
    const TimePoint time = at(*rc::gen::inRange<std::int64_t>(0, kLastMs + 1));
    const std::string text = to_rfc3339(time);
    RC_ASSERT(text.size() == 24U);
    RC_ASSERT(parse_rfc3339(text) == time);
}

RC_GTEST_PROP(Rfc3339, IsOrderedAsTime, ()) {
    const std::int64_t a = *rc::gen::inRange<std::int64_t>(0, kLastMs + 1);
    const std::int64_t b = *rc::gen::inRange<std::int64_t>(0, kLastMs + 1);
    RC_ASSERT((a < b) == (to_rfc3339(at(a)) < to_rfc3339(at(b))));
}

RC_GTEST_PROP(Rfc3339, ReadsTheSameInstantInEveryOffset, ()) {
    constexpr std::int64_t kDayMs = 86'400'000;
    const std::int64_t utc = *rc::gen::inRange<std::int64_t>(kDayMs, kLastMs - kDayMs);
    const int offset = *rc::gen::inRange(-(23 * 60 + 59), 23 * 60 + 60); // minutes
    std::string text = to_rfc3339(at(utc + std::int64_t{offset} * 60'000));
    text.pop_back();
    const auto two = [](int n) { return (n < 10 ? "0" : "") + std::to_string(n); };
    text += offset < 0 ? '-' : '+';
    text += two(std::abs(offset) / 60) + ":" + two(std::abs(offset) % 60);
    RC_ASSERT(parse_rfc3339(text) == at(utc));
}

RC_GTEST_PROP(Rfc3339, NeverReadsATimeThatItCannotWrite, ()) {
    // A good text with some characters changed: many are still times.
    std::string text = *rc::gen::element<std::string>(
        "9999-12-31T23:59:59.999Z", "1970-01-01T00:00:00+00:00", "2024-02-29T23:59:60-23:59");
    const auto changes = *rc::gen::inRange(0, 4);
    for (int i = 0; i < changes; ++i) {
        const auto place = *rc::gen::inRange<std::size_t>(0, text.size());
        text[place] = *rc::gen::element('0', '1', '2', '6', '9', '-', '+', ':', '.', 'T', 'Z');
    }
    if (const auto time = parse_rfc3339(text)) RC_ASSERT(parse_rfc3339(to_rfc3339(*time)) == time);
}

TEST(Rfc3339, ReadsTheFormsThatTheStandardAllows) {
    const TimePoint noon = at(1'732'708'800'000); // 2024-11-27T12:00:00Z
    for (const char* text :
         {"2024-11-27T12:00:00Z", "2024-11-27t12:00:00z", "2024-11-27 12:00:00Z",
          "2024-11-27T12:00:00.0Z", "2024-11-27T12:00:00+00:00", "2024-11-27T12:00:00-00:00",
          "2024-11-27T13:30:00+01:30", "2024-11-27T00:30:00-11:30"}) {
        EXPECT_EQ(parse_rfc3339(text), noon) << text;
    }
    EXPECT_EQ(parse_rfc3339("2024-11-27T12:00:00.5Z"), noon + Duration(500));
    EXPECT_EQ(parse_rfc3339("2024-11-27T12:00:00.0019999Z"), noon + Duration(1));
}

TEST(Rfc3339, ReadsALeapSecondAsTheNextMinute) {
    EXPECT_EQ(parse_rfc3339("2016-12-31T23:59:60Z"), parse_rfc3339("2017-01-01T00:00:00Z"));
    EXPECT_FALSE(parse_rfc3339("2016-12-31T23:59:61Z"));
}

TEST(Rfc3339, EndsWhereItsYearsEnd) {
    EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:00.000Z"), at(0));
    EXPECT_EQ(parse_rfc3339("9999-12-31T23:59:59.999Z"), at(kLastMs));
    EXPECT_FALSE(parse_rfc3339("1969-12-31T23:59:59.999Z"));
    EXPECT_FALSE(parse_rfc3339("1970-01-01T00:00:00+00:01"));
    EXPECT_FALSE(parse_rfc3339("0000-01-01T00:00:00Z"));
    EXPECT_FALSE(parse_rfc3339("9999-12-31T23:59:60Z"));
    EXPECT_FALSE(parse_rfc3339("9999-12-31T23:59:59-00:01"));
}

TEST(Rfc3339, RefusesDatesThatDoNotExist) {
    EXPECT_TRUE(parse_rfc3339("2000-02-29T00:00:00Z"));
    for (const char* text : {"2023-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2024-04-31T00:00:00Z",
                             "2024-00-10T00:00:00Z", "2024-13-10T00:00:00Z", "2024-01-00T00:00:00Z",
                             "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z"}) {
        EXPECT_FALSE(parse_rfc3339(text)) << text;
    }
}

TEST(Rfc3339, RefusesEverythingElse) {
    for (const char* text :
         {"", "now", "2024-11-27", "2024-11-27T12:00:00", "2024-11-27T12:00Z", "24-11-27T12:00:00Z",
          "2024-11-27T12:00:00.Z", "2024-11-27T12:00:00,5Z", "2024-11-27T12:00:00Zx",
          "2024-11-27T12:00:00Z ", " 2024-11-27T12:00:00Z", "2024-11-27T12:00:00+0130",
          "2024-11-27T12:00:00+24:00", "2024-11-27T12:00:00+01:60", "2024-11-27T12:00:00+01",
          "2024-1-27T12:00:00Z", "+2024-11-27T12:00:00Z", "2024-11-27T-1:00:00Z", "1732708800"}) {
        EXPECT_FALSE(parse_rfc3339(text)) << text;
    }
}

RC_GTEST_PROP(Rfc3339, SurvivesAnyBytes, ()) {
    const auto text = *rc::gen::arbitrary<std::string>();
    RC_ASSERT((!parse_rfc3339(text) || text.size() >= 20));
}

} // namespace
} // namespace doorbuster
