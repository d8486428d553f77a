#include "adapters/redis/subscription.h"

#include <mutex>

#include "adapters/redis/redis_fixture.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;

class RunningSubscription {
public:
    RunningSubscription(ClientOptions options, std::vector<std::string> channels) {
        Subscription::Callbacks callbacks;
        callbacks.on_message = [this](std::string_view channel, std::string_view message) {
            const std::scoped_lock lock(mutex_);
            heard_ += std::string(channel) + "=" + std::string(message) + " ";
        };
        callbacks.on_connected = [this] { ++connected_; };
        auto opened = Subscription::open(cores_.at(0), std::move(options), std::move(channels),
                                         std::move(callbacks));
        EXPECT_TRUE(opened);
        subscription_ = std::move(*opened);
        subscription_->start();
    }
    ~RunningSubscription() {
        cores_.stop();
        subscription_.reset();
    }
    bool connects(int times) {
        return soon([&] { return connected_ >= times; });
    }
    bool hears(const std::string& what) {
        return soon([&] { return heard() == what; });
    }
    std::string heard() {
        const std::scoped_lock lock(mutex_);
        return heard_;
    }
    std::string state() { return run_on(cores_.at(0), state_task()); }

private:
    Task<std::string> state_task() { co_return subscription_->state(); }

    RunningCores cores_{1};
    std::unique_ptr<Subscription> subscription_;
    std::mutex mutex_;
    std::string heard_;
    std::atomic<int> connected_{0};
};

TEST(RedisSubscription, HearsWhatIsPublishedOnItsChannels) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    RunningSubscription subscription(options_for(server.url()), {"a", "b"});
    ASSERT_TRUE(subscription.connects(1));
    EXPECT_EQ(server.ask({"PUBLISH", "a", "1"}), "1");
    EXPECT_EQ(server.ask({"PUBLISH", "c", "2"}), "0");
    EXPECT_EQ(server.ask({"PUBLISH", "b", "3"}), "1");
    EXPECT_TRUE(subscription.hears("a=1 b=3 ")) << subscription.heard();
}

TEST(RedisSubscription, ComesBackAndSaysSo) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    RunningSubscription subscription(options_for(server.url()), {"a"});
    ASSERT_TRUE(subscription.connects(1));
    server.kill();
    EXPECT_TRUE(soon([&] { return subscription.state() != "up"; }));
    server.start();
    ASSERT_TRUE(subscription.connects(2));
    EXPECT_EQ(server.ask({"PUBLISH", "a", "again"}), "1");
    EXPECT_TRUE(subscription.hears("a=again "));
}

TEST(RedisSubscription, NoticesASilentServer) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    auto options = options_for(server.url());
    options.silence_max = Duration(30);
    options.connect_wait_max = Duration(200);
    RunningSubscription subscription(options, {"a"});
    ASSERT_TRUE(subscription.connects(1));
    server.freeze();
    EXPECT_TRUE(soon([&] { return subscription.state() != "up"; }));
    server.thaw();
    EXPECT_TRUE(subscription.connects(2));
}

TEST(RedisSubscription, SaysThatItMayNot) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server({"--user", "shop", "on", ">s", "~*", "resetchannels", "&mine", "+@all"});
    RunningSubscription subscription(options_for("redis://shop:s@" + server.host_port()), {"a"});
    EXPECT_TRUE(soon([&] {
        return subscription.state().find("refuses to subscribe: NOPERM") != std::string::npos;
    }));
}

} // namespace
} // namespace doorbuster::redis
