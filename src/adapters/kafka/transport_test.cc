// The transport against librdkafka's mock cluster: what goes wrong on the way to a broker.
#include "adapters/kafka/transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "adapters/kafka/kafka_fixture.h"

namespace doorbuster::kafka {
namespace {

using ::testing::HasSubstr;

std::vector<std::uint64_t> up_to(std::size_t count) {
    std::vector<std::uint64_t> all(count);
    std::iota(all.begin(), all.end(), 0);
    return all;
}

TEST(KafkaTransport, ReadsBackItsOwnRecordsInTheOrderOfEachPartition) {
    MockCluster cluster;
    Heard heard;
    auto transport = started(cluster.options(), heard);
    ASSERT_NE(transport, nullptr);
    const auto first = produce_many(*transport, 0, "first", 500);
    const auto second = produce_many(*transport, 1, "second", 500);
    EXPECT_EQ(heard.bytes(0, 500), first);
    EXPECT_EQ(heard.bytes(1, 500), second);
    const auto records = heard.records(1);
    for (std::size_t i = 0; i < records.size(); ++i) {
        EXPECT_EQ(records[i].position, LogPosition(i + 1));
    }
    EXPECT_EQ(transport->state(), "up");
    EXPECT_TRUE(transport->is_up());
}

TEST(KafkaTransport, ReadsBackWhatAnotherProcessAppends) {
    MockCluster cluster;
    Heard heard;
    Heard heard_by_other;
    auto transport = started(cluster.options(), heard);
    auto other = started(cluster.options(), heard_by_other);
    ASSERT_NE(transport, nullptr);
    ASSERT_NE(other, nullptr);
    EXPECT_EQ(transport->id(), other->id());
    const auto theirs = produce_many(*other, 0, "theirs", 10);
    EXPECT_EQ(heard.bytes(0, 10), theirs);
    EXPECT_EQ(heard_by_other.bytes(0, 10), theirs);
}

TEST(KafkaTransport, ReportsWhatItCouldNotAppendWithinTheTimeOut) {
    MockCluster cluster;
    OpenOptions options = cluster.options();
    options.settings.properties["message.timeout.ms"] = "1000";
    Heard heard;
    auto transport = started(std::move(options), heard);
    ASSERT_NE(transport, nullptr);
    rd_kafka_mock_broker_set_down(cluster.get(), 1);
    produce_many(*transport, 0, "lost", 20);
    EXPECT_EQ(heard.failed(20), up_to(20));
    EXPECT_THAT(heard.failure(), HasSubstr("orders"));
    EXPECT_TRUE(eventually([&] { return !transport->is_up(); }));
    EXPECT_THAT(transport->state(), HasSubstr("no broker answers"));
}

TEST(KafkaTransport, GoesOnByItselfWhenTheBrokerIsBack) {
    MockCluster cluster;
    Heard heard;
    auto transport = started(cluster.options(), heard);
    ASSERT_NE(transport, nullptr);
    auto expected = produce_many(*transport, 0, "before", 5);
    heard.bytes(0, 5);
    rd_kafka_mock_broker_set_down(cluster.get(), 1);
    ASSERT_TRUE(eventually([&] { return !transport->is_up(); }));
    for (auto& text : produce_many(*transport, 0, "while", 5)) expected.push_back(text);
    rd_kafka_mock_broker_set_up(cluster.get(), 1);
    EXPECT_EQ(heard.bytes(0, 10), expected);
    EXPECT_TRUE(eventually([&] { return transport->state() == "up"; }));
    EXPECT_TRUE(heard.failed(0).empty());
}

TEST(KafkaTransport, SaysNoWhenItsQueueIsFullAndTakesRecordsAgainLater) {
    MockCluster cluster;
    OpenOptions options = cluster.options();
    options.settings.properties["queue.buffering.max.messages"] = "50";
    Heard heard;
    auto transport = started(std::move(options), heard);
    ASSERT_NE(transport, nullptr);
    rd_kafka_mock_broker_set_down(cluster.get(), 1);
    produce_many(*transport, 0, "queued", 50);
    EXPECT_FALSE(transport->produce(LogPartition(0), "one too many", 50));
    rd_kafka_mock_broker_set_up(cluster.get(), 1);
    EXPECT_EQ(heard.bytes(0, 50).size(), 50U);
    EXPECT_TRUE(eventually([&] { return transport->produce(LogPartition(0), "room again", 51); }));
    EXPECT_EQ(heard.bytes(0, 51).back(), "room again");
}

TEST(KafkaTransport, KeepsTheOrderAndAppendsOnceWhenBrokersRefuseForAWhile) {
    MockCluster cluster;
    Heard heard;
    auto transport = started(cluster.options(), heard);
    ASSERT_NE(transport, nullptr);
    rd_kafka_mock_push_request_errors(
        cluster.get(), kProduceRequest, 4, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
    const auto expected = produce_many(*transport, 1, "record", 200);
    EXPECT_EQ(heard.bytes(1, 200), expected);
    EXPECT_TRUE(heard.failed(0).empty());
}

TEST(KafkaTransport, MakesAProducerAnewAfterAFatalErrorAndReportsWhatWasOutstanding) {
    MockCluster cluster;
    Heard heard;
    auto transport = started(cluster.options(), heard);
    ASSERT_NE(transport, nullptr);
    produce_many(*transport, 0, "before", 1);
    heard.bytes(0, 1);
    rd_kafka_mock_push_request_errors(cluster.get(), kProduceRequest, 1,
                                      RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    ASSERT_TRUE(transport->produce(LogPartition(0), "refused", 77));
    EXPECT_EQ(heard.failed(1), std::vector<std::uint64_t>{77});
    ASSERT_TRUE(eventually([&] { return transport->produce(LogPartition(0), "after", 78); }));
    EXPECT_EQ(heard.bytes(0, 2).back(), "after");
    EXPECT_EQ(transport->renewals(), 1U);
}

TEST(KafkaTransport, FollowsALeaderToAnotherBroker) {
    MockCluster cluster(3);
    rd_kafka_mock_partition_set_leader(cluster.get(), "orders", 0, 1);
    Heard heard;
    auto transport = started(cluster.options(), heard);
    ASSERT_NE(transport, nullptr);
    auto expected = produce_many(*transport, 0, "first leader", 10);
    heard.bytes(0, 10);
    rd_kafka_mock_partition_set_leader(cluster.get(), "orders", 0, 2);
    rd_kafka_mock_broker_set_down(cluster.get(), 1);
    for (auto& text : produce_many(*transport, 0, "second leader", 10)) expected.push_back(text);
    EXPECT_EQ(heard.bytes(0, 20), expected);
    EXPECT_TRUE(heard.failed(0).empty());
}

TEST(KafkaTransport, StopSendsWhatWasTaken) {
    MockCluster cluster;
    Heard heard;
    auto transport = started(cluster.options(), heard);
    ASSERT_NE(transport, nullptr);
    produce_many(*transport, 0, "last", 1'000);
    transport->stop(kTestWait);
    EXPECT_TRUE(heard.failed(0).empty());
    EXPECT_FALSE(transport->produce(LogPartition(0), "too late", 1));
    const auto ends = transport->ends(kTestWait);
    ASSERT_TRUE(ends);
    EXPECT_EQ((*ends)[0], LogPosition(1 + 1 + 1'000)); // behind the mark and ours
}

TEST(KafkaTransport, StopReportsWhatItCannotSend) {
    MockCluster cluster;
    Heard heard;
    auto transport = started(cluster.options(), heard);
    ASSERT_NE(transport, nullptr);
    rd_kafka_mock_broker_set_down(cluster.get(), 1);
    produce_many(*transport, 0, "stuck", 30);
    transport->stop(Duration(200));
    EXPECT_EQ(heard.failed(30), up_to(30));
}

TEST(KafkaTransport, ReadsStretchesInParts) {
    MockCluster cluster;
    Heard heard;
    auto transport = started(cluster.options(), heard);
    ASSERT_NE(transport, nullptr);
    const auto expected = produce_many(*transport, 1, "record", 300);
    heard.bytes(1, 300);
    const auto ends = transport->ends(kTestWait);
    ASSERT_TRUE(ends);
    ASSERT_EQ((*ends)[1], LogPosition(301));
    std::vector<std::string> read;
    LogPlace from{LogPartition(1), LogPosition(1)};
    while (from.position < (*ends)[1]) {
        const auto part = transport->read(from, (*ends)[1], 70, kTestWait);
        ASSERT_TRUE(part) << part.error().message();
        ASSERT_FALSE(part->empty());
        EXPECT_LE(part->size(), 70U);
        for (const RawRecord& record : *part) read.push_back(record.bytes);
        from.position = part->back().position.next();
    }
    EXPECT_EQ(read, expected);
    const auto some =
        transport->read({LogPartition(1), LogPosition(100)}, LogPosition(103), 10, kTestWait);
    ASSERT_TRUE(some);
    ASSERT_EQ(some->size(), 3U);
    EXPECT_EQ(some->front().bytes, "record 99");
    const auto none =
        transport->read({LogPartition(1), LogPosition(301)}, LogPosition(301), 10, kTestWait);
    ASSERT_TRUE(none);
    EXPECT_TRUE(none->empty());
}

TEST(KafkaTransport, ReadingBehindTheEndTimesOutAndFarOutsideIsAForeignLog) {
    MockCluster cluster;
    Heard heard;
    auto transport = started(cluster.options(), heard);
    ASSERT_NE(transport, nullptr);
    const auto waiting =
        transport->read({LogPartition(1), LogPosition(1)}, LogPosition(9), 10, Duration(300));
    ASSERT_FALSE(waiting);
    EXPECT_TRUE(waiting.error().is(Errc::timeout)) << waiting.error().message();
    const auto outside =
        transport->read({LogPartition(1), LogPosition(100)}, LogPosition(110), 10, kTestWait);
    ASSERT_FALSE(outside);
    EXPECT_TRUE(outside.error().is(Errc::foreign_log)) << outside.error().message();
    EXPECT_FALSE(transport->read({LogPartition(9), LogPosition(1)}, LogPosition(2), 1, kTestWait));
}

TEST(KafkaTransport, RefusesToStartOutsideTheLog) {
    MockCluster cluster;
    Heard heard;
    for (const std::vector<LogPosition>& from :
         {std::vector{LogPosition(3), LogPosition(1)}, std::vector{LogPosition(1)}}) {
        auto transport = KafkaTransport::open(cluster.options());
        ASSERT_TRUE(transport);
        const auto refused = (*transport)->start(from, heard.listener());
        ASSERT_FALSE(refused);
        EXPECT_TRUE(refused.error().is(Errc::foreign_log)) << refused.error().message();
    }
}

TEST(KafkaTransport, RefusesToStartBelowWhatWasPruned) {
    MockCluster cluster; // it keeps 5 MB of a partition
    Heard heard;
    auto transport = started(cluster.options(), heard);
    ASSERT_NE(transport, nullptr);
    const std::string large(100'000, 'x');
    for (std::uint64_t i = 0; i < 80; ++i) {
        ASSERT_TRUE(transport->produce(LogPartition(1), large, i));
        // Else the tail, too, could find its place pruned.
        if (i % 10 == 9) heard.bytes(1, i + 1);
    }
    auto late = KafkaTransport::open(cluster.options());
    ASSERT_TRUE(late);
    const std::vector<LogPosition> from = {LogPosition(1), LogPosition(2)};
    const auto refused = (*late)->start(from, heard.listener());
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(Errc::foreign_log));
    EXPECT_THAT(refused.error().context, HasSubstr("pruned"));
}

TEST(KafkaTransport, TakesNoRecordBeforeItIsStartedOrForAPartitionThatIsNotThere) {
    MockCluster cluster;
    auto transport = KafkaTransport::open(cluster.options());
    ASSERT_TRUE(transport);
    EXPECT_FALSE((*transport)->produce(LogPartition(0), "early", 1));
    Heard heard;
    auto running = started(cluster.options(), heard);
    ASSERT_NE(running, nullptr);
    EXPECT_FALSE(running->produce(LogPartition(2), "nowhere", 1));
}

TEST(KafkaTransport, SaysThatNoBrokerAnswers) {
    OpenOptions options = options_for("127.0.0.1:1", "orders");
    options.wait_max = Duration(300);
    const auto transport = KafkaTransport::open(std::move(options));
    ASSERT_FALSE(transport);
    EXPECT_TRUE(transport.error().is(Errc::unavailable) || transport.error().is(Errc::timeout));
    EXPECT_THAT(transport.error().context, HasSubstr("127.0.0.1:1"));
}

} // namespace
} // namespace doorbuster::kafka
