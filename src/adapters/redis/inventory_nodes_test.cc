// Several nodes on one Redis: what they share, and what each is told of the others' doing.
#include <gtest/gtest.h>
#include <map>
#include <set>

#include "adapters/redis/inventory_fixture.h"
#include "adapters/redis/subscription.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;

class RedisInventoryNodes : public testing::Test {
protected:
    void SetUp() override { DB_NEED(SomeRedis::is_here(), "Redis"); }

    SomeRedis redis_;
    const std::string prefix_ = fresh_prefix();
    Node a_{redis_.url(), prefix_};
    Node b_{redis_.url(), prefix_};
};

template <class T> Refusal refusal_in(const Step<T>& step) { return fixture::refusal_of(step); }

Task<Units> buy_often(Node& node, std::string user, std::uint16_t source) {
    Units got = 0;
    OrderIdSource ids(source, 0);
    for (int i = 0; i < 10; ++i) {
        const Buyer buyer(user, ids.make(kSale, kNoon), 1 + i % 3, "");
        const auto held = co_await node.inventory().reserve(buyer.request, node.log());
        if (held) got += held->quantity;
    }
    co_return got;
}

TEST_F(RedisInventoryNodes, ShareASaleWithoutOverselling) {
    constexpr Units kStock = 500;
    constexpr Units kLimit = 7;
    ASSERT_TRUE(a_.install(image_of(kStock, kLimit)));
    ASSERT_TRUE(b_.attach(terms_of(kStock, kLimit), Epoch(1)));
    // Both sell, however the rush between them ends.
    ASSERT_TRUE(a_.reserve("the first of a", 1'000'001));
    ASSERT_TRUE(b_.reserve("the first of b", 1'000'002));
    Units given = 2;
    std::vector<std::future<Units>> buyers;
    for (std::size_t i = 0; i < 600; ++i) { // each user from several cores and both nodes
        Node& node = i % 2 == 0 ? a_ : b_;
        buyers.push_back(start_on(
            node.cores().owner_of(i / 2),
            buy_often(node, "user " + std::to_string(i % 299), static_cast<std::uint16_t>(i))));
    }
    for (auto& buyer : buyers) given += finish(buyer);
    EXPECT_EQ(given, kStock);
    EXPECT_EQ(a_.count()->remaining, 0);
    std::map<OrderId, LogRecord> logged; // duplicates are the same order
    for (Node* node : {&a_, &b_}) {
        EXPECT_FALSE(node->log().records().empty());
        for (const LogRecord& record : node->log().records()) logged[record.order] = record;
    }
    Units units = 0;
    std::map<std::string, Units> by_user;
    for (const auto& [order, record] : logged) {
        units += record.quantity;
        by_user[record.user] += record.quantity;
    }
    EXPECT_EQ(units, kStock);
    for (const auto& [user, has] : by_user) EXPECT_LE(has, kLimit) << user;
}

TEST_F(RedisInventoryNodes, AppendAnothersPendingRecordBeforeTheyTellOfIt) {
    ASSERT_TRUE(a_.install(image_of(10, 1, Epoch(4))));
    ASSERT_TRUE(b_.attach(terms_of(10, 1), Epoch(4)));
    ASSERT_TRUE(a_.reserve("u", 1, 1, "k"));
    b_.log().set_durability(FakeOrderLog::Durability::when_told);
    const auto replayed = b_.reserve("u", 2, 1, "k");
    ASSERT_TRUE(replayed);
    EXPECT_TRUE(replayed->replayed);
    EXPECT_EQ(replayed->order, order_no(1));
    EXPECT_EQ(replayed->position, LogPosition(1));
    const Refusal limit = refusal_in(b_.reserve("u", 3));
    EXPECT_EQ(limit.reason, PurchaseOutcome::limit_reached);
    EXPECT_EQ(limit.order_id, order_no(1));
    EXPECT_EQ(limit.leaves_at, LogPosition(1)) << "appended a moment ago: once is enough";
    const auto records = b_.log().records();
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0].order, order_no(1));
    EXPECT_EQ(records[0].epoch, Epoch(4));
    EXPECT_EQ(records[0].user, "u");
    EXPECT_EQ(records[0].key, "k");
}

TEST_F(RedisInventoryNodes, TellAtOnceOfWhatWasSeenInTheLog) {
    ASSERT_TRUE(a_.install(image_of(10, 1)));
    ASSERT_TRUE(b_.attach(terms_of(10, 1), Epoch(1)));
    ASSERT_TRUE(a_.reserve("u", 1, 1, "k"));
    a_.inventory().settled(kSale, order_no(1)); // from a thread that is no core
    EXPECT_TRUE(eventually([&] { return b_.count()->pending == 0; }));
    b_.log().set_durability(FakeOrderLog::Durability::when_told);
    const auto replayed = b_.reserve("u", 2, 1, "k");
    ASSERT_TRUE(replayed);
    EXPECT_EQ(replayed->order, order_no(1));
    EXPECT_TRUE(b_.log().is_durable(replayed->position));
    const Refusal limit = refusal_in(b_.reserve("u", 3));
    EXPECT_EQ(limit.order_id, order_no(1));
    EXPECT_FALSE(limit.leaves_at);
    EXPECT_TRUE(b_.log().records().empty());
}

TEST_F(RedisInventoryNodes, KnowEachOthersPendingHoldsOldestFirst) {
    ASSERT_TRUE(a_.install(image_of(10, 5, Epoch(2))));
    for (std::uint64_t i = 1; i <= 4; ++i) {
        ASSERT_TRUE(a_.reserve("u" + std::to_string(i), i, 1, "k"));
        b_.pass(Duration(2)); // so that the time tells them apart
    }
    EXPECT_EQ(b_.count()->pending, 4);
    EXPECT_TRUE(b_.pending(std::chrono::hours(1))->empty());
    const auto two = b_.pending(Duration(0), 2);
    ASSERT_TRUE(two);
    ASSERT_EQ(two->size(), 2U);
    EXPECT_EQ((*two)[0].order, order_no(1));
    EXPECT_EQ((*two)[0].epoch, Epoch(2));
    EXPECT_EQ((*two)[0].kind, LogRecordKind::order);
    EXPECT_EQ((*two)[1].order, order_no(2));
    EXPECT_EQ((*two)[1].user, "u2");
    b_.inventory().settled(kSale, order_no(1));
    b_.inventory().settled(kSale, order_no(3));
    b_.inventory().settled(kSale, order_no(3));
    EXPECT_TRUE(eventually([&] { return a_.count()->pending == 2; }));
    EXPECT_EQ(a_.pending()->front().order, order_no(2));
    const auto released =
        run_on(a_.cores().at(0), a_.inventory().release(terms_of(10, 5), Epoch(2),
                                                        std::vector<OrderId>{order_no(2)}));
    ASSERT_TRUE(released);
    EXPECT_EQ(a_.count()->pending, 1) << "what holds nothing is not waited for";
}

TEST_F(RedisInventoryNodes, AttachOnlyWhatIsInstalledUnderTheStoresEpoch) {
    EXPECT_FALSE(b_.attach(terms_of(10, 1), Epoch(1)));
    ASSERT_TRUE(a_.install(image_of(10, 1, Epoch(3))));
    EXPECT_FALSE(b_.attach(terms_of(10, 1), Epoch(2)));
    EXPECT_FALSE(b_.attach(terms_of(10, 1), Epoch(4)));
    SaleTerms newer = terms_of(12, 1);
    newer.version = 2;
    const auto signals = b_.attach(newer, Epoch(3));
    ASSERT_TRUE(signals);
    EXPECT_EQ(signals->remaining, 12) << "the store's terms are the newest";
    EXPECT_EQ(b_.attach(newer, Epoch(3)), signals);
    EXPECT_EQ(a_.count()->terms_version, 2);
}

TEST_F(RedisInventoryNodes, SeeByLookingThatASaleIsSoldOutAndSellsAgain) {
    ASSERT_TRUE(a_.install(image_of(1, 1)));
    const auto shown = b_.attach(terms_of(1, 1), Epoch(1));
    b_.inventory().start(); // no messages reach it
    EXPECT_FALSE(shown->sold_out());
    ASSERT_TRUE(a_.reserve("u", 1));
    EXPECT_TRUE(eventually([&] { return shown->sold_out(); }));
    const std::vector<OrderId> orders(1, order_no(1));
    ASSERT_TRUE(run_on(a_.cores().at(0), a_.inventory().release(terms_of(1, 1), Epoch(1), orders)));
    EXPECT_TRUE(eventually([&] { return !shown->sold_out(); }));
}

TEST_F(RedisInventoryNodes, HearWhatOthersDo) {
    std::atomic<std::int64_t> version{0};
    std::atomic<int> cold{0};
    std::atomic<std::uint64_t> installed{0};
    InventoryOptions options = Node::named(prefix_);
    options.callbacks.on_terms = [&](SaleNo, std::int64_t now) { version = now; };
    options.callbacks.on_cold = [&](SaleNo) { ++cold; };
    options.callbacks.on_installed = [&](SaleNo, Epoch epoch) { installed = epoch.get(); };
    Node listener(options_for(redis_.url()), std::move(options));
    std::atomic<bool> is_connected{false};
    Subscription::Callbacks callbacks;
    callbacks.on_message = [&](std::string_view, std::string_view message) {
        listener.inventory().hear(message);
    };
    callbacks.on_connected = [&] { is_connected = true; };
    auto opened = Subscription::open(listener.cores().at(0), options_for(redis_.url()),
                                     {listener.inventory().channel()}, std::move(callbacks));
    ASSERT_TRUE(opened);
    (*opened)->start();
    ASSERT_TRUE(eventually([&] { return is_connected.load(); }));

    ASSERT_TRUE(a_.install(image_of(1, 1)));
    EXPECT_TRUE(eventually([&] { return installed == 1; }));
    const auto shown = listener.attach(terms_of(1, 1), Epoch(1));
    ASSERT_TRUE(shown);
    ASSERT_TRUE(a_.reserve("u", 1));
    EXPECT_TRUE(eventually([&] { return shown->sold_out(); }));
    SaleTerms raised = terms_of(3, 1);
    raised.version = 2;
    ASSERT_TRUE(run_on(a_.cores().at(0), a_.inventory().set_terms(raised)));
    EXPECT_TRUE(eventually([&] { return version == 2; }));
    EXPECT_EQ(shown->remaining, 2);
    EXPECT_EQ(cold, 0);
    ASSERT_TRUE(run_on(a_.cores().at(0), a_.inventory().begin_rebuild(kSale, Epoch(2))));
    EXPECT_TRUE(eventually([&] { return cold == 1 && shown->is_cold; }));
    ASSERT_TRUE(a_.install(image_of(3, 1, Epoch(2))));
    EXPECT_TRUE(eventually([&] { return installed == 2; }));
    listener.stop(); // before the subscription goes away
}

TEST_F(RedisInventoryNodes, CountEveryMoveOfTheHolds) {
    ASSERT_TRUE(a_.install(image_of(10, 5)));
    std::int64_t before = b_.count()->moves;
    const auto has_moved = [&] {
        const std::int64_t now = b_.count()->moves;
        return std::exchange(before, now) < now;
    };
    const auto release = [&](std::vector<OrderId> orders) {
        return run_on(a_.cores().at(0), a_.inventory().release(terms_of(10, 5), Epoch(1), orders));
    };
    EXPECT_FALSE(has_moved());
    ASSERT_TRUE(a_.reserve("a", 1, 2));
    EXPECT_TRUE(has_moved());
    const Withdrawal withdrawal{kSale, kOnlyPartition, order_no(50), 3, "ops", ""};
    ASSERT_TRUE(run_on(a_.cores().at(0), a_.inventory().withdraw(withdrawal, a_.log())));
    EXPECT_TRUE(has_moved());
    static_cast<void>(refusal_in(a_.reserve("b", 2, 9)));
    EXPECT_FALSE(has_moved());
    ASSERT_TRUE(release({order_no(1)}));
    EXPECT_TRUE(has_moved());
    ASSERT_TRUE(release({order_no(1), order_no(77)}));
    EXPECT_FALSE(has_moved());
    ASSERT_TRUE(release({order_no(50)}));
    EXPECT_TRUE(has_moved());
    EXPECT_EQ(b_.count()->pending, 0);
    EXPECT_FALSE(b_.count()->log_end);
}

} // namespace
} // namespace doorbuster::redis
