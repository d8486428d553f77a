#include "app/writer_bench.h"

#include <boost/json/parse.hpp>
#include <filesystem>
#include <gtest/gtest.h>

#include "app/scratch_folder.h"

namespace doorbuster {
namespace {

TEST(WriterBench, StoresEveryOrderAndRecordsHowItWasMeasured) {
    const auto folder = ScratchFolder::make();
    ASSERT_TRUE(folder) << folder.error().message();
    WriterBenchOptions options;
    options.folder = folder->path();
    options.orders = 3'000;
    options.sales = 2;
    options.rounds = 1;
    options.version = "v1-test";
    options.command = "doorbuster bench writer --rounds 1";
    const auto report = run_writer_bench(options, {});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_GT(report->appended_per_second(), 0);
    EXPECT_GT(report->stored_per_second(), 0);

    const auto json = boost::json::parse(to_json(*report));
    EXPECT_EQ(json.at("version").as_string(), "v1-test");
    EXPECT_EQ(json.at("command").as_string(), "doorbuster bench writer --rounds 1");
    EXPECT_FALSE(json.at("machine").as_string().empty());
    EXPECT_EQ(json.at("orders").as_int64(), 3'000);
    EXPECT_EQ(json.at("rounds").as_array().size(), 1U);
    const std::string text = to_markdown(*report);
    EXPECT_NE(text.find("- command: `doorbuster bench writer --rounds 1`\n"), std::string::npos);
    EXPECT_NE(text.find("| median | "), std::string::npos);
}

TEST(WriterBench, WritesIntoTheStoreThatIsNamed) {
    const auto folder = ScratchFolder::make();
    ASSERT_TRUE(folder) << folder.error().message();
    const std::string file = folder->path() + "/elsewhere.db";
    WriterBenchOptions options;
    options.folder = folder->path();
    options.orders = 3'000;
    options.rounds = 1;
    options.store_url = "sqlite:" + file;
    const auto report = run_writer_bench(options, {});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_TRUE(std::filesystem::exists(file));
    EXPECT_NE(report->store, "SQLite");
    EXPECT_NE(to_markdown(*report).find(report->store), std::string::npos);

    // It takes its orders from the first round's log for good, and says so at once.
    const auto again = run_writer_bench(options, {});
    ASSERT_FALSE(again);
    EXPECT_FALSE(again.error().is(Errc::timeout)) << again.error().message();
}

TEST(WriterBench, RefusesMoreRoundsThanAStoreTakes) {
    WriterBenchOptions options;
    options.store_url = "sqlite:never-made.db";
    options.rounds = 2;
    const auto report = run_writer_bench(options, {});
    ASSERT_FALSE(report);
    EXPECT_TRUE(report.error().is(Errc::invalid));
}

} // namespace
} // namespace doorbuster
