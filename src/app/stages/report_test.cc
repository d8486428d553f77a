#include "app/stages/report.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <gtest/gtest.h>

#include "app/stages/report_page.h"
#include "app/strategies.h"

namespace doorbuster::stages {
namespace {

Round round(std::uint64_t yes, std::int64_t orders, double yes_per_second) {
    Round round;
    round.load.attempts = 100;
    round.unsent = 500;
    round.load.accepted = yes;
    round.load.rejected[static_cast<std::size_t>(PurchaseOutcome::sold_out)] = 100 - yes;
    round.load.seconds = 2;
    round.load.accepted_latency = LatencyMs{1, 2, 3, 4, 5};
    round.load.accepted_curve.emplace().fill(1.5);
    round.orders = orders;
    round.yes_per_second = yes_per_second;
    round.lost = static_cast<std::int64_t>(yes) - orders;
    round.samples = {{0, 1, 0, 0, 0, 0}, {0.5, 20, 10, 10, 100, 12}};
    return round;
}

Report any_report() {
    Report report;
    report.head.machine = "a machine </script>";
    report.store = "postgresql://shop";
    report.redis = "none";
    report.kafka = "none";
    report.rounds = 3;
    LoadResult load;
    load.shape = article_load();
    load.stages.push_back({"naive", "", {round(12, 12, 5), round(30, 30, 9), round(14, 14, 7)}});
    load.stages.push_back({"cached", "looks at the stock in Redis: give --redis URL", {}});
    load.stages.push_back({"queued", "", {round(40, 10, 80)}});
    report.loads.push_back(std::move(load));
    return report;
}

TEST(StagesReport, TakesTheMedianAndShowsTheSpread) {
    const Report report = any_report();
    const auto yes = [](const Round& each) { return static_cast<double>(each.load.accepted); };
    const Spread spread = spread_of(report.loads[0].stages[0], yes);
    EXPECT_EQ(spread.median, 14);
    EXPECT_EQ(spread.least, 12);
    EXPECT_EQ(spread.most, 30);
    EXPECT_EQ(middle_round(report.loads[0].stages[0]).orders, 14);
}

TEST(StagesReport, AsJsonHoldsEveryFigureAndNoCurveUnlessAsked) {
    const auto json = boost::json::parse(to_json(any_report(), Curves::left_out));
    const auto& load = json.at("loads").at(0);
    EXPECT_EQ(load.at("stock").as_int64(), 10);
    const auto& naive = load.at("stages").at(0);
    EXPECT_EQ(naive.at("yes").at("median").to_number<double>(), 14);
    EXPECT_EQ(naive.at("yes").at("max").to_number<double>(), 30);
    EXPECT_EQ(naive.at("no").at("sold_out").at("median").to_number<double>(), 86);
    EXPECT_FALSE(naive.at("danger").as_string().empty());
    EXPECT_FALSE(naive.as_object().contains("samples"));
    EXPECT_TRUE(load.at("stages").at(1).as_object().contains("left_out"));
    EXPECT_EQ(load.at("stages").at(2).at("yes_but_no_order").at("median").to_number<double>(), 30);
    const auto curves = boost::json::parse(to_json(any_report(), Curves::included));
    const auto& drawn = curves.at("loads").at(0).at("stages").at(0);
    EXPECT_EQ(drawn.at("samples").as_array().size(), 2U);
    EXPECT_EQ(drawn.at("yes_latency").as_array().size(), kCurveQuantiles.size());
    EXPECT_TRUE(drawn.at("no_latency").as_array().empty());
}

TEST(StagesReport, AsCsvHasARowForEachStageThatRanAndAsManyCellsAsNames) {
    const std::string csv = to_csv(any_report());
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < csv.size();) {
        const std::size_t end = csv.find("\r\n", at);
        ASSERT_NE(end, std::string::npos);
        lines.push_back(csv.substr(at, end - at));
        at = end + 2;
    }
    ASSERT_EQ(lines.size(), 3U);
    const auto commas = [](const std::string& line) { return std::ranges::count(line, ','); };
    EXPECT_EQ(commas(lines[1]), commas(lines[0]));
    EXPECT_EQ(commas(lines[2]), commas(lines[0]));
    EXPECT_TRUE(lines[1].starts_with("article,naive,3,0,0,0,100,100,100,500,500,500,14,12,30,"));
}

TEST(StagesReport, ForPeopleSaysWhatWasLeftOutAndWhy) {
    const std::string text = to_text(any_report());
    EXPECT_NE(text.find("14 (12-30)"), std::string::npos) << text;
    EXPECT_NE(text.find("yes but no order"), std::string::npos);
    EXPECT_NE(text.find("cached was left out: it looks at the stock in Redis"), std::string::npos);
    EXPECT_NE(to_markdown(any_report()).find("| no: sold_out | 86 (70-88) | - | 60 |"),
              std::string::npos)
        << to_markdown(any_report());
}

TEST(StagesReport, SaysInEachFormWhoIsLimitedAndWhatWasNeverSent) {
    Report report = any_report();
    report.loads[0].shape = rush_load();
    report.loads[0].stages.push_back({"limited", "", {round(5, 5, 1)}});
    report.loads[0].stages.back().rounds[0].notes = {"given up"};
    const std::string limit = "rate limit: 200 attempts/s in limited; none in the other stages";
    const std::string rate = "10000 attempts/s are due by the clock";
    for (const std::string& text : {to_text(report), to_markdown(report)}) {
        EXPECT_NE(text.find(limit), std::string::npos) << text;
        EXPECT_NE(text.find(rate), std::string::npos) << text;
        EXPECT_NE(text.find("never sent"), std::string::npos) << text;
        EXPECT_NE(text.find("limited, round 1: given up"), std::string::npos) << text;
    }
    EXPECT_NE(to_csv(report).find("rush,limited,1,10000,200,0,"), std::string::npos);
    const auto json = boost::json::parse(to_json(report, Curves::left_out));
    const auto& stages = json.at("loads").at(0).at("stages");
    EXPECT_EQ(stages.at(0).at("limit_per_second").to_number<double>(), 0);
    EXPECT_EQ(stages.at(0).at("unsent").at("median").to_number<double>(), 500);
    EXPECT_EQ(stages.at(3).at("limit_per_second").to_number<double>(), 200);
    EXPECT_EQ(stages.at(3).at("notes").at(0).as_string(), "round 1: given up");
}

TEST(StagesLoads, LimitOnlyTheLimitedStageUnlessALimitIsAskedFor) {
    LoadShape shape = rush_load();
    const auto limits = [&shape] {
        std::vector<double> all;
        for (const StrategyRow& row : strategies()) all.push_back(limit_of(shape, row));
        return all;
    };
    EXPECT_EQ(limits(), (std::vector<double>{0, 0, 200, 0, 0, 0}));
    shape.limits_all = true;
    shape.limit_per_second = 7;
    EXPECT_EQ(limits(), (std::vector<double>{0, 0, 7, 7, 7, 0}));
}

TEST(StagesReport, OfAnEvenNumberOfRoundsTakesTheMiddleOfTheMiddleTwo) {
    const Stage stage{"naive", "", {round(30, 30, 9), round(10, 10, 5)}};
    const auto yes = [](const Round& each) { return static_cast<double>(each.load.accepted); };
    EXPECT_EQ(spread_of(stage, yes).median, 20);
}

TEST(StagesReport, WritesCountsToTheirLastDigit) {
    Report report = any_report();
    report.loads[0].stages[2].rounds[0].load.attempts = 12'345'678;
    EXPECT_NE(to_csv(report).find(",12345678,12345678,12345678,"), std::string::npos);
}

TEST(StagesReport, ShowsTheBadNewsOfOneRoundOfThreeInEachForm) {
    Report report = any_report();
    report.loads[0].stages = {{"optimistic", "", {round(5, 5, 1), round(5, 5, 1), round(5, 4, 1)}}};
    report.loads[0].stages[0].rounds[2].violations = {"oversold by 7"};
    for (const std::string& text : {to_text(report), to_markdown(report)}) {
        EXPECT_NE(text.find("1 (0-1)"), std::string::npos) << "the worst counts\n" << text;
        EXPECT_NE(text.find("optimistic, round 3: oversold by 7"), std::string::npos) << text;
    }
    const auto json = boost::json::parse(to_json(report, Curves::left_out));
    const auto& stage = json.at("loads").at(0).at("stages").at(0);
    EXPECT_EQ(stage.at("violations").at(0).as_string(), "round 3: oversold by 7");
    ASSERT_EQ(json.at("failures").as_array().size(), 2U);
    EXPECT_EQ(failures_of(report)[0],
              "article, optimistic, round 3: 1 buyers have a yes and no order");
}

TEST(StagesReport, FailsForErrorsOfAnyStageButForLosesOnlyOfThoseThatPromiseNone) {
    Report report = any_report();
    EXPECT_TRUE(failures_of(report).empty()) << "queued may lose orders";
    report.loads[0].stages[2].rounds[0].load.errors[0] = 2;
    EXPECT_EQ(failures_of(report), std::vector<std::string>{"article, queued, round 1: 2 errors"});
    report = any_report();
    report.loads[0].stages[0].strategy = "reserve";
    report.loads[0].stages[0].rounds[1].unexpected = 1;
    EXPECT_EQ(failures_of(report).size(), 1U);
    report.loads[0].stages[0].rounds[1].load.rejected[static_cast<std::size_t>(
        PurchaseOutcome::unavailable)] = 1;
    EXPECT_TRUE(failures_of(report).empty()) << "the 503 had named its order";
}

TEST(StagesReport, SaysThatItIsIncompleteAndWhy) {
    Report report = any_report();
    report.incomplete = "stopped";
    report.loads[0].stages.push_back({"reserve", "", {}}); // whose turn never came
    for (const std::string& text : {to_text(report), to_markdown(report)}) {
        EXPECT_NE(text.find("INCOMPLETE, it ended early: stopped"), std::string::npos) << text;
    }
    EXPECT_EQ(boost::json::parse(to_json(report, Curves::left_out)).at("incomplete").as_string(),
              "stopped");
    const auto json = boost::json::parse(to_json(report, Curves::included));
    EXPECT_EQ(json.at("loads").at(0).at("stages").at(3).at("rounds").as_int64(), 0);
    EXPECT_EQ(to_csv(report).find("reserve"), std::string::npos);
}

TEST(StagesReport, AsAPageHoldsItsFiguresAndNothingThatEndsItsScript) {
    const auto page = to_html(any_report());
    if (report_page().empty()) {
        ASSERT_FALSE(page.has_value());
        EXPECT_TRUE(page.error().is(Errc::invalid));
        return;
    }
    ASSERT_TRUE(page.has_value());
    EXPECT_NE(page->find(R"("machine":"a machine \u003c/script>")"), std::string::npos);
    EXPECT_EQ(page->find(R"(type="application/json">"report-data-goes-here")"), std::string::npos);
}

} // namespace
} // namespace doorbuster::stages
