#include "app/load/peak.h"

#include <boost/json.hpp>
#include <cstdio>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <unistd.h>

#include "app/load/fake_shop.h"

namespace doorbuster {
namespace {

using load::FakeShop;

PeakOptions options_for(const FakeShop& shop) {
    PeakOptions o;
    o.url = shop.url();
    o.connections = {2, 4};
    o.rounds = 2;
    o.warm_up = Duration(50);
    o.closed_for = Duration(100);
    o.open_for = Duration(200);
    o.version = "v1-test";
    o.command = "doorbuster bench peak";
    return o;
}

std::string content_of(const std::string& path) {
    std::ifstream in(path);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

TEST(Peak, MeasuresOnSalesOfItsOwnAndReportsBothLoops) {
    FakeShop shop({});
    const std::atomic<bool> stop = false;
    std::vector<std::string> steps;
    const auto report =
        run_peak(options_for(shop), stop, [&](std::string_view step, const LoadProgress&) {
            if (steps.empty() || steps.back() != step) {
                steps.emplace_back(step);
            }
        });
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->errors, 0U);
    EXPECT_EQ(shop.sales().size(), 1U + 1U + 4U + 1U); // demo, warm-up, rounds, open loop
    for (const std::string& sale : shop.sales()) {
        if (sale == "demo") continue;
        EXPECT_TRUE(sale.starts_with("bench-peak-")) << sale;
        EXPECT_TRUE(shop.is_closed(sale)) << sale;
    }
    EXPECT_EQ(steps.size(), 6U);
    EXPECT_EQ(steps.front(), "warm-up");
    ASSERT_EQ(report->points.size(), 2U);
    EXPECT_EQ(report->points[0].rounds.size(), 2U);
    EXPECT_GT(report->peak_accepted_per_second, 0);
    EXPECT_DOUBLE_EQ(report->open_rate, report->peak_accepted_per_second / 2);
    EXPECT_GT(report->open.accepted, 0U);

    const boost::json::value json = boost::json::parse(to_json(*report));
    EXPECT_EQ(json.at("version").as_string(), "v1-test");
    EXPECT_EQ(json.at("points").as_array().size(), 2U);
    EXPECT_TRUE(json.at("open").at("accepted_latency_ms").at("p999").is_double());
    EXPECT_FALSE(json.at("machine").as_string().empty());

    const std::string path = testing::TempDir() + "peak-report-" + std::to_string(::getpid());
    ASSERT_TRUE(write_report(*report, path + ".md"));
    EXPECT_EQ(content_of(path + ".md"), to_markdown(*report));
    EXPECT_EQ(content_of(path + ".json"), to_json(*report) + '\n');
    std::remove((path + ".md").c_str());
    std::remove((path + ".json").c_str());
}

TEST(Peak, ClosesItsSaleWhenItIsStopped) {
    FakeShop shop({});
    std::atomic<bool> stop = false;
    const auto report = run_peak(options_for(shop), stop,
                                 [&](std::string_view, const LoadProgress&) { stop.store(true); });
    ASSERT_FALSE(report);
    ASSERT_EQ(shop.sales().size(), 2U); // demo, warm-up
    for (const std::string& sale : shop.sales()) {
        EXPECT_EQ(shop.is_closed(sale), sale != "demo") << sale;
    }
}

TEST(Peak, TakesTheRoundInTheMiddle) {
    PeakPoint point;
    for (const std::uint64_t accepted : {900U, 100U, 500U}) {
        LoadReport round;
        round.accepted = accepted;
        round.seconds = 1;
        point.rounds.push_back(round);
    }
    EXPECT_EQ(point.median().accepted, 500U);
}

TEST(Peak, SaysWhenItIsStoppedOrNothingIsAccepted) {
    FakeShop shop({});
    PeakOptions options = options_for(shop);
    const std::atomic<bool> is_stopped = true;
    const auto stopped = run_peak(options, is_stopped, {});
    ASSERT_FALSE(stopped);
    EXPECT_TRUE(stopped.error().is(Errc::unavailable));

    const std::atomic<bool> stop = false;
    shop.set_sale("demo", {.stock = 0, .remaining = 0});
    options.sale = "demo";
    const auto nothing = run_peak(options, stop, {});
    ASSERT_FALSE(nothing);
    EXPECT_TRUE(nothing.error().is(Errc::invalid));

    options.connections.clear();
    EXPECT_TRUE(run_peak(options, stop, {}).error().is(Errc::invalid));
}

} // namespace
} // namespace doorbuster
