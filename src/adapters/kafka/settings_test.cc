#include "adapters/kafka/settings.h"

#include <gtest/gtest.h>

#include "adapters/kafka/client.h"

namespace doorbuster::kafka {
namespace {

Settings good() {
    Settings settings;
    settings.brokers = "127.0.0.1:1";
    settings.topic = "orders";
    settings.group = "doorbuster";
    return settings;
}

TEST(KafkaSettings, AreTakenWhenTheyNameBrokersTopicAndGroup) { EXPECT_TRUE(check(good())); }

TEST(KafkaSettings, SayWhichKeyIsWrong) {
    Settings settings = good();
    settings.brokers.clear();
    EXPECT_NE(check(settings).error().context.find("kafka.brokers"), std::string::npos);
    settings = good();
    settings.topic = "my orders";
    EXPECT_NE(check(settings).error().context.find("kafka.topic"), std::string::npos);
    settings = good();
    settings.group.clear();
    EXPECT_NE(check(settings).error().context.find("kafka.group"), std::string::npos);
    settings = good();
    settings.partitions = 0;
    EXPECT_NE(check(settings).error().context.find("kafka.partitions"), std::string::npos);
}

TEST(KafkaSettings, RefuseWhatThePromiseRestsOnUnderEitherOfItsNames) {
    for (const char* property :
         {"acks", "request.required.acks", "enable.idempotence", "auto.offset.reset",
          "enable.auto.commit", "isolation.level", "bootstrap.servers", "group.id"}) {
        Settings settings = good();
        settings.properties[property] = "1";
        const auto checked = check(settings);
        ASSERT_FALSE(checked) << property;
        EXPECT_TRUE(checked.error().is(Errc::invalid));
        EXPECT_NE(checked.error().context.find(property), std::string::npos);
    }
}

TEST(KafkaSettings, LeaveTheRestOfLibrdkafkasPropertiesToTheUser) {
    Settings settings = good();
    settings.properties = {
        {"linger.ms", "3"}, {"ssl.ca.location", "/nowhere"}, {"compression.type", "lz4"}};
    EXPECT_TRUE(check(settings));
}

TEST(KafkaSettings, MakeAClientOfEveryRole) {
    for (const Role role : {Role::producer, Role::tail, Role::reader, Role::feed}) {
        const auto client = Client::open(good(), role, nullptr);
        EXPECT_TRUE(client) << (client ? "" : client.error().message());
    }
}

TEST(KafkaSettings, NameAPropertyThatLibrdkafkaDoesNotKnow) {
    Settings settings = good();
    settings.properties["lingr.ms"] = "3";
    const auto client = Client::open(settings, Role::producer, nullptr);
    ASSERT_FALSE(client);
    EXPECT_TRUE(client.error().is(Errc::invalid));
    EXPECT_NE(client.error().context.find("lingr.ms"), std::string::npos);
}

} // namespace
} // namespace doorbuster::kafka
