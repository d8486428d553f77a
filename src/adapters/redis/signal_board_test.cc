#include "adapters/redis/signal_board.h"

#include <gtest/gtest.h>

namespace doorbuster::redis {
namespace {

constexpr SaleNo kSale{5};

SaleStatus status(std::string_view line) {
    const auto parsed = parse_status(line);
    EXPECT_TRUE(parsed) << line;
    return parsed.value_or(SaleStatus());
}

TEST(SignalBoard, ShowsOneSaleOnceForAllWhoAttachIt) {
    SignalBoard board({});
    const auto signals = board.show(kSale, status("ok 3 10 1 7"));
    EXPECT_EQ(signals->remaining, 7);
    EXPECT_FALSE(signals->is_cold);
    EXPECT_EQ(board.show(kSale, status("ok 4 10 1 9")), signals);
    EXPECT_EQ(signals->remaining, 9);
}

TEST(SignalBoard, LetsNoLateAnswerRaiseSoldOutAgain) {
    SignalBoard board({});
    const auto signals = board.show(kSale, status("ok 3 10 1 1"));
    board.observe(kSale, status("ok 3 11 1 0"));
    EXPECT_TRUE(signals->sold_out());
    board.observe(kSale, status("ok 3 12 1 1")); // a unit came back
    EXPECT_FALSE(signals->sold_out());
    board.observe(kSale, status("ok 3 11 1 0")); // said before, heard now
    EXPECT_FALSE(signals->sold_out());
    board.observe(kSale, status("ok 3 12 2 5")); // terms alone count, too
    EXPECT_EQ(signals->remaining, 5);
    board.hear("5 stock ok 3 12 1 1");
    EXPECT_EQ(signals->remaining, 5);
}

TEST(SignalBoard, IsColdWhenSomebodyBuildsOrHasInstalledAnotherEpoch) {
    std::vector<SaleNo> cold;
    std::vector<Epoch> installed;
    SignalBoard board({{},
                       [&](SaleNo sale) { cold.push_back(sale); },
                       [&](SaleNo, Epoch epoch) { installed.push_back(epoch); }});
    const auto signals = board.show(kSale, status("ok 3 10 1 1"));
    board.hear("5 cold cold building 3"); // what is attached was built since
    EXPECT_FALSE(signals->is_cold);
    board.hear("5 cold cold building 4");
    board.hear("5 cold cold building 4");
    EXPECT_TRUE(signals->is_cold);
    EXPECT_EQ(cold.size(), 1U) << "once";
    EXPECT_TRUE(board.shown(SignalBoard::Which::all).empty());
    board.hear("5 installed ok 4 11 1 9");
    EXPECT_TRUE(signals->is_cold) << "until it is attached";
    EXPECT_EQ(signals->remaining, 1);
    ASSERT_EQ(installed.size(), 1U);
    EXPECT_EQ(installed[0], Epoch(4));
    board.show(kSale, status("ok 4 11 1 9"));
    EXPECT_FALSE(signals->is_cold);
    EXPECT_EQ(board.shown(SignalBoard::Which::all).size(), 1U);
    board.observe(kSale, status("ok 3 99 1 0"));
    board.observe(kSale, status("cold restarted 3"));
    EXPECT_FALSE(signals->is_cold) << "these are from before";
    EXPECT_EQ(signals->remaining, 9);
    board.observe(kSale, status("cold restarted 4"));
    EXPECT_TRUE(signals->is_cold);
    board.show(kSale, status("ok 5 12 1 9"));
    board.observe(kSale, status("cold missing 0"));
    EXPECT_TRUE(signals->is_cold);
    EXPECT_EQ(cold.size(), 3U);
}

TEST(SignalBoard, IsColdWhenARedisThatIsAskedNowKnowsOnlyAnOlderEpoch) {
    SignalBoard board({});
    const auto before = board.shows(kSale);
    const auto signals = board.show(kSale, status("ok 3 10 1 1"));
    board.observe(kSale, status("cold failed_over 2"), before); // asked before it was shown
    EXPECT_FALSE(signals->is_cold);
    const auto asked = board.shows(kSale);
    board.observe(kSale, status("cold failed_over 2"), asked); // the replica never had epoch 3
    EXPECT_TRUE(signals->is_cold);
    board.show(kSale, status("ok 3 10 1 1"));
    board.observe(kSale, status("ok 2 9 1 4"), asked);
    EXPECT_FALSE(signals->is_cold);
    board.observe(kSale, status("ok 2 9 1 4"), board.shows(kSale));
    EXPECT_TRUE(signals->is_cold);
    EXPECT_EQ(signals->remaining, 1);
    board.show(kSale, status("ok 3 10 1 1"));
    board.observe(kSale, status("cold building 3"), board.shows(kSale));
    EXPECT_TRUE(signals->is_cold);
}

TEST(SignalBoard, TellsOfTermsThatSomebodyElseChanged) {
    std::vector<std::int64_t> versions;
    SignalBoard board({[&](SaleNo, std::int64_t version) { versions.push_back(version); }, {}, {}});
    board.show(kSale, status("ok 3 10 4 1"));
    board.observe(kSale, status("ok 3 11 4 1"));
    board.knows_terms(kSale, 5); // changed here
    board.hear("5 terms ok 3 11 5 2");
    EXPECT_TRUE(versions.empty());
    board.hear("5 terms ok 3 11 6 3");
    board.observe(kSale, status("ok 3 11 6 3"));
    EXPECT_EQ(versions, std::vector<std::int64_t>(1, 6));
}

TEST(SignalBoard, IgnoresWhatItDoesNotUnderstandAndSalesThatNobodyShows) {
    SignalBoard board({});
    for (const char* text :
         {"", "5", "5 stock", "5 stock ok", "5 stock ok 3 10 1", "x stock ok 3 1 1 1",
          "5 stock warm 3", "5 cold cold odd 3", "77 stock ok 3 10 1 1"}) {
        board.hear(text);
    }
    EXPECT_TRUE(board.shown(SignalBoard::Which::all).empty());
    const auto signals = board.show(kSale, status("ok 3 10 1 0"));
    EXPECT_EQ(board.shown(SignalBoard::Which::sold_out).size(), 1U);
    EXPECT_TRUE(signals->may_be_bound({1, 2})) << "others bind keys, too";
}

} // namespace
} // namespace doorbuster::redis
