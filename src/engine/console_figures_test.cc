#include "engine/console_figures.h"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <gtest/gtest.h>

namespace doorbuster {
namespace {

SaleFigures a_sale() {
    SaleTerms terms;
    terms.id = "demo";
    terms.title = "</script>\"quoted\"\n";
    terms.stock = 100;
    SaleFigures sale;
    sale.terms = std::make_shared<const SaleTerms>(terms);
    sale.state = SaleState::open;
    sale.remaining = 40;
    sale.outcomes[static_cast<std::size_t>(PurchaseOutcome::accepted)] = 60;
    sale.outcomes[static_cast<std::size_t>(PurchaseOutcome::sold_out)] = 5;
    sale.outcomes[static_cast<std::size_t>(PurchaseOutcome::replayed)] = 1;
    sale.admitted = 62;
    sale.reserved = 60;
    sale.orders[static_cast<std::size_t>(OrderStatus::confirmed)] = 50;
    sale.orders[static_cast<std::size_t>(OrderStatus::paid)] = 8;
    return sale;
}

TEST(ConsoleFigures, AddUpAttemptsAndStoredOrders) {
    const auto json = boost::json::parse(figures_json(a_sale())).as_object();
    EXPECT_EQ(json.at("attempts").as_int64(), 66);
    EXPECT_EQ(json.at("admitted").as_int64(), 62);
    EXPECT_EQ(json.at("reserved").as_int64(), 60);
    EXPECT_EQ(json.at("stored").as_int64(), 58);
    EXPECT_EQ(json.at("remaining").as_int64(), 40);
    EXPECT_EQ(json.at("outcomes").as_object().at("accepted").as_int64(), 60);
    EXPECT_EQ(json.at("orders").as_object().at("paid").as_int64(), 8);
    EXPECT_EQ(json.at("title").as_string(), "</script>\"quoted\"\n");
}

TEST(ConsoleFigures, DoNotTakeStockThatIsNotCountedForNone) {
    SaleFigures sale = a_sale();
    sale.is_cold = true;
    const auto json = boost::json::parse(figures_json(sale)).as_object();
    EXPECT_FALSE(json.at("counted").as_bool());
    EXPECT_TRUE(json.at("remaining").is_null());
}

TEST(ConsoleFigures, TellPurchasesThatWriteTheirOrdersFromOthersThatWrite) {
    ProcessFigures process;
    auto json = boost::json::parse(figures_json(process)).as_object();
    EXPECT_FALSE(json.at("writes_here").as_bool());
    EXPECT_TRUE(json.at("has_log").as_bool());
    process.is_direct = true;
    json = boost::json::parse(figures_json(process)).as_object();
    EXPECT_TRUE(json.at("writes_here").as_bool());
    EXPECT_FALSE(json.at("has_log").as_bool());
}

// A line end would end the event that carries it.
TEST(ConsoleFigures, StandOnOneLine) {
    EXPECT_EQ(figures_json(a_sale()).find('\n'), std::string::npos);
}

TEST(ConsoleFigures, NoticeWhatMoves) {
    const SaleFigures before = a_sale();
    SaleFigures after = before;
    EXPECT_TRUE(after.same_as(before));
    after.remaining = 39;
    EXPECT_FALSE(after.same_as(before));
    after = before;
    after.state = SaleState::closed; // it ended by itself
    EXPECT_FALSE(after.same_as(before));
    after = before;
    after.orders[static_cast<std::size_t>(OrderStatus::paid)] = 9;
    EXPECT_FALSE(after.same_as(before));
}

TEST(LatencyCounts, InterpolateWithinABucket) {
    LatencyCounts counts;
    EXPECT_FALSE(counts.percentile_ms(0.5));
    counts.buckets[1] = 100; // 50 to 100 µs
    EXPECT_NEAR(*counts.percentile_ms(0.5), 0.075, 1e-9);
    EXPECT_NEAR(*counts.percentile_ms(1), 0.1, 1e-9);
    counts.buckets[LatencyBuckets::kBounds] = 900; // above all bounds
    EXPECT_NEAR(*counts.percentile_ms(0.99),
                LatencyBuckets::bound_seconds(LatencyBuckets::kBounds - 1) * 1e3, 1e-9);
}

TEST(LatencyCounts, SubtractWhatWasBefore) {
    LatencyBuckets buckets;
    buckets.add(10'000);
    LatencyCounts before;
    before.add(buckets);
    buckets.add(10'000);
    buckets.add(3'000'000);
    LatencyCounts now;
    now.add(buckets);
    EXPECT_EQ(now.since(before).total(), 2U);
    EXPECT_EQ(now.since(before).buckets[0], 1U);
    EXPECT_EQ(latency_json(now.since(now)),
              R"({"count":0,"p50":null,"p90":null,"p99":null,"p999":null})");
}

} // namespace
} // namespace doorbuster
