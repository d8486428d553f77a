#include "adapters/kafka/topic_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doorbuster::kafka {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Settings settings() {
    Settings settings;
    settings.brokers = "b:9092";
    settings.topic = "orders";
    return settings;
}

// As we make it on three brokers.
TopicFacts good() {
    TopicFacts facts;
    facts.brokers = 3;
    facts.partitions = 8;
    facts.replicas_min = 3;
    for (const auto& [key, value] : new_topic_config(3)) facts.config[key] = value;
    facts.config["max.message.bytes"] = "1048588";
    return facts;
}

TopicVerdict with(const std::string& key, const std::string& value) {
    TopicFacts facts = good();
    facts.config[key] = value;
    return check_topic(settings(), facts);
}

TEST(KafkaTopicCheck, TakesATopicAsWeMakeIt) {
    const auto verdict = check_topic(settings(), good());
    EXPECT_THAT(verdict.refusals, IsEmpty());
    EXPECT_THAT(verdict.warnings, IsEmpty());
}

TEST(KafkaTopicCheck, RefusesASettingThatDeletesOrdersAndSaysTheCommandThatMendsIt) {
    EXPECT_THAT(with("retention.ms", "3600000").refusals,
                ElementsAre(AllOf(HasSubstr("kafka-configs.sh --bootstrap-server b:9092"),
                                  HasSubstr("--entity-name orders --add-config retention.ms=-1"))));
    EXPECT_THAT(with("retention.ms", "604799999").refusals, ElementsAre(HasSubstr("7 days")));
    EXPECT_THAT(with("retention.bytes", "1000000000000").refusals,
                ElementsAre(HasSubstr("--add-config retention.bytes=-1")));
    EXPECT_THAT(with("cleanup.policy", "compact,delete").refusals,
                ElementsAre(HasSubstr("--add-config cleanup.policy=delete")));
}

TEST(KafkaTopicCheck, WarnsOfALongRetention) {
    const auto verdict = with("retention.ms", "604800000");
    EXPECT_THAT(verdict.refusals, IsEmpty());
    EXPECT_THAT(verdict.warnings, ElementsAre(HasSubstr("retention.ms=-1")));
}

TEST(KafkaTopicCheck, RefusesASettingThatLosesOrdersWithABroker) {
    EXPECT_THAT(with("unclean.leader.election.enable", "true").refusals,
                ElementsAre(HasSubstr("unclean.leader.election.enable=false")));
    EXPECT_THAT(with("min.insync.replicas", "1").refusals,
                ElementsAre(HasSubstr("min.insync.replicas=2")));
    TopicFacts facts = good();
    facts.replicas_min = 1;
    facts.config["min.insync.replicas"] = "1";
    EXPECT_THAT(check_topic(settings(), facts).refusals,
                ElementsAre(HasSubstr("one replica on a cluster of 3 brokers")));
}

TEST(KafkaTopicCheck, RefusesATopicThatCanTakeNoOrder) {
    EXPECT_THAT(with("min.insync.replicas", "4").refusals, ElementsAre(HasSubstr("no order")));
    EXPECT_THAT(with("max.message.bytes", "1000").refusals,
                ElementsAre(HasSubstr("max.message.bytes")));
}

TEST(KafkaTopicCheck, OnlyWarnsWhereTheClusterHasOneBroker) {
    TopicFacts facts = good();
    facts.brokers = 1;
    facts.replicas_min = 1;
    facts.config["min.insync.replicas"] = "1";
    facts.config["unclean.leader.election.enable"] = "true"; // of one replica: no election
    const auto verdict = check_topic(settings(), facts);
    EXPECT_THAT(verdict.refusals, IsEmpty());
    EXPECT_THAT(verdict.warnings, ElementsAre(HasSubstr("one broker")));
}

TEST(KafkaTopicCheck, WarnsOfTwoReplicasAndOfFewerPartitionsThanWereAskedFor) {
    TopicFacts facts = good();
    facts.replicas_min = 2;
    facts.partitions = 4;
    const auto verdict = check_topic(settings(), facts);
    EXPECT_THAT(verdict.refusals, IsEmpty());
    EXPECT_THAT(verdict.warnings, ElementsAre(HasSubstr("two replicas"),
                                              HasSubstr("--alter --topic orders --partitions 8")));
}

TEST(KafkaTopicCheck, GivesThreeReplicasWhereThereAreThreeBrokers) {
    EXPECT_EQ(replication_of(settings(), 1), 1U);
    EXPECT_EQ(replication_of(settings(), 2), 2U);
    EXPECT_EQ(replication_of(settings(), 5), 3U);
    Settings asked = settings();
    asked.replication_factor = 5;
    EXPECT_EQ(replication_of(asked, 5), 5U);
    EXPECT_EQ(min_insync_of(2), 1U);
    EXPECT_EQ(min_insync_of(3), 2U);
}

} // namespace
} // namespace doorbuster::kafka
