#include "engine/order_writer.h"

#include <atomic>
#include <chrono>
#include <future>
#include <gtest/gtest.h>
#include <string>
#include <thread>

#include "ports/fake_order_log.h"
#include "ports/fake_order_store.h"
#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr Duration kLong{60'000}; // more than any wait here takes
constexpr SaleNo kSale{1};        // the first that the store makes

class OrderWriterTest : public testing::Test {
protected:
    void SetUp() override {
        SaleTerms terms;
        terms.id = "demo";
        terms.stock = 1'000'000;
        ASSERT_TRUE(store_.create_sale(terms, "", "test"));
        log_.set_durability(FakeOrderLog::Durability::at_once);
    }
    OrderWriter::Options options() {
        OrderWriter::Options options;
        options.tally = &tally_;
        options.on_fatal = [this](const Error& error) { fatal_.set_value(error); };
        return options;
    }
    void enqueue(std::uint64_t orders) {
        for (std::uint64_t i = 0; i < orders; ++i) {
            const OrderId id(kSale, kNoon, 0, made_++);
            const std::string user = "user " + std::to_string(made_);
            ASSERT_TRUE(log_.enqueue({LogRecordKind::order, kSale, Epoch(0), id, 1, user, "", {}}));
        }
    }
    // The error with which the writer gave up.
    Error fatal() {
        auto error = fatal_.get_future();
        if (error.wait_for(kPatience) != std::future_status::ready) return {};
        return error.get();
    }

    ManualClock clock_{kNoon};
    FakeOrderLog log_;
    FakeOrderStore store_{&clock_};
    OrderTally tally_;
    std::promise<Error> fatal_;
    std::uint64_t made_ = 0;
    OrderWriter writer_{log_, store_, clock_, options()};
};

TEST_F(OrderWriterTest, BringsEveryOrderOfTheLogToTheStoreAndSaysSo) {
    enqueue(2'500);
    writer_.start(LogPosition(1));
    ASSERT_TRUE(writer_.wait_for(LogPosition(2'500), kLong));
    EXPECT_EQ(store_.orders().size(), 2'500U);
    enqueue(10);
    ASSERT_TRUE(writer_.wait_for(log_.last_enqueued(kOnlyPartition), kLong));
    EXPECT_EQ(store_.orders().size(), 2'510U);
    EXPECT_TRUE(eventually([&] { return log_.stored() == LogPosition(2'511); }));
    EXPECT_TRUE(eventually([&] { return writer_.totals().orders == 2'510; }));
    const auto counts = tally_.counts();
    EXPECT_EQ(counts.at(kSale)[static_cast<std::size_t>(OrderStatus::confirmed)], 2'510);
}

TEST_F(OrderWriterTest, StartsWhereTheStoreStopped) {
    enqueue(3);
    const auto before = log_.read_batch(LogPosition(1), 2, Duration(0));
    ASSERT_TRUE(
        store_.apply(before->first, before->next, before->records, StockGuard::version_and_stock));
    writer_.start(LogPosition(3));
    ASSERT_TRUE(writer_.wait_for(LogPosition(3), kLong));
    EXPECT_EQ(store_.orders().size(), 3U);
}

TEST_F(OrderWriterTest, TriesAgainWhileTheStoreIsDownAndGoesOn) {
    store_.fail_applies({make_error_code(Errc::unavailable), "the store is down"}, 3);
    enqueue(5);
    writer_.start(LogPosition(1));
    ASSERT_TRUE(eventually([&] { return !writer_.is_store_up(); }));
    EXPECT_EQ(log_.stored(), LogPosition(1)) << "what is not in the store must stay in the log";
    ASSERT_TRUE(writer_.wait_for(LogPosition(5), kLong));
    EXPECT_EQ(store_.orders().size(), 5U);
    EXPECT_GE(store_.applies(), 4);
    EXPECT_TRUE(writer_.is_store_up());
}

// Whoever waits for the writer must not make it hammer a store that is down.
TEST_F(OrderWriterTest, BacksOffBetweenItsTriesAlsoWhileSomebodyWaits) {
    store_.fail_applies({make_error_code(Errc::unavailable), "the store is down"}, 1'000'000);
    enqueue(1);
    writer_.start(LogPosition(1));
    ASSERT_TRUE(eventually([&] { return store_.applies() > 0; }));
    const auto late = writer_.wait_for(LogPosition(1), Duration(400));
    ASSERT_FALSE(late);
    EXPECT_TRUE(late.error().is(Errc::timeout));
    EXPECT_LE(store_.applies(), 10); // after 50, 150 and 350 ms
}

TEST_F(OrderWriterTest, GivesUpWhenTheStoreIsLostForGood) {
    for (const Errc errc : {Errc::fenced, Errc::corrupt}) {
        FakeOrderStore store(&clock_);
        std::promise<Error> fatal;
        OrderWriter::Options options;
        options.on_fatal = [&fatal](const Error& error) { fatal.set_value(error); };
        SaleTerms terms;
        terms.id = "demo";
        ASSERT_TRUE(store.create_sale(terms, "", "test"));
        store.fail_applies({make_error_code(errc), "gone"}, 1);
        enqueue(1);
        OrderWriter writer(log_, store, clock_, options);
        writer.start(LogPosition(1));
        auto error = fatal.get_future();
        ASSERT_EQ(error.wait_for(kPatience), std::future_status::ready);
        EXPECT_TRUE(error.get().is(errc));
        EXPECT_FALSE(writer.wait_for(LogPosition(1), Duration(0)));
        EXPECT_EQ(store.applies(), 1) << "it must not try again";
    }
}

TEST_F(OrderWriterTest, GivesUpWhenTheLogCannotBeRead) {
    log_.fail_reads({make_error_code(Errc::corrupt), "a checksum"});
    writer_.start(LogPosition(1));
    EXPECT_TRUE(fatal().is(Errc::corrupt));
}

TEST_F(OrderWriterTest, TellsAWaiterWhenTheTimeIsUp) {
    writer_.start(LogPosition(1));
    const auto late = writer_.wait_for(LogPosition(1), Duration(20));
    ASSERT_FALSE(late);
    EXPECT_TRUE(late.error().is(Errc::timeout));
    enqueue(1);
    EXPECT_TRUE(writer_.wait_for(LogPosition(1), kLong));
    EXPECT_TRUE(writer_.wait_for(LogPosition(1), Duration(0))) << "it is there already";
}

TEST_F(OrderWriterTest, TellsATaskOnACoreWhetherItCameThere) {
    RunningCores cores(1);
    writer_.start(LogPosition(1));
    EXPECT_FALSE(run_on(cores.at(0), writer_.reached(LogPosition(1), Duration(20))));
    enqueue(3);
    EXPECT_TRUE(run_on(cores.at(0), writer_.reached(LogPosition(3), kLong)));
    EXPECT_TRUE(run_on(cores.at(0), writer_.reached(LogPosition(3), Duration(0))));
}

TEST_F(OrderWriterTest, WritesWhatIsDurableBeforeItStops) {
    writer_.start(LogPosition(1));
    enqueue(3'000);
    log_.set_durability(FakeOrderLog::Durability::when_told);
    enqueue(5);
    writer_.stop(kLong);
    EXPECT_EQ(store_.orders().size(), 3'000U);
}

TEST_F(OrderWriterTest, StopsAtOnceWhileTheStoreIsDownWhenItMayNotWait) {
    store_.fail_applies({make_error_code(Errc::unavailable), "the store is down"}, 1'000'000);
    enqueue(1);
    writer_.start(LogPosition(1));
    ASSERT_TRUE(eventually([&] { return !writer_.is_store_up(); }));
    const auto begin = std::chrono::steady_clock::now();
    writer_.stop(Duration(0));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
    EXPECT_TRUE(store_.orders().empty());
}

TEST_F(OrderWriterTest, LetsAWaiterGoWhenItStops) {
    writer_.start(LogPosition(1));
    auto waiter =
        std::async(std::launch::async, [this] { return writer_.wait_for(LogPosition(1), kLong); });
    writer_.stop(Duration(0));
    ASSERT_EQ(waiter.wait_for(kPatience / 2), std::future_status::ready);
    EXPECT_FALSE(waiter.get());
}

TEST_F(OrderWriterTest, CountsBatchesByTheirSize) {
    enqueue(17);
    writer_.start(LogPosition(1));
    ASSERT_TRUE(writer_.wait_for(LogPosition(17), kLong));
    const auto& totals = writer_.totals();
    std::uint64_t batches = 0;
    for (const auto& count : totals.batch_orders) batches += count;
    EXPECT_EQ(batches, totals.batches);
    EXPECT_EQ(totals.orders, 17U);
}

} // namespace
} // namespace doorbuster
