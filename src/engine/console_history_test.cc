#include "engine/console_history.h"

#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <gtest/gtest.h>
#include <string_view>

namespace doorbuster {
namespace {

using namespace std::string_view_literals;

constexpr std::array kColumns = {"sold"sv, "left"sv};

TimePoint at(std::int64_t ms) { return TimePoint(Duration(ms)); }

boost::json::object parsed(const ConsoleHistory& history) {
    return boost::json::parse(history.json()).as_object();
}

TEST(ConsoleHistory, ShowsEveryPointOfAShortSale) {
    ConsoleHistory history(kColumns);
    history.add(at(1'000), {0, 10});
    history.add(at(1'500), {4, 6});
    history.add(at(2'000), {10, 0});
    EXPECT_EQ(history.json(), R"({"recent":{"t":[1000,1500,2000],"sold":[0,4,10],"left":[10,6,0]},)"
                              R"("whole":{"t":[1000,1500,2000],"sold":[0,4,10],"left":[10,6,0]}})");
}

TEST(ConsoleHistory, WritesWholeNumbersFractionsAndWhatIsUnknown) {
    ConsoleHistory history(kColumns);
    history.add(at(1'000), {ConsoleHistory::kUnknown, 1'234'567'890'123.0});
    history.add(at(1'500), {0.12345, -1});
    EXPECT_TRUE(history.json().starts_with(
        R"({"recent":{"t":[1000,1500],"sold":[null,0.123],"left":[1234567890123,-1]})"));
}

TEST(ConsoleHistory, DrawsNoSlopeOverARest) {
    ConsoleHistory history(kColumns);
    history.stood_still_until(at(500)); // nothing stood there yet
    history.add(at(1'000), {1, 9});
    history.stood_still_until(at(60'000));
    history.add(at(60'500), {2, 8});
    const auto recent = parsed(history).at("recent").as_object();
    EXPECT_EQ(boost::json::serialize(recent.at("t")), "[1000,60000,60500]");
    EXPECT_EQ(boost::json::serialize(recent.at("sold")), "[1,1,2]");
}

TEST(ConsoleHistory, TakesNoPointThatIsNotLater) {
    ConsoleHistory history(kColumns);
    history.add(at(1'000), {1, 9});
    history.add(at(1'000), {2, 8});
    history.add(at(900), {3, 7});
    EXPECT_EQ(history.recent(), 1U);
    EXPECT_EQ(history.whole(), 1U);
}

TEST(ConsoleHistory, StaysSmallAndKeepsTheFirstAndTheLastPoint) {
    ConsoleHistory history(kColumns);
    for (std::int64_t i = 0; i < 100'000; ++i) {
        history.add(at(i * 500), {static_cast<double>(i), 0});
        ASSERT_LE(history.whole(), ConsoleHistory::kWholeMax);
        ASSERT_LE(history.recent(), ConsoleHistory::kRecentMax);
    }
    const auto all = parsed(history);
    const auto& whole = all.at("whole").as_object().at("t").as_array();
    EXPECT_EQ(whole.front().to_number<std::int64_t>(), 0);
    EXPECT_EQ(whole.back().to_number<std::int64_t>(), 99'999 * 500);
    EXPECT_GT(whole.size(), ConsoleHistory::kWholeMax / 4);
    for (std::size_t i = 1; i < whole.size(); ++i) {
        ASSERT_LT(whole[i - 1].to_number<std::int64_t>(), whole[i].to_number<std::int64_t>());
    }
    const auto& recent = all.at("recent").as_object().at("t").as_array();
    EXPECT_EQ(recent.size(), ConsoleHistory::kRecentMax);
    EXPECT_EQ(recent.back().to_number<std::int64_t>() - recent.front().to_number<std::int64_t>(),
              static_cast<std::int64_t>(ConsoleHistory::kRecentMax - 1) * 500);
}

} // namespace
} // namespace doorbuster
