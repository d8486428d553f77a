// The feed against librdkafka's mock cluster.
#include "adapters/kafka/feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "adapters/kafka/kafka_fixture.h"

namespace doorbuster::kafka {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

std::vector<Units> numbers(Units first, Units count) {
    std::vector<Units> all(static_cast<std::size_t>(count));
    std::iota(all.begin(), all.end(), first);
    return all;
}

struct FeedTest : ::testing::Test {
    MockCluster cluster;
    Heard heard;
    std::unique_ptr<KafkaTransport> transport = started(cluster.options(), heard);
    FakePositions positions;

    // Steps until the store has `count` orders.
    bool applied(KafkaFeed& feed, std::size_t count) {
        return eventually([&] {
            EXPECT_TRUE(step(feed, positions));
            return positions.applied().size() >= count;
        });
    }
};

TEST_F(FeedTest, HandsOutTheRecordsOfAllPartitionsEachInOrder) {
    auto feed = opened_feed(cluster.options(), positions);
    ASSERT_NE(feed, nullptr);
    EXPECT_EQ(feed->id(), transport->id());
    produce_orders(*transport, 0, 0, 300);
    ASSERT_TRUE(applied(*feed, 300));
    EXPECT_EQ(positions.quantities(), numbers(0, 300));
    produce_orders(*transport, 1, 300, 300);
    ASSERT_TRUE(applied(*feed, 600));
    EXPECT_EQ(positions.quantities(), numbers(0, 600));
    EXPECT_EQ(positions.at(0), LogPosition(1 + 1 + 300)); // behind the mark and ours
    EXPECT_EQ(positions.at(1), LogPosition(1 + 300));
    EXPECT_EQ(feed->partitions_held(), 2U);
}

TEST_F(FeedTest, StartsWhereTheStoreIsAndNotWhereTheGroupIs) {
    {
        auto feed = opened_feed(cluster.options(), positions);
        ASSERT_NE(feed, nullptr);
        produce_orders(*transport, 1, 0, 20);
        ASSERT_TRUE(applied(*feed, 20));
    }
    FakePositions restored; // from a backup: at order 5
    restored.set(1, LogPosition(6));
    auto feed = opened_feed(cluster.options(), restored);
    ASSERT_NE(feed, nullptr);
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(step(*feed, restored));
        return restored.applied().size() >= 15;
    }));
    EXPECT_EQ(restored.quantities(), numbers(5, 15));
}

TEST_F(FeedTest, HandsOutNoMoreThanWasAskedForAndLosesNothing) {
    auto feed = opened_feed(cluster.options(), positions);
    ASSERT_NE(feed, nullptr);
    produce_orders(*transport, 1, 0, 50);
    std::vector<Units> seen;
    ASSERT_TRUE(eventually([&] {
        const auto batch = feed->next(7, Duration(20));
        EXPECT_TRUE(batch);
        EXPECT_LE(batch->records.size(), 7U);
        if (batch->partition != LogPartition(1)) return false;
        EXPECT_EQ(batch->next.get() - batch->first.get(), batch->records.size());
        for (const LogRecord& record : batch->records) seen.push_back(record.quantity);
        return seen.size() >= 50;
    }));
    EXPECT_EQ(seen, numbers(0, 50));
}

TEST_F(FeedTest, GoesBackWhereTheStoreIsAfterARewind) {
    auto feed = opened_feed(cluster.options(), positions);
    ASSERT_NE(feed, nullptr);
    produce_orders(*transport, 1, 0, 40);
    ASSERT_TRUE(applied(*feed, 40));
    const int asked = positions.asked(1);
    positions.set(1, LogPosition(31)); // somebody restored the store
    ASSERT_TRUE(feed->rewind(LogPartition(1)));
    EXPECT_EQ(positions.asked(1), asked + 1);
    produce_orders(*transport, 1, 40, 10);
    ASSERT_TRUE(applied(*feed, 60));
    auto expected = numbers(0, 40);
    for (const Units i : numbers(30, 20)) expected.push_back(i);
    EXPECT_EQ(positions.quantities(), expected);
    EXPECT_TRUE(feed->rewind(LogPartition(9))) << "not ours: nothing happens";
}

TEST_F(FeedTest, AsksTheStoreAgainUntilItAnswers) {
    positions.set_down(true);
    auto feed = opened_feed(cluster.options(), positions);
    ASSERT_NE(feed, nullptr);
    produce_orders(*transport, 1, 0, 10);
    ASSERT_TRUE(eventually([&] {
        const auto batch = feed->next(100, Duration(20));
        return !batch && batch.error().is(Errc::unavailable);
    }));
    positions.set_down(false);
    ASSERT_TRUE(applied(*feed, 10));
    positions.set_down(true);
    EXPECT_FALSE(feed->rewind(LogPartition(1)));
    produce_orders(*transport, 1, 10, 10);
    EXPECT_TRUE(eventually([&] { return !step(*feed, positions); }));
    positions.set_down(false);
    ASSERT_TRUE(applied(*feed, 20));
    EXPECT_EQ(positions.quantities(), numbers(0, 20));
}

TEST_F(FeedTest, HandsOnBytesThatAreNoRecord) {
    auto feed = opened_feed(cluster.options(), positions);
    ASSERT_NE(feed, nullptr);
    produce_orders(*transport, 1, 0, 1);
    const std::string garbage(5'000, 'g');
    ASSERT_TRUE(transport->produce(LogPartition(1), garbage, 0));
    ASSERT_TRUE(transport->produce(LogPartition(1), "", 0));
    produce_orders(*transport, 1, 1, 1);
    ASSERT_TRUE(applied(*feed, 4));
    const auto& records = positions.applied();
    EXPECT_EQ(records[1].kind, LogRecordKind::unreadable);
    EXPECT_EQ(records[1].key, garbage.substr(0, kUnreadableMax));
    EXPECT_FALSE(records[1].user.empty());
    EXPECT_EQ(records[2].kind, LogRecordKind::unreadable);
    EXPECT_EQ(records[3].quantity, 1);
}

TEST_F(FeedTest, WakeEndsAWait) {
    auto feed = opened_feed(cluster.options(), positions);
    ASSERT_NE(feed, nullptr);
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(step(*feed, positions));
        return positions.at(0) == LogPosition(2); // the mark
    }));
    const auto start = std::chrono::steady_clock::now();
    std::thread waker([&] { feed->wake(); });
    const auto batch = feed->next(100, kTestWait);
    waker.join();
    ASSERT_TRUE(batch);
    EXPECT_TRUE(batch->records.empty());
    EXPECT_LT(std::chrono::steady_clock::now() - start, kTestWait / 2);
}

TEST_F(FeedTest, TwoFeedsShareThePartitionsAndTheOneThatStaysGetsThemAll) {
    auto first = opened_feed(cluster.options(), positions);
    ASSERT_NE(first, nullptr);
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(step(*first, positions));
        return first->partitions_held() == 2;
    }));
    auto second = opened_feed(cluster.options(), positions);
    ASSERT_NE(second, nullptr);
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(step(*first, positions));
        EXPECT_TRUE(step(*second, positions));
        return first->partitions_held() == 1 && second->partitions_held() == 1;
    }));
    produce_orders(*transport, 0, 0, 50);
    produce_orders(*transport, 1, 50, 50);
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(step(*first, positions));
        EXPECT_TRUE(step(*second, positions));
        return positions.applied().size() >= 100;
    }));
    EXPECT_THAT(positions.quantities(), UnorderedElementsAreArray(numbers(0, 100)));
    const int asked = positions.asked(0) + positions.asked(1);
    first.reset(); // leaves the group
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(step(*second, positions));
        return second->partitions_held() == 2;
    }));
    EXPECT_GT(positions.asked(0) + positions.asked(1), asked);
    produce_orders(*transport, 0, 100, 10);
    produce_orders(*transport, 1, 110, 10);
    ASSERT_TRUE(applied(*second, 120));
    EXPECT_THAT(positions.quantities(), UnorderedElementsAreArray(numbers(0, 120)));
}

TEST_F(FeedTest, SaysThatTheStoreIsOutsideTheLog) {
    positions.set(1, LogPosition(1'000));
    auto feed = opened_feed(cluster.options(), positions);
    ASSERT_NE(feed, nullptr);
    Error error;
    ASSERT_TRUE(eventually([&] {
        const auto batch = feed->next(100, Duration(20));
        if (batch && !batch->records.empty()) positions.apply(*batch);
        if (!batch) error = batch.error();
        return !batch;
    }));
    EXPECT_TRUE(error.is(Errc::foreign_log)) << error.message();
    EXPECT_THAT(error.context, HasSubstr("partition 1"));
    EXPECT_FALSE(feed->next(100, Duration(0))) << "it goes on saying so";
}

// A writer that is stopped when it has joined the group and not been dealt anything yet: librdkafka
// 2.0.2 ended the process by an assertion.
TEST_F(FeedTest, LeavesAGroupThatNeverDealtItAnything) {
    for (int i = 0; i < 1'000; ++i) {
        rd_kafka_mock_push_request_errors(cluster.get(), kSyncGroupRequest, 1,
                                          RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS);
    }
    auto feed = opened_feed(cluster.options(), positions);
    ASSERT_NE(feed, nullptr);
    // The mock lets the first member wait 3 s before it answers its join.
    for (const Deadline joined(Duration(4'500)); !joined.has_passed();) {
        EXPECT_TRUE(feed->next(1, Duration(50)));
    }
    EXPECT_EQ(feed->partitions_held(), 0U);
    feed.reset();
    EXPECT_TRUE(transport->is_up()) << "and so are we";
}

TEST_F(FeedTest, GoesOnByItselfWhenTheBrokerIsBack) {
    auto feed = opened_feed(cluster.options(), positions);
    ASSERT_NE(feed, nullptr);
    produce_orders(*transport, 1, 0, 10);
    ASSERT_TRUE(applied(*feed, 10));
    rd_kafka_mock_broker_set_down(cluster.get(), 1);
    ASSERT_TRUE(eventually([&] { return !transport->is_up(); }));
    EXPECT_TRUE(step(*feed, positions));
    rd_kafka_mock_broker_set_up(cluster.get(), 1);
    produce_orders(*transport, 1, 10, 10);
    ASSERT_TRUE(applied(*feed, 20));
    EXPECT_EQ(positions.quantities(), numbers(0, 20));
}

} // namespace
} // namespace doorbuster::kafka
