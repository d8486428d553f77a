#include "app/expiry_bench.h"

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

#include "app/scratch_folder.h"

namespace doorbuster {
namespace {

TEST(ExpiryBench, SellsEveryUnitAgainAndRecordsHowItWasMeasured) {
    const auto folder = ScratchFolder::make();
    ASSERT_TRUE(folder) << folder.error().message();
    ExpiryBenchOptions options;
    options.folder = folder->path();
    options.orders = 2'000;
    options.singles = 3;
    options.purchases_per_second = 200;
    options.alone_seconds = 0.3;
    options.with_events = true;
    options.version = "v1-test";
    options.command = "doorbuster bench expiry --orders 2000";
    const auto report = run_expiry_bench(options, {});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_GT(report->expired_per_second(), 0);
    EXPECT_EQ(report->together.decided_to_sellable.count, 2'000U);
    EXPECT_EQ(report->together.due_to_sellable.count, 2'000U);
    EXPECT_EQ(report->singles.decided_to_sellable.count, 3U);
    EXPECT_EQ(report->singles.due_to_sellable.count, 3U);
    EXPECT_GT(report->alone.latency.count, 0U);
    EXPECT_EQ(report->alone.refused + report->while_singles.refused, 0U);

    const auto json = boost::json::parse(to_json(*report));
    EXPECT_EQ(json.at("version").as_string(), "v1-test");
    EXPECT_EQ(json.at("command").as_string(), "doorbuster bench expiry --orders 2000");
    EXPECT_FALSE(json.at("machine").as_string().empty());
    EXPECT_EQ(json.at("orders").as_int64(), 2'000);
    EXPECT_GT(json.at("together").at("decided_to_sellable_ms").at("p99").as_double(), 0);
    EXPECT_GT(json.at("purchases").at("alone").at("latency_ms").at("count").as_int64(), 0);
    const std::string text = to_markdown(*report);
    EXPECT_NE(text.find("- command: `doorbuster bench expiry --orders 2000`\n"), std::string::npos);
    EXPECT_NE(text.find("| together, from decision to sellable | 2,000 |"), std::string::npos);
    EXPECT_NE(to_text(*report).find("one by one, from decision to sellable"), std::string::npos);
}

} // namespace
} // namespace doorbuster
