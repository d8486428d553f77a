#include "adapters/redis/rate_limiter.h"

#include <atomic>
#include <gmock/gmock.h>
#include <map>
#include <mutex>

#include "adapters/redis/cluster_fixture.h"
#include "adapters/redis/outage.h"
#include "adapters/redis/refused_subjects.h"
#include "adapters/redis/system_lease.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;
using testing::HasSubstr;

constexpr double kNever = 0.0001; // requests a second: none comes back while a test runs
constexpr std::int64_t kSecondNs = 1'000'000'000;

Fingerprint print_of(std::uint64_t n) {
    static constexpr Fingerprinter kPrints(3, 4);
    return kPrints.of(std::to_string(n));
}

// Lets each user in so many times.
class FakeLocalLimiter final : public RateLimiter {
public:
    explicit FakeLocalLimiter(int each) : each_(each) {}
    Task<std::optional<Refusal>> check(const RateSubject& subject) override {
        EXPECT_FALSE(subject.counts_for_system);
        const std::scoped_lock lock(mutex_);
        ++asked_;
        std::optional<Refusal> refusal;
        if (++seen_[*subject.user] > each_) {
            refusal.emplace();
            refusal->reason = PurchaseOutcome::rate_limited;
            refusal->rate = RateRefusal{"local", 1, Duration(1)};
        }
        co_return refusal;
    }
    [[nodiscard]] bool is_on() const override { return true; }
    int asked() {
        const std::scoped_lock lock(mutex_);
        return asked_;
    }

private:
    int each_;
    std::mutex mutex_;
    std::map<Fingerprint, int> seen_;
    int asked_ = 0;
};

// A node: cores, their clients and one limiter.
class Node {
public:
    Node(const ClientOptions& redis, RateLimiterOptions options, std::size_t cores = 2,
         int local_each = 1'000'000)
        : cores_(cores), local_(local_each) {
        std::vector<Client*> pointers;
        for (std::size_t i = 0; i < cores; ++i) {
            auto client = Client::open(cores_.at(i), redis);
            EXPECT_TRUE(client);
            clients_.push_back(std::move(*client));
            clients_.back()->start();
            pointers.push_back(clients_.back().get());
        }
        limiter_.emplace(cores_, pointers, std::move(options), local_, clock_);
    }
    ~Node() {
        cores_.stop();
        clients_.clear();
    }
    bool comes_up() {
        for (std::size_t i = 0; i < cores_.size(); ++i) {
            if (!run_on(cores_.at(i), clients_[i]->wait_until_up(Duration(40'000)))) return false;
        }
        return true;
    }
    // Which policy refused; "": none.
    std::string check(std::uint64_t user, std::uint64_t address, bool is_purchase = true) {
        const auto refusal = run_on(cores_.at(0), one(user, address, is_purchase));
        if (!refusal) return "";
        EXPECT_GT(refusal->retry_after.value_or(Duration(1)), Duration(0));
        return refusal->rate ? refusal->rate->policy : "?";
    }
    // `lines` at once on each core, each trying `times` in a row.
    std::vector<std::future<int>> rush(int lines, int times, std::uint64_t users) {
        std::vector<std::future<int>> out;
        for (int line = 0; line < lines; ++line) {
            for (std::size_t i = 0; i < cores_.size(); ++i) {
                const auto first = static_cast<std::uint64_t>(line);
                out.push_back(start_on(cores_.at(i), try_often(first, times, users)));
            }
        }
        return out;
    }
    RateLimiter& limiter() { return *limiter_; }
    FakeLocalLimiter& local() { return local_; }

private:
    Task<std::optional<Refusal>> one(std::uint64_t user, std::uint64_t address, bool is_purchase) {
        RateSubject subject;
        subject.user = print_of(user);
        subject.address = print_of(1'000'000 + address);
        subject.counts_for_system = is_purchase;
        co_return co_await limiter_->check(subject);
    }
    Task<int> try_often(std::uint64_t first, int times, std::uint64_t users) {
        int allowed = 0;
        for (int i = 0; i < times; ++i) {
            const auto refusal =
                co_await one((first + static_cast<std::uint64_t>(i)) % users, first, true);
            if (!refusal) ++allowed;
        }
        co_return allowed;
    }

    RunningCores cores_;
    SystemClock clock_;
    FakeLocalLimiter local_;
    std::vector<std::unique_ptr<Client>> clients_;
    std::optional<RedisRateLimiter> limiter_;
};

RateLimiterOptions options_of(const RateLimits& limits) {
    RateLimiterOptions options;
    options.limits = limits;
    options.call_wait_max = Duration(20'000); // a busy machine is not what is tested
    return options;
}

int sum(std::vector<std::future<int>>& parts) {
    int out = 0;
    for (auto& part : parts) out += finish(part);
    return out;
}

// Calls of scripts that the server has executed.
int script_calls(Server& server) {
    int calls = 0;
    const std::string stats = server.ask({"INFO", "commandstats"});
    for (const std::string name : {"cmdstat_evalsha:calls=", "cmdstat_eval:calls="}) {
        const std::size_t at = stats.find(name);
        if (at != std::string::npos) calls += std::stoi(stats.substr(at + name.size()));
    }
    return calls;
}

TEST(RefusedSubjects, AreForgottenWhenTheyMayComeBack) {
    RefusedSubjects refused;
    refused.add(print_of(1), 2 * kSecondNs, kSecondNs);
    EXPECT_EQ(refused.wait_ns(print_of(1), kSecondNs), kSecondNs);
    EXPECT_EQ(refused.wait_ns(print_of(1), 2 * kSecondNs), 0);
    EXPECT_EQ(refused.wait_ns(print_of(2), kSecondNs), 0);
    for (std::uint64_t n = 0; n < 2 * RefusedSubjects::kMax; ++n) {
        refused.add(print_of(n), 3 * kSecondNs, kSecondNs);
    }
    EXPECT_EQ(refused.size(), RefusedSubjects::kMax);
    refused.add(print_of(1), 9 * kSecondNs, 4 * kSecondNs);
    EXPECT_EQ(refused.size(), 1U);
}

TEST(Outage, LetsOneCallTryNowAndThen) {
    Outage outage;
    EXPECT_TRUE(outage.lets_call(0));
    EXPECT_TRUE(outage.failed(0));
    EXPECT_FALSE(outage.failed(0)) << "known already";
    EXPECT_FALSE(outage.lets_call(Outage::kTryEveryNs - 1));
    EXPECT_TRUE(outage.lets_call(Outage::kTryEveryNs));
    EXPECT_FALSE(outage.lets_call(Outage::kTryEveryNs + 1));
    EXPECT_TRUE(outage.worked());
    EXPECT_TRUE(outage.lets_call(Outage::kTryEveryNs + 2));
}

TEST(RedisRateLimiter, IsOffUntilALimitIsSet) {
    RunningCores cores(1);
    auto client = Client::open(cores.at(0), options_for("redis://127.0.0.1:1"));
    ASSERT_TRUE(client);
    const std::array<Client*, 1> clients{client->get()};
    FakeLocalLimiter local(0);
    SystemClock clock;
    EXPECT_FALSE(RedisRateLimiter(cores, clients, options_of({}), local, clock).is_on());
    EXPECT_TRUE(
        RedisRateLimiter(cores, clients, options_of({{1, 1}, {}, {}}), local, clock).is_on());
    EXPECT_TRUE(
        RedisRateLimiter(cores, clients, options_of({{}, {}, {1, 1}}), local, clock).is_on());
    cores.stop();
}

TEST(RedisRateLimiter, LetsInExactlyTheBurstOfAUserAcrossNodes) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    constexpr int kUsers = 40;
    constexpr int kBurst = 25;
    const auto options = options_of({{}, {kNever, kBurst}, {}});
    Node first(options_for(server.url()), options);
    Node second(options_for(server.url()), options);
    ASSERT_TRUE(first.comes_up() && second.comes_up());
    auto one = first.rush(100, 50, kUsers);
    auto other = second.rush(100, 50, kUsers);
    EXPECT_EQ(sum(one) + sum(other), kUsers * kBurst);
    EXPECT_EQ(first.local().asked() + second.local().asked(), 0);
    EXPECT_LT(script_calls(server), 2'000) << "20,000 attempts shared calls, or cost none";
}

TEST(RedisRateLimiter, SaysWhichLimitRefusedAndCountsARefusalNowhere) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    Node node(options_for(server.url()), options_of({{}, {kNever, 1}, {kNever, 3}}), 1);
    ASSERT_TRUE(node.comes_up());
    EXPECT_EQ(node.check(1, 1), "");
    for (int i = 0; i < 5; ++i) EXPECT_EQ(node.check(1, 1), "user");
    EXPECT_EQ(node.check(2, 1), "") << "the address has two left, the user's no cost it nothing";
    EXPECT_EQ(node.check(3, 1), "");
    for (int i = 0; i < 5; ++i) EXPECT_EQ(node.check(4, 1), "ip");
    EXPECT_EQ(node.check(4, 2), "") << "user 4 was not counted when its address was refused";
}

TEST(RedisRateLimiter, CountsOnlyPurchasesForTheSystemAndItsRefusalsForNobody) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    Node node(options_for(server.url()), options_of({{kNever, 6}, {kNever, 1}, {}}), 1);
    ASSERT_TRUE(node.comes_up());
    for (std::uint64_t n = 0; n < 20; ++n) EXPECT_EQ(node.check(n, 1, false), "");
    std::uint64_t user = 100;
    while (user < 200 && node.check(user, 1).empty()) ++user;
    EXPECT_GT(user, 100U);
    EXPECT_LE(user, 106U);
    EXPECT_EQ(node.check(user, 1), "system");
    EXPECT_EQ(node.check(user, 1, false), "") << "the system's no was not counted for the user";
    EXPECT_EQ(node.check(user, 1, false), "user");
}

TEST(RedisRateLimiter, RestoresWhatTimeRestores) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    Node node(options_for(server.url()), options_of({{}, {20, 1}, {}}), 1);
    ASSERT_TRUE(node.comes_up());
    EXPECT_EQ(node.check(1, 1), "");
    EXPECT_TRUE(soon([&] { return node.check(1, 1).empty(); })) << "after 50 ms";
}

TEST(RedisRateLimiter, LeavesOnlyKeysThatExpire) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    auto options = options_of({{5, 10}, {5, 1}, {5, 2}});
    options.prefix = "shop:limits:";
    Node node(options_for(server.url()), options, 1);
    ASSERT_TRUE(node.comes_up());
    for (std::uint64_t n = 0; n < 5; ++n) EXPECT_EQ(node.check(n, n), "");
    const std::string keys = server.ask({"KEYS", "*"});
    std::size_t count = 0;
    for (std::size_t at = 0; at < keys.size(); ++count) {
        const std::size_t end = std::min(keys.find(' ', at), keys.size());
        const std::string key = keys.substr(at, end - at);
        EXPECT_TRUE(key.starts_with("shop:limits:")) << key;
        EXPECT_NE(server.ask({"PTTL", key}), "-1") << key << " never expires";
        at = end + 1;
    }
    EXPECT_GE(count, 2U);
    const std::string user = "shop:limits:u:*";
    EXPECT_TRUE(soon([&] { return server.ask({"KEYS", user}).empty(); }));
}

TEST(RedisRateLimiter, LetsInNoMoreThanTheSystemsBurstAcrossNodes) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    constexpr int kBurst = 1'000;
    const auto options = options_of({{kNever, kBurst}, {}, {}});
    Node first(options_for(server.url()), options);
    Node second(options_for(server.url()), options);
    ASSERT_TRUE(first.comes_up() && second.comes_up());
    int allowed = 0;
    for (int round = 0; round < 20; ++round) {
        auto one = first.rush(50, 20, 1);
        auto other = second.rush(50, 20, 1);
        allowed += sum(one) + sum(other);
        ASSERT_LE(allowed, kBurst);
    }
    EXPECT_GE(allowed, kBurst / 2) << "shares that were not used up are lost, but not many";
    EXPECT_LT(script_calls(server), 2'000) << "of 80,000 attempts";
}

TEST(RedisRateLimiter, KeepsTheSystemsRateAndItsSlack) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    constexpr double kRate = 2'000;
    constexpr double kBurst = 100;
    const auto options = options_of({{kRate, kBurst}, {}, {}});
    Node first(options_for(server.url()), options);
    Node second(options_for(server.url()), options);
    ASSERT_TRUE(first.comes_up() && second.comes_up());
    const auto began = std::chrono::steady_clock::now();
    double allowed = 0;
    double passed_s = 0;
    while (passed_s < 1.0) {
        auto one = first.rush(20, 100, 1);
        auto other = second.rush(20, 100, 1);
        allowed += sum(one) + sum(other);
        const auto passed = std::chrono::steady_clock::now() - began;
        passed_s = std::chrono::duration<double>(passed).count();
    }
    const double lease_s = static_cast<double>(SystemLease::kLeaseNs) / 1e9;
    EXPECT_LE(allowed, kBurst + kRate * (passed_s + lease_s));
    EXPECT_GE(allowed, kBurst);
}

TEST(RedisRateLimiter, RarelyCallsWhenTheSystemsLimitIsFar) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    Node node(options_for(server.url()), options_of({{1e6, 1e6}, {}, {}}), 1);
    ASSERT_TRUE(node.comes_up());
    auto lines = node.rush(50, 1'000, 1);
    EXPECT_EQ(sum(lines), 50'000);
    EXPECT_LT(script_calls(server), 500);
}

TEST(RedisRateLimiter, CountsByItselfWhileRedisIsAway) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    std::mutex mutex;
    std::string told;
    auto options = options_of({{kNever, 90}, {kNever, 5}, {}});
    options.call_wait_max = Duration(30);
    options.tell = [&](const std::string& text) {
        const std::scoped_lock lock(mutex);
        told += text + "\n";
    };
    auto redis = options_for(server.url());
    redis.silence_max = Duration(60);
    Node node(redis, options, 1, 3);
    ASSERT_TRUE(node.comes_up());
    // The first calls may take longer than 30 ms on a busy machine.
    ASSERT_TRUE(soon([&] {
        static_cast<void>(node.check(1, 1));
        return script_calls(server) > 1 && node.check(1, 1) == "user";
    }));
    const int asked_before = node.local().asked();
    server.freeze();
    int allowed = 0;
    for (int i = 0; i < 50; ++i) {
        const std::string said = node.check(2, 1);
        EXPECT_TRUE(said.empty() || said == "local" || said == "system") << said;
        if (said.empty()) ++allowed;
    }
    EXPECT_LE(allowed, 3) << "the local limiter's word, never none";
    EXPECT_GT(node.local().asked(), asked_before);
    // The system's limit goes on, too: this core's part of it.
    int of_system = 0;
    for (std::uint64_t n = 100; n < 400; ++n) {
        if (node.check(n, 1).empty()) ++of_system;
    }
    EXPECT_LE(of_system, 2 * 90);
    EXPECT_GT(of_system, 0);
    server.thaw();
    EXPECT_TRUE(soon([&] {
        static_cast<void>(node.check(2, 1));
        const std::scoped_lock lock(mutex);
        return told.find("Redis is back") != std::string::npos;
    }));
    const std::scoped_lock lock(mutex);
    EXPECT_THAT(told, HasSubstr("counts by itself meanwhile"));
}

TEST(RedisRateLimiter, LimitsFromTheStartThoughRedisWasNeverThere) {
    auto options = options_of({{kNever, 10}, {kNever, 5}, {}});
    const std::string nowhere = "redis://127.0.0.1:" + std::to_string(free_port());
    Node node(options_for(nowhere), options, 1, 2);
    int allowed = 0;
    for (int i = 0; i < 50; ++i) {
        if (node.check(1, 1).empty()) ++allowed;
    }
    EXPECT_EQ(allowed, 2);
    for (std::uint64_t n = 10; n < 60; ++n) {
        if (node.check(n, 1).empty()) ++allowed;
    }
    EXPECT_LE(allowed, 10) << "the system's";
    EXPECT_GT(allowed, 4);
}

TEST(RedisRateLimiter, LimitsOverAClusterToo) {
    DB_NEED(has_redis_server(), "redis-server");
    Cluster cluster;
    constexpr int kUsers = 20;
    constexpr int kBurst = 5;
    const auto options = options_of({{1e6, 1e6}, {kNever, kBurst}, {kNever, 10'000}});
    Node first(cluster.options(), options);
    Node second(cluster.options(), options);
    ASSERT_TRUE(first.comes_up() && second.comes_up());
    auto one = first.rush(20, 50, kUsers);
    auto other = second.rush(20, 50, kUsers);
    EXPECT_EQ(sum(one) + sum(other), kUsers * kBurst);
    EXPECT_EQ(first.local().asked() + second.local().asked(), 0);

    auto narrow = options_of({{}, {kNever, 1}, {kNever, 2}});
    narrow.prefix = "narrow:";
    Node node(cluster.options(), narrow, 1);
    ASSERT_TRUE(node.comes_up());
    EXPECT_EQ(node.check(1, 1), "");
    EXPECT_EQ(node.check(1, 1), "user");
    EXPECT_EQ(node.check(2, 1), "") << "the address got its second request back";
    EXPECT_EQ(node.check(3, 1), "ip");
}

} // namespace
} // namespace doorbuster::redis
