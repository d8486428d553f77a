#include "engine/order_feed.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <gtest/gtest.h>
#include <vector>

#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using fixture::eventually;
using fixture::finish;
using fixture::run_on;
using fixture::RunningCores;
using fixture::start_on;

// Far more than any wake-up takes: a wait that ends by itself fails the test.
constexpr Duration kLong = fixture::kPatience;

OrderId order_number(std::uint64_t n) { return {SaleNo(1), TimePoint(Duration(1)), 0, n}; }

void change(OrderFeed& feed, const OrderId& order) {
    const std::vector<OrderId> orders{order};
    feed.changed(std::span<const OrderId>(orders));
}

struct Feed {
    explicit Feed(std::size_t places_max = 100) : feed(places_max), cores(2) {}

    std::unique_ptr<OrderWatch> watch(std::uint64_t n) {
        return feed.watch(order_number(n), cores.at(0).executor());
    }
    bool has_changed(OrderWatch& watch, Duration at_most) {
        return run_on(cores.at(0), watch.changed(at_most));
    }

    OrderFeed feed;
    RunningCores cores;
};

TEST(OrderFeed, TellsOfAChangeThatCameBeforeAnybodyWaited) {
    Feed shop;
    const auto watch = shop.watch(1);
    EXPECT_FALSE(shop.has_changed(*watch, Duration(0)));
    change(shop.feed, order_number(1));
    change(shop.feed, order_number(1));
    EXPECT_TRUE(shop.has_changed(*watch, kLong));
    EXPECT_FALSE(shop.has_changed(*watch, Duration(0))); // two changes, one look
}

TEST(OrderFeed, WakesWhoWaits) {
    Feed shop;
    const auto watch = shop.watch(1);
    const auto other = shop.watch(2);
    auto told = start_on(shop.cores.at(0), watch->changed(kLong));
    change(shop.feed, order_number(2));
    change(shop.feed, order_number(3));
    EXPECT_TRUE(shop.has_changed(*other, kLong));
    EXPECT_NE(told.wait_for(Duration(0)), std::future_status::ready);
    change(shop.feed, order_number(1));
    EXPECT_TRUE(finish(told));
}

TEST(OrderFeed, TellsEverybodyWhoLooksOnAtAnOrder) {
    Feed shop;
    const auto first = shop.watch(1);
    const auto second = shop.watch(1);
    change(shop.feed, order_number(1));
    EXPECT_TRUE(shop.has_changed(*first, kLong));
    EXPECT_TRUE(shop.has_changed(*second, kLong));
}

TEST(OrderFeed, TellsOfOrdersInTheLogAndOfNothingElseInIt) {
    Feed shop;
    const auto order = shop.watch(1);
    const auto barrier = shop.watch(2);
    std::vector<LogRecord> records(2);
    records[0].order = order_number(1);
    records[1].kind = LogRecordKind::barrier;
    records[1].order = order_number(2);
    shop.feed.changed(std::span<const LogRecord>(records));
    EXPECT_TRUE(shop.has_changed(*order, kLong));
    EXPECT_FALSE(shop.has_changed(*barrier, Duration(0)));
}

TEST(OrderFeed, ReturnsAfterTheTimeWithoutAChange) {
    Feed shop;
    const auto watch = shop.watch(1);
    EXPECT_FALSE(shop.has_changed(*watch, Duration(5)));
}

TEST(OrderFeed, ReturnsAtOnceWhenAWatchIsStopped) {
    Feed shop;
    const auto watch = shop.watch(1);
    auto told = start_on(shop.cores.at(0), watch->changed(kLong));
    boost::asio::post(shop.cores.at(0).executor(), [&watch] { watch->stop(); });
    EXPECT_FALSE(finish(told));
    EXPECT_TRUE(watch->is_stopped());
    change(shop.feed, order_number(1));
    EXPECT_FALSE(shop.has_changed(*watch, kLong));
}

TEST(OrderFeed, HasNoPlaceForOneWatchTooMany) {
    Feed shop(2);
    const auto first = shop.watch(1);
    auto second = shop.watch(1);
    EXPECT_EQ(shop.watch(2), nullptr);
    EXPECT_EQ(shop.feed.places_taken(), 2U);
    second.reset();
    EXPECT_NE(shop.watch(2), nullptr);
    EXPECT_EQ(shop.feed.places_taken(), 1U);
}

TEST(OrderFeed, PollsLessOftenTheMoreLookOn) {
    Feed shop(2'000);
    std::vector<std::unique_ptr<OrderWatch>> watches;
    EXPECT_EQ(shop.feed.poll_interval(), Duration(1'000));
    for (std::uint64_t n = 0; n < 500; ++n) watches.push_back(shop.watch(n));
    EXPECT_EQ(shop.feed.poll_interval(), Duration(1'000));
    for (std::uint64_t n = 500; n < 2'000; ++n) watches.push_back(shop.watch(n));
    EXPECT_EQ(shop.feed.poll_interval(), Duration(4'000));
}

TEST(OrderFeed, EndsWithWatchesWhoseCoreHasEnded) {
    OrderFeed feed(1);
    {
        RunningCores cores(1);
        const auto wait = [&]() -> Task<void> {
            const auto watch = feed.watch(order_number(1), cores.at(0).executor());
            static_cast<void>(co_await watch->changed(kLong));
        };
        boost::asio::co_spawn(cores.at(0).executor(), wait(), boost::asio::detached);
        ASSERT_TRUE(eventually([&] { return feed.places_taken() == 1; }));
        cores.stop();
        change(feed, order_number(1)); // reaches nobody any more
    }
    EXPECT_EQ(feed.places_taken(), 0U);
}

// One number an order, changed by one thread, in step with watches that come, go and wait for it: a
// wake-up that is lost ends in a wait of kLong.
struct Versions {
    static constexpr std::size_t kOrders = 4;
    static constexpr std::size_t kFollowers = 16;
    static constexpr int kLast = 1'000;

    std::array<std::atomic<int>, kOrders> of = {};
    std::array<std::atomic<int>, kFollowers> seen = {};
    std::atomic<int> lost = 0;

    Task<void> follow(OrderFeed& feed, std::size_t follower, Executor core) {
        const std::size_t order = follower % kOrders;
        std::atomic<int>& mine = seen[follower];
        while (mine < kLast && lost == 0) {
            const auto watch = feed.watch(order_number(order), core);
            for (int looks = 0; looks < 7; ++looks) {
                mine = of[order].load();
                if (mine == kLast) co_return;
                const bool was_told = co_await watch->changed(kLong);
                if (!was_told) ++lost;
            }
        }
    }
};

TEST(OrderFeed, LosesNoWakeUpBetweenAWatchAndALook) {
    Feed shop;
    Versions versions;
    std::vector<std::future<void>> followers;
    for (std::size_t i = 0; i < Versions::kFollowers; ++i) {
        Core& core = shop.cores.at(i % 2);
        followers.push_back(start_on(core, versions.follow(shop.feed, i, core.executor())));
    }
    std::vector<OrderId> all;
    for (std::size_t n = 0; n < Versions::kOrders; ++n) all.push_back(order_number(n));
    for (int version = 1; version <= Versions::kLast; ++version) {
        for (auto& value : versions.of) value = version;
        shop.feed.changed(std::span<const OrderId>(all));
        ASSERT_TRUE(eventually([&] {
            return std::ranges::all_of(versions.seen,
                                       [version](const auto& seen) { return seen == version; });
        }));
    }
    for (auto& follower : followers) finish(follower);
    EXPECT_EQ(versions.lost, 0);
    EXPECT_EQ(shop.feed.places_taken(), 0U);
}

} // namespace
} // namespace doorbuster
