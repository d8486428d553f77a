// Transport and feed against the real broker that DOORBUSTER_TEST_KAFKA names: what librdkafka's
// mock cluster cannot show (topics made, checked, deleted; the broker's own view of duplicates).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "adapters/kafka/feed.h"
#include "adapters/kafka/kafka_fixture.h"
#include "adapters/kafka/transport.h"

namespace doorbuster::kafka {
namespace {

using ::testing::HasSubstr;

// A topic name of its own for each test, deleted in the end; and an administrator's hands.
class KafkaBroker : public ::testing::Test {
protected:
    void SetUp() override {
        KAFKA_NEEDS_BROKER();
        topic_ = "test-" + random_text();
        std::array<char, 512> text{};
        rd_kafka_conf_t* conf = rd_kafka_conf_new();
        rd_kafka_conf_set(conf, "bootstrap.servers", real_brokers().c_str(), text.data(),
                          text.size());
        admin_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf, text.data(), text.size()));
        ASSERT_NE(admin_, nullptr) << text.data();
        results_ = Queue(rd_kafka_queue_new(admin_.get()));
    }
    void TearDown() override {
        if (admin_ != nullptr) delete_topic();
    }

    [[nodiscard]] OpenOptions options() const {
        OpenOptions options = options_for(real_brokers(), topic_);
        options.notice = [](const std::string&) {};
        return options;
    }
    void create_topic(const std::map<std::string, std::string>& config, int partitions = 2) {
        rd_kafka_NewTopic_t* topic =
            rd_kafka_NewTopic_new(topic_.c_str(), partitions, 1, nullptr, 0);
        for (const auto& [key, value] : config) {
            rd_kafka_NewTopic_set_config(topic, key.c_str(), value.c_str());
        }
        rd_kafka_CreateTopics(admin_.get(), &topic, 1, nullptr, results_.get());
        finish(RD_KAFKA_EVENT_CREATETOPICS_RESULT);
        rd_kafka_NewTopic_destroy(topic);
    }
    void delete_topic() {
        rd_kafka_DeleteTopic_t* topic = rd_kafka_DeleteTopic_new(topic_.c_str());
        rd_kafka_DeleteTopics(admin_.get(), &topic, 1, nullptr, results_.get());
        finish(RD_KAFKA_EVENT_DELETETOPICS_RESULT);
        rd_kafka_DeleteTopic_destroy(topic);
    }
    // As retention does, in time.
    void prune(std::uint32_t partition, LogPosition first_kept) {
        const Places places(rd_kafka_topic_partition_list_new(1));
        rd_kafka_topic_partition_list_add(places.get(), topic_.c_str(), static_cast<int>(partition))
            ->offset = to_offset(first_kept);
        rd_kafka_DeleteRecords_t* records = rd_kafka_DeleteRecords_new(places.get());
        rd_kafka_DeleteRecords(admin_.get(), &records, 1, nullptr, results_.get());
        finish(RD_KAFKA_EVENT_DELETERECORDS_RESULT);
        rd_kafka_DeleteRecords_destroy(records);
    }

    std::string topic_;

private:
    void finish(rd_kafka_event_type_t type) {
        const Event event(rd_kafka_queue_poll(results_.get(), to_ms(kTestWait)));
        ASSERT_NE(event, nullptr);
        ASSERT_EQ(rd_kafka_event_type(event.get()), type);
        EXPECT_EQ(rd_kafka_event_error(event.get()), RD_KAFKA_RESP_ERR_NO_ERROR);
    }

    std::unique_ptr<rd_kafka_t, Destroy<rd_kafka_destroy>> admin_;
    Queue results_;
};

TEST_F(KafkaBroker, MakesATopicThatKeepsEverythingAndFindsItAgain) {
    OpenOptions asked = options();
    asked.settings.partitions = 5;
    auto made = KafkaTransport::open(asked);
    ASSERT_TRUE(made) << made.error().message();
    EXPECT_EQ((*made)->partitions(), 5U);
    auto found = KafkaTransport::open(options());
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ((*found)->partitions(), 5U);
    EXPECT_EQ((*found)->id(), (*made)->id());
    EXPECT_THAT((*made)->id(), HasSubstr("/" + asked.new_log_id));
}

TEST_F(KafkaBroker, RefusesATopicThatWouldLoseOrders) {
    create_topic({{"retention.ms", "3600000"}});
    const auto refused = KafkaTransport::open(options());
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(Errc::invalid));
    EXPECT_THAT(refused.error().context, HasSubstr("--add-config retention.ms=-1"));
    const auto feed = KafkaFeed::open(options(), FakePositions().position_of());
    EXPECT_FALSE(feed);
}

TEST_F(KafkaBroker, RefusesATopicOfStrangers) {
    create_topic({{"retention.ms", "-1"}});
    {
        const auto stranger = Client::open(options().settings, Role::producer, nullptr);
        ASSERT_TRUE(stranger);
        const TopicHandle topic = stranger->topic(topic_);
        std::string bytes = "not ours";
        ASSERT_EQ(rd_kafka_produce(topic.get(), 1, RD_KAFKA_MSG_F_COPY, bytes.data(), bytes.size(),
                                   nullptr, 0, nullptr),
                  0);
        ASSERT_EQ(rd_kafka_flush(stranger->get(), to_ms(kTestWait)), RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    const auto refused = KafkaTransport::open(options());
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(Errc::invalid));
    EXPECT_THAT(refused.error().context, HasSubstr("a topic of its own"));
}

TEST_F(KafkaBroker, ReadsBackEverybodysRecordsInOneOrder) {
    Heard heard;
    Heard heard_by_other;
    auto transport = started(options(), heard);
    auto other = started(options(), heard_by_other);
    ASSERT_NE(transport, nullptr);
    ASSERT_NE(other, nullptr);
    const auto ours = produce_many(*transport, 1, "ours", 2'000);
    const auto theirs = produce_many(*other, 1, "theirs", 2'000);
    const auto all = heard.bytes(1, 4'000);
    EXPECT_EQ(all, heard_by_other.bytes(1, 4'000));
    std::vector<std::string> seen_ours;
    std::vector<std::string> seen_theirs;
    for (const std::string& text : all) {
        (text.starts_with("ours") ? seen_ours : seen_theirs).push_back(text);
    }
    EXPECT_EQ(seen_ours, ours);
    EXPECT_EQ(seen_theirs, theirs);
    const auto ends = transport->ends(kTestWait);
    ASSERT_TRUE(ends);
    EXPECT_EQ((*ends)[1], LogPosition(4'001));
    const auto read =
        transport->read({LogPartition(1), LogPosition(3'990)}, (*ends)[1], 100, kTestWait);
    ASSERT_TRUE(read);
    ASSERT_EQ(read->size(), 11U);
    EXPECT_EQ(read->back().bytes, all.back());
}

TEST_F(KafkaBroker, ATopicThatWasDeletedAndMadeAnewIsAnotherLog) {
    Heard heard;
    auto transport = started(options(), heard);
    ASSERT_NE(transport, nullptr);
    produce_many(*transport, 1, "first life", 100);
    heard.bytes(1, 100);
    const std::string id = transport->id();
    delete_topic();
    OpenOptions anew = options();
    anew.store_log_id = id;          // what the store says must not bring it back
    anew.wait_max = Duration(3'000); // of one try: brokers that delete and make it answer anything
    // The brokers take a moment to forget the old one.
    ASSERT_TRUE(eventually([&] {
        const auto second = KafkaTransport::open(anew);
        return second && (*second)->id() != id;
    }));
    // And the process that reads it already is told: its place is gone, or its mark.
    Heard heard_later;
    auto second = started(anew, heard_later);
    ASSERT_NE(second, nullptr);
    produce_many(*second, 1, "second life", 200);
    const auto broken = heard.broken(1);
    ASSERT_EQ(broken.size(), 1U);
    EXPECT_TRUE(broken[0].is(Errc::foreign_log)) << broken[0].message();
    EXPECT_NE(transport->state(), "up");
}

TEST_F(KafkaBroker, ALogWhoseRecordsWereAllPrunedIsStillTheStores) {
    std::string id;
    {
        Heard heard;
        auto transport = started(options(), heard);
        ASSERT_NE(transport, nullptr);
        produce_many(*transport, 1, "old", 10);
        heard.bytes(1, 10);
        id = transport->id();
    }
    prune(0, LogPosition(2));
    prune(1, LogPosition(6));
    {
        OpenOptions some_left = options();
        const auto transport = KafkaTransport::open(some_left);
        ASSERT_TRUE(transport) << transport.error().message();
        EXPECT_EQ((*transport)->id(), id) << "any record that is left says it";
    }
    prune(1, LogPosition(11));
    OpenOptions none_left = options();
    none_left.store_log_id = id;
    const auto transport = KafkaTransport::open(none_left);
    ASSERT_TRUE(transport) << transport.error().message();
    EXPECT_EQ((*transport)->id(), id);
    const std::vector<LogPosition> below = {LogPosition(2), LogPosition(10)};
    const auto refused = (*transport)->start(below, Heard().listener());
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().context, HasSubstr("pruned"));
}

TEST_F(KafkaBroker, TwoFeedsShareThePartitionsAndEachAsksTheStoreWhereToStart) {
    Heard heard;
    auto transport = started(options(), heard);
    ASSERT_NE(transport, nullptr);
    FakePositions positions;
    auto first = opened_feed(options(), positions);
    ASSERT_NE(first, nullptr);
    produce_orders(*transport, 0, 0, 100);
    produce_orders(*transport, 1, 100, 100);
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(step(*first, positions));
        return positions.applied().size() >= 200;
    }));
    auto second = opened_feed(options(), positions);
    ASSERT_NE(second, nullptr);
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(step(*first, positions));
        EXPECT_TRUE(step(*second, positions));
        return first->partitions_held() == 1 && second->partitions_held() == 1;
    }));
    EXPECT_EQ(positions.asked(0) + positions.asked(1), 3);
    produce_orders(*transport, 0, 200, 100);
    produce_orders(*transport, 1, 300, 100);
    second.reset();
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(step(*first, positions));
        return positions.applied().size() >= 400;
    }));
    auto quantities = positions.quantities();
    std::sort(quantities.begin(), quantities.end());
    for (std::size_t i = 0; i < quantities.size(); ++i) {
        ASSERT_EQ(quantities[i], static_cast<Units>(i)) << "each once";
    }
}

} // namespace
} // namespace doorbuster::kafka
