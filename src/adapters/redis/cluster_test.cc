#include "adapters/redis/cluster_fixture.h"

#include <atomic>
#include <gmock/gmock.h>

#include "adapters/redis/subscription.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;
using testing::HasSubstr;
using testing::StartsWith;

// Starting a cluster takes seconds: the tests that leave it whole share one.
class RedisCluster : public testing::Test {
protected:
    static void TearDownTestSuite() { shared().reset(); }
    static std::unique_ptr<Cluster>& shared() {
        static std::unique_ptr<Cluster> cluster;
        return cluster;
    }
    void SetUp() override {
        DB_NEED(has_redis_server(), "redis-server");
        if (!shared()) shared() = std::make_unique<Cluster>();
    }
    Cluster& cluster() { return *shared(); }
};

TEST_F(RedisCluster, SendsEachKeyToItsNode) {
    auto options = cluster().options();
    options.servers.resize(1); // the others are found
    RunningClient client(options);
    ASSERT_TRUE(client.comes_up()) << client.state();
    for (int i = 0; i < 300; ++i) {
        const std::string key = "key" + std::to_string(i);
        ASSERT_EQ(client.ask({"SET", key, key}, key), "OK");
    }
    int found = 0;
    for (int i = 0; i < Cluster::kNodes; ++i) {
        const int size = std::stoi(cluster().ask(i, {"DBSIZE"}));
        EXPECT_GT(size, 50);
        found += size;
    }
    EXPECT_EQ(found, 300);
    for (int i = 0; i < 300; ++i) {
        const std::string key = "key" + std::to_string(i);
        ASSERT_EQ(client.ask({"GET", key}, key), key);
    }
    const Script script("redis.call('SET', KEYS[1], 1) return redis.call('INCR', KEYS[2])");
    EXPECT_EQ(client.run(script, {"{sale}a", "{sale}b"}, {}), "1");
}

TEST_F(RedisCluster, IsServedByTheClusterOfTheEnvironment) {
    const std::string listed = from_environment("DOORBUSTER_TEST_REDIS_CLUSTER");
    DB_NEED(!listed.empty(), "DOORBUSTER_TEST_REDIS_CLUSTER");
    std::vector<std::string> nodes;
    for (std::size_t at = 0; at <= listed.size();) {
        const std::size_t end = std::min(listed.find(',', at), listed.size());
        nodes.push_back(listed.substr(at, end - at));
        at = end + 1;
    }
    const auto options = read_options("", nodes);
    ASSERT_TRUE(options);
    RunningClient client(*options);
    ASSERT_TRUE(client.comes_up()) << client.state();
    for (int i = 0; i < 50; ++i) {
        const std::string key = "db-test-" + std::to_string(i);
        EXPECT_EQ(client.ask({"SET", key, key, "PX", "10000"}, key), "OK");
        EXPECT_EQ(client.ask({"GET", key}, key), key);
    }
}

TEST_F(RedisCluster, FollowsASlotWhileItMovesAndAfterwards) {
    RunningClient client(cluster().options());
    ASSERT_TRUE(client.comes_up()) << client.state();
    const std::string here = "{moving}here";
    const std::string there = "{moving}there";
    const std::string fresh = "{moving}fresh";
    const int from = cluster().owner_of(here);
    const int to = (from + 1) % Cluster::kNodes;
    ASSERT_EQ(client.ask({"SET", here, "1"}, here), "OK");
    ASSERT_EQ(client.ask({"SET", there, "2"}, there), "OK");

    cluster().begin_move(here, from, to);
    cluster().move_key(there, from, to);
    EXPECT_THAT(cluster().ask(from, {"GET", there}), StartsWith("ASK "));
    EXPECT_EQ(client.ask({"GET", here}, here), "1");
    EXPECT_EQ(client.ask({"GET", there}, there), "2") << "ASK is followed";
    EXPECT_EQ(client.ask({"SET", fresh, "3"}, fresh), "OK");
    const Script script("return redis.call('INCR', KEYS[1])");
    EXPECT_EQ(client.run(script, {there}, {}), "3") << "a script whose text is not there yet, too";
    // Two keys in two places: nobody can serve them, and no call waits for ever.
    EXPECT_THAT(client.ask({"MGET", here, there}, here, Duration(3'000)), HasSubstr("TRYAGAIN"));

    // The rest of the move happens while calls go on.
    std::vector<std::future<Result<Reply>>> calls;
    for (int i = 0; i < 200; ++i) {
        calls.push_back(client.start({"INCR", here}, here, kPatience));
        if (i == 50) cluster().move_key(here, from, to);
        if (i == 150) cluster().end_move(here, to);
    }
    for (auto& call : calls) {
        const auto reply = finish(call);
        ASSERT_TRUE(reply) << reply.error().message();
        EXPECT_TRUE(reply->is(Reply::Kind::integer)) << reply->text;
    }
    EXPECT_EQ(client.ask({"GET", here}, here), "201") << "each was executed once";
    EXPECT_THAT(cluster().ask(from, {"GET", here}), StartsWith("MOVED "));
    EXPECT_EQ(cluster().ask(to, {"GET", here}), "201");
    cluster().begin_move(here, to, from); // back, for the other tests
    for (const auto& key : {here, there, fresh}) cluster().move_key(key, to, from);
    cluster().end_move(here, from);
    EXPECT_EQ(client.ask({"GET", there}, there), "3");
}

TEST_F(RedisCluster, HearsWhatIsPublishedAtAnotherNode) {
    RunningCores cores(1);
    std::atomic<bool> is_connected{false};
    std::atomic<int> heard{0};
    Subscription::Callbacks callbacks;
    callbacks.on_message = [&](std::string_view, std::string_view) { ++heard; };
    callbacks.on_connected = [&] { is_connected = true; };
    auto subscription = Subscription::open(cores.at(0), cluster().options(), {"news"}, callbacks);
    ASSERT_TRUE(subscription);
    (*subscription)->start();
    ASSERT_TRUE(soon([&] { return is_connected.load(); }));
    for (int i = 0; i < Cluster::kNodes; ++i) cluster().ask(i, {"PUBLISH", "news", "x"});
    EXPECT_TRUE(soon([&] { return heard == Cluster::kNodes; }));
    cores.stop();
}

TEST_F(RedisCluster, IsNotTakenForASingleRedis) {
    RunningClient alone(cluster().at(0).url());
    EXPECT_TRUE(soon(
        [&] { return alone.state().find("set redis.nodes, not redis.url") != std::string::npos; }));
    Server single;
    const std::vector<std::string> nodes{single.host_port()};
    auto options = read_options("", nodes);
    ASSERT_TRUE(options);
    RunningClient client(*options);
    EXPECT_TRUE(soon([&] {
        return client.state().find("set redis.url, not redis.nodes") != std::string::npos;
    })) << client.state();
}

TEST_F(RedisCluster, FollowsAReplicaThatIsPromoted) {
    Cluster own;
    RunningClient client(own.options());
    ASSERT_TRUE(client.comes_up()) << client.state();
    const std::string key = "promoted";
    const int old = own.owner_of(key);
    Server& replica = own.add_replica(old);
    ASSERT_EQ(client.ask({"SET", key, "0"}, key), "OK");
    // Calls go on meanwhile: each is executed once or not at all, and says which, or that it does
    // not know.
    int executed = 0;
    int unknown = 0;
    const auto call = [&] {
        auto pending = client.start({"INCR", key}, key, kPatience);
        const auto reply = finish(pending);
        if (!reply) unknown += static_cast<int>(reply.error().is(Errc::timeout));
        const bool is_counted = reply && reply->is(Reply::Kind::integer);
        executed += static_cast<int>(is_counted);
        return is_counted;
    };
    // On a starved machine Redis gives a failover up after its five seconds: it is asked again.
    std::chrono::steady_clock::time_point asked;
    EXPECT_TRUE(soon([&] {
        const auto now = std::chrono::steady_clock::now();
        const bool is_promoted = replica.ask({"ROLE"}).starts_with("master");
        if (!is_promoted && now - asked > std::chrono::seconds(6)) {
            static_cast<void>(replica.ask({"CLUSTER", "FAILOVER"}));
            asked = now;
        }
        call();
        return is_promoted && own.ask(old, {"ROLE"}).starts_with("slave");
    }));
    EXPECT_TRUE(soon(call));
    const int value = std::stoi(client.ask({"GET", key}, key));
    EXPECT_GE(value, executed);
    EXPECT_LE(value, executed + unknown);
    EXPECT_TRUE(client.comes_up()) << client.state();
}

TEST_F(RedisCluster, LosesOneNodeAndKeepsTheOthers) {
    Cluster& own = cluster();
    RunningClient client(own.options());
    ASSERT_TRUE(client.comes_up()) << client.state();
    std::vector<std::string> key_of(Cluster::kNodes);
    for (int i = 0; i < 100; ++i) {
        const std::string key = "k" + std::to_string(i);
        key_of[static_cast<std::size_t>(own.owner_of(key))] = key;
    }
    own.at(1).kill();
    EXPECT_TRUE(soon([&] { return client.state() != "up"; }));
    EXPECT_THAT(client.state(), HasSubstr("1 of 3 nodes: " + own.at(1).host_port()));
    EXPECT_THAT(client.ask({"GET", key_of[1]}, key_of[1]), StartsWith("! "));
    EXPECT_EQ(client.ask({"SET", key_of[0], "v"}, key_of[0]), "OK");
    EXPECT_EQ(client.ask({"SET", key_of[2], "v"}, key_of[2]), "OK");
    own.at(1).start(); // with the node's file, as itself
    ASSERT_TRUE(client.comes_up()) << client.state();
    EXPECT_TRUE(soon([&] { return client.ask({"SET", key_of[1], "v"}, key_of[1]) == "OK"; }));
}

} // namespace
} // namespace doorbuster::redis
