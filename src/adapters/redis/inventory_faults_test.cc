// What the inventory does when Redis forgets, dies, comes back, is slow, or its replies are lost.
#include <gtest/gtest.h>

#include "adapters/redis/inventory_fixture.h"
#include "adapters/redis/tcp_gate.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;

class RedisInventoryFaults : public testing::Test {
protected:
    void SetUp() override { DB_NEED(has_redis_server(), "redis-server"); }
};

// A sale that may not be believed refuses everything, and says so on the flag that all cores read.
void expect_cold(Node& node, const StockSignals& signals) {
    EXPECT_EQ(refusal_of(node.reserve("cold", 900)).reason, PurchaseOutcome::unavailable);
    EXPECT_FALSE(refusal_of(node.reserve("cold", 901)).order_id);
    EXPECT_TRUE(signals.is_cold);
    const auto count = node.count();
    ASSERT_FALSE(count);
    EXPECT_TRUE(count.error().is(Errc::not_found)) << count.error().message();
    EXPECT_FALSE(node.attach(terms_of(10, 1), Epoch(1)));
    const std::vector<OrderId> orders(1, order_no(1));
    const auto released =
        run_on(node.cores().at(0), node.inventory().release(terms_of(10, 1), Epoch(1), orders));
    ASSERT_FALSE(released);
    EXPECT_TRUE(released.error().is(Errc::fenced)) << released.error().message();
    ASSERT_TRUE(node.pending());
    EXPECT_TRUE(node.pending()->empty());
}

// The clients have noticed that the server is another, and are connected to it.
bool is_answered_on_all_cores(Node& node) {
    for (std::size_t i = 0; i < node.cores().size(); ++i) {
        const bool is_up = eventually([&] {
            return run_on(node.cores().at(i), node.inventory().begin_rebuild(SaleNo(99), Epoch(1)))
                .has_value();
        });
        if (!is_up) return false;
    }
    return true;
}

TEST_F(RedisInventoryFaults, NeverTakesAFlushedRedisForFullStock) {
    Server server;
    Node node(server.url(), "db");
    const auto signals = node.install(image_of(10, 1));
    ASSERT_TRUE(node.reserve("u", 1));
    EXPECT_EQ(server.ask({"FLUSHALL"}), "OK");
    expect_cold(node, *signals);
    SaleImage image = image_of(10, 1, Epoch(2));
    image.live.push_back({order_no(1), kPrints.of("u"), std::nullopt, 1});
    ASSERT_TRUE(node.install(std::move(image)));
    EXPECT_FALSE(signals->is_cold);
    EXPECT_EQ(signals->remaining, 9);
    EXPECT_EQ(refusal_of(node.reserve("u", 2)).order_id, order_no(1));
    EXPECT_TRUE(node.reserve("v", 3));
}

TEST_F(RedisInventoryFaults, IsColdWhenASingleKeyOfTheSaleIsLost) {
    Server server;
    Node node(server.url(), "db");
    const auto signals = node.install(image_of(10, 1));
    EXPECT_EQ(server.ask({"DEL", "db:{5}:sale"}), "1");
    expect_cold(node, *signals);
}

TEST_F(RedisInventoryFaults, IsColdWhenTheServerStartsAgainEmpty) {
    Server server;
    Node node(server.url(), "db");
    const auto signals = node.install(image_of(10, 1));
    ASSERT_TRUE(node.reserve("u", 1));
    server.kill();
    server.start();
    ASSERT_TRUE(is_answered_on_all_cores(node));
    expect_cold(node, *signals);
}

TEST_F(RedisInventoryFaults, DoesNotBelieveWhatTheServerReadFromItsDisk) {
    Server server({"--appendonly", "yes", "--appendfsync", "always"});
    Node node(server.url(), "db");
    const auto signals = node.install(image_of(10, 1));
    ASSERT_TRUE(node.reserve("u", 1));
    server.kill();
    server.start();
    ASSERT_TRUE(is_answered_on_all_cores(node));
    EXPECT_EQ(server.ask({"HGET", "db:{5}:sale", "held"}), "1") << "it is all there";
    expect_cold(node, *signals);
    ASSERT_TRUE(node.install(image_of(10, 1, Epoch(2))));
    EXPECT_EQ(signals->remaining, 10);
    EXPECT_TRUE(node.reserve("v", 2));
}

TEST_F(RedisInventoryFaults, IsColdWhenAReplicaHasTakenOver) {
    Server server({"--repl-diskless-sync-delay", "0"});
    TcpGate gate(server.port());
    Node node(gate.url(), "db");
    const auto signals = node.install(image_of(10, 1));
    ASSERT_TRUE(node.reserve("u", 1));
    const Server replica({"--replicaof", "127.0.0.1 " + std::to_string(server.port())});
    ASSERT_TRUE(eventually([&] { return replica.ask({"HGET", "db:{5}:sale", "held"}) == "1"; }));
    EXPECT_EQ(replica.ask({"REPLICAOF", "NO", "ONE"}), "OK");
    gate.lead_to(replica.port());
    ASSERT_TRUE(is_answered_on_all_cores(node));
    expect_cold(node, *signals);
    ASSERT_TRUE(node.install(image_of(10, 1, Epoch(2))));
    EXPECT_TRUE(node.reserve("u", 2));
}

TEST_F(RedisInventoryFaults, IsColdWhenTheServersHistoryIsAnother) {
    Server server({"--enable-debug-command", "yes"});
    Node node(server.url(), "db");
    const auto signals = node.install(image_of(10, 1));
    EXPECT_EQ(server.ask({"DEBUG", "CHANGE-REPL-ID"}), "OK");
    expect_cold(node, *signals);
}

TEST_F(RedisInventoryFaults, SellsOnWhenTheServerForgetsItsScripts) {
    Server server;
    Node node(server.url(), "db");
    ASSERT_TRUE(node.install(image_of(10, 1)));
    ASSERT_TRUE(node.reserve("u", 1));
    EXPECT_EQ(server.ask({"SCRIPT", "FLUSH"}), "OK");
    ASSERT_TRUE(node.reserve("v", 2));
    EXPECT_EQ(node.count()->remaining, 8);
}

TEST_F(RedisInventoryFaults, AsksAgainAndTakesOnceWhenAReplyIsLost) {
    Server server;
    TcpGate gate(server.port());
    Node node(gate.url(), "db", 1);
    ASSERT_TRUE(node.install(image_of(10, 5)));
    for (std::uint64_t i = 1; i <= 5; ++i) {
        gate.lose_next_reply();
        const auto held = node.reserve("u", i, 1, "key " + std::to_string(i));
        ASSERT_TRUE(held) << i;
        EXPECT_TRUE(gate.has_lost());
        EXPECT_EQ(held->order, order_no(i));
        EXPECT_FALSE(held->replayed);
        EXPECT_EQ(node.count()->remaining, 10 - static_cast<Units>(i));
    }
    EXPECT_EQ(node.log().records().size(), 5U);
    gate.lose_next_reply();
    const std::vector<OrderId> orders(1, order_no(1));
    ASSERT_TRUE(
        run_on(node.cores().at(0), node.inventory().release(terms_of(10, 5), Epoch(1), orders)));
    EXPECT_EQ(node.count()->given_back, 1);
    gate.lose_next_reply();
    ASSERT_TRUE(node.install(image_of(10, 5, Epoch(2))));
    EXPECT_EQ(node.count()->remaining, 10);
}

TEST_F(RedisInventoryFaults, NamesTheOrderThatAFrozenServerMayHold) {
    Server server;
    Node node(server.url(), "db", 1);
    ASSERT_TRUE(node.install(image_of(10, 1)));
    ASSERT_TRUE(node.reserve("the script is known now", 100));
    server.freeze();
    const Refusal refusal = refusal_of(node.reserve("u", 1));
    EXPECT_EQ(refusal.reason, PurchaseOutcome::unavailable);
    EXPECT_EQ(refusal.order_id, order_no(1));
    EXPECT_EQ(node.log().records().size(), 1U);
    server.thaw();
    // Then it is held, and whoever is alive appends it.
    EXPECT_TRUE(eventually([&] {
        const auto pending = node.pending();
        return pending && pending->size() == 2 && pending->back().order == order_no(1);
    }));
    const auto again = node.reserve("u", 1);
    ASSERT_TRUE(again);
    EXPECT_EQ(node.count()->remaining, 8);
}

TEST_F(RedisInventoryFaults, RefusesAtOnceWhileRedisIsAway) {
    Server server;
    ClientOptions client = options_for(server.url());
    Node node(client, Node::named("db"), 1);
    const auto signals = node.install(image_of(10, 1));
    server.kill();
    ASSERT_TRUE(eventually([&] { return !node.count().has_value(); }));
    const auto started = std::chrono::steady_clock::now();
    for (std::uint64_t i = 1; i <= 20; ++i) {
        const Refusal refusal = refusal_of(node.reserve("u", i));
        EXPECT_EQ(refusal.reason, PurchaseOutcome::unavailable);
        EXPECT_FALSE(refusal.order_id) << "nothing was sent";
    }
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(15));
    EXPECT_TRUE(node.log().records().empty());
    const SaleTerms terms = terms_of(10, 1);
    const auto set = run_on(node.cores().at(0), node.inventory().set_terms(terms));
    ASSERT_FALSE(set);
    EXPECT_TRUE(set.error().is(Errc::unavailable)) << set.error().message();
}

TEST_F(RedisInventoryFaults, HoldsNothingWhenRedisHasNoMemoryLeft) {
    Server server;
    Node node(server.url(), "db", 1);
    ASSERT_TRUE(node.install(image_of(10, 1)));
    EXPECT_EQ(server.ask({"CONFIG", "SET", "maxmemory", "1"}), "OK");
    const Refusal refusal = refusal_of(node.reserve("u", 1));
    EXPECT_EQ(refusal.reason, PurchaseOutcome::unavailable);
    EXPECT_FALSE(refusal.order_id);
    EXPECT_EQ(server.ask({"CONFIG", "SET", "maxmemory", "0"}), "OK");
    EXPECT_EQ(node.count()->remaining, 10);
    EXPECT_EQ(node.count()->pending, 0);
    EXPECT_TRUE(node.reserve("u", 2));
}

TEST_F(RedisInventoryFaults, HoldsNoMoreThanItsBoundPending) {
    Server server;
    InventoryOptions options = Node::named("db");
    options.pending_max = 3;
    Node node(options_for(server.url()), std::move(options), 1);
    ASSERT_TRUE(node.install(image_of(10, 1)));
    for (std::uint64_t i = 1; i <= 3; ++i) ASSERT_TRUE(node.reserve("u" + std::to_string(i), i));
    EXPECT_EQ(refusal_of(node.reserve("v", 4)).reason, PurchaseOutcome::overloaded);
    EXPECT_EQ(node.count()->remaining, 7);
    node.inventory().settled(kSale, order_no(2));
    EXPECT_TRUE(eventually([&] { return node.count()->pending == 2; }));
    EXPECT_TRUE(node.reserve("v", 5));
}

TEST_F(RedisInventoryFaults, LetsNoMoreWaitThanItsBound) {
    Server server;
    InventoryOptions options = Node::named("db");
    options.waiting_max = 2;
    Node node(options_for(server.url()), std::move(options), 1);
    ASSERT_TRUE(node.install(image_of(10, 1)));
    server.freeze();
    std::vector<std::unique_ptr<Buyer>> buyers;
    std::vector<std::future<Step<Reservation>>> answers;
    for (std::uint64_t i = 1; i <= 3; ++i) {
        buyers.push_back(std::make_unique<Buyer>("u" + std::to_string(i), order_no(i), 1, ""));
        answers.push_back(start_on(node.cores().at(0),
                                   node.inventory().reserve(buyers.back()->request, node.log())));
    }
    EXPECT_EQ(refusal_of(finish(answers[2])).reason, PurchaseOutcome::overloaded);
    server.thaw();
    EXPECT_TRUE(finish(answers[0]));
    EXPECT_TRUE(finish(answers[1]));
}

TEST_F(RedisInventoryFaults, EndsWhileAttemptsWait) {
    Server server;
    const Buyer buyer("u", order_no(1), 1, "");
    std::future<Step<Reservation>> answer;
    {
        Node node(server.url(), "db", 1);
        ASSERT_TRUE(node.install(image_of(10, 1)));
        server.freeze();
        node.inventory().settled(kSale, order_no(5));
        answer = start_on(node.cores().at(0), node.inventory().reserve(buyer.request, node.log()));
        ASSERT_TRUE(eventually([&] { return node.sent() > 0; }));
    }
    EXPECT_THROW(finish(answer), std::future_error) << "dropped";
    server.thaw();
}

TEST_F(RedisInventoryFaults, ThrowsAwayWhatAnOvertakenRebuildHasStaged) {
    Server server;
    Node node(server.url(), "db", 1);
    const auto signals = node.install(image_of(10, 5));
    ASSERT_TRUE(node.reserve("u", 1, 2));
    const auto begin = [&](std::uint64_t epoch) {
        return run_on(node.cores().at(0), node.inventory().begin_rebuild(kSale, Epoch(epoch)));
    };
    ASSERT_TRUE(begin(2));
    ASSERT_TRUE(begin(3));
    const auto fenced = begin(2);
    ASSERT_FALSE(fenced);
    EXPECT_TRUE(fenced.error().is(Errc::fenced));
    SaleImage image = image_of(10, 5, Epoch(2));
    for (std::uint64_t i = 0; i < 5'000; ++i) {
        image.live.push_back({order_no(i), kPrints.of(std::to_string(i)), std::nullopt, 1});
    }
    const auto overtaken = run_on(node.cores().at(0), node.inventory().install(image));
    ASSERT_TRUE(overtaken);
    EXPECT_FALSE(*overtaken);
    EXPECT_EQ(server.ask({"KEYS", "*staged*"}), "");
    EXPECT_TRUE(signals->is_cold);
    image.epoch = Epoch(3);
    image.terms.stock = 6'000;
    ASSERT_TRUE(node.install(std::move(image)));
    EXPECT_EQ(node.count()->remaining, 1'000);
    EXPECT_EQ(server.ask({"KEYS", "*staged*"}), "");
    for (const char* key : {"sale", "users", "orders"}) {
        EXPECT_EQ(server.ask({"TTL", std::string("db:{5}:") + key}), "-1") << key;
    }
}

TEST_F(RedisInventoryFaults, InstallsNothingWhenTheMarkOfItsRebuildIsLost) {
    Server server;
    Node node(server.url(), "db", 1);
    const auto lost = run_on(node.cores().at(0), node.inventory().install(image_of(10, 5)));
    ASSERT_TRUE(lost);
    EXPECT_FALSE(*lost);
    ASSERT_TRUE(run_on(node.cores().at(0), node.inventory().begin_rebuild(kSale, Epoch(1))));
    EXPECT_EQ(server.ask({"FLUSHALL"}), "OK");
    const auto flushed = run_on(node.cores().at(0), node.inventory().install(image_of(10, 5)));
    ASSERT_TRUE(flushed);
    EXPECT_FALSE(*flushed);
    EXPECT_EQ(server.ask({"DBSIZE"}), "0");
}

Task<int> sell_until(Node& node, std::atomic<bool>& is_over) {
    OrderIdSource ids(7, 0);
    int sold = 0;
    for (int i = 0; !is_over; ++i) {
        const Buyer buyer("user " + std::to_string(i), ids.make(SaleNo(6), kNoon), 1, "");
        const auto held = co_await node.inventory().reserve(buyer.request, node.log());
        if (held) ++sold;
    }
    co_return sold;
}

TEST_F(RedisInventoryFaults, SellsOtherSalesWhileALargeOneIsInstalled) {
    Server server;
    Node node(server.url(), "db", 2);
    SaleImage other = image_of(10'000'000, 1);
    other.terms.no = SaleNo(6);
    ASSERT_TRUE(node.install(std::move(other)));
    constexpr std::uint64_t kHolds = 100'000;
    SaleImage image = image_of(1'000'000, 5);
    for (std::uint64_t i = 0; i < kHolds; ++i) {
        const Fingerprint user = kPrints.of(std::to_string(i / 2));
        image.live.push_back({order_no(i), user, kPrints.of(user, std::to_string(i)), 1});
    }
    std::atomic<bool> is_over{false};
    auto seller = start_on(node.cores().at(1), sell_until(node, is_over));
    ASSERT_TRUE(node.install(std::move(image)));
    is_over = true;
    EXPECT_GT(finish(seller), 10);
    EXPECT_EQ(node.count()->remaining, 1'000'000 - static_cast<Units>(kHolds));
    EXPECT_EQ(server.ask({"HLEN", "db:{5}:keys"}), std::to_string(kHolds));
    EXPECT_EQ(server.ask({"HLEN", "db:{5}:users"}), std::to_string(kHolds / 2));
}

} // namespace
} // namespace doorbuster::redis
