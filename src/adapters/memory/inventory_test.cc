#include "adapters/memory/inventory.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ports/fake_order_log.h"
#include "runtime/task_fixture.h"

namespace doorbuster::memory {
namespace {

using namespace fixture;

constexpr SaleNo kSale{5};
constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr Fingerprinter kPrints(1, 2);

SaleTerms terms_of(Units stock, Units per_user_limit) {
    SaleTerms terms;
    terms.no = kSale;
    terms.id = "demo";
    terms.stock = stock;
    terms.per_user_limit = per_user_limit;
    terms.starts_at = kNoon;
    return terms;
}

SaleImage image_of(Units stock, Units per_user_limit, Epoch epoch = Epoch(1)) {
    SaleImage image;
    image.terms = terms_of(stock, per_user_limit);
    image.epoch = epoch;
    return image;
}

// One attempt, with the texts that its request points to.
struct Buyer {
    std::string user;
    std::string key;
    PurchaseRequest request;

    Buyer(std::string user_id, OrderId order, Units quantity, std::string idempotency_key)
        : user(std::move(user_id)), key(std::move(idempotency_key)) {
        request.sale = order.sale();
        request.order_id = order;
        request.user = user;
        request.user_print = kPrints.of(user);
        request.key = key;
        request.key_print = kPrints.of(request.user_print, key);
        request.quantity = quantity;
    }
    Buyer(const Buyer&) = delete; // the request points into it
    Buyer& operator=(const Buyer&) = delete;
};

OrderId order_no(std::uint64_t n) { return {kSale, kNoon, 0, n}; }

class MemoryInventoryTest : public testing::Test {
protected:
    std::shared_ptr<const StockSignals> install(SaleImage image) {
        auto signals = run_on(cores_.at(0), inventory_.install(std::move(image)));
        EXPECT_TRUE(signals);
        return signals.value_or(nullptr);
    }
    Step<Reservation> reserve(const std::string& user, std::uint64_t order, Units quantity = 1,
                              const std::string& key = "") {
        const Buyer buyer(user, order_no(order), quantity, key);
        return run_on(cores_.at(0), inventory_.reserve(buyer.request, log_));
    }
    Step<std::optional<Reservation>> find_key(const std::string& user, Units quantity,
                                              const std::string& key) {
        const Buyer buyer(user, order_no(999), quantity, key);
        return run_on(cores_.at(1), inventory_.find_key(buyer.request, log_));
    }
    bool is_bound(const std::string& user, Units quantity, const std::string& key) {
        const auto found = find_key(user, quantity, key);
        EXPECT_TRUE(found);
        return found && found->has_value();
    }
    Step<LogPosition> withdraw(std::uint64_t id, Units units, const std::string& key = "") {
        const Withdrawal withdrawal{kSale, kOnlyPartition, order_no(id), units, "ops", key};
        return run_on(cores_.at(2), inventory_.withdraw(withdrawal, log_));
    }
    Result<void> release(const SaleTerms& terms, Epoch epoch, const std::vector<OrderId>& orders) {
        return run_on(cores_.at(1), inventory_.release(terms, epoch, orders));
    }
    Result<InventoryCount> count() { return run_on(cores_.at(2), inventory_.count(kSale, log_)); }

    ManualClock clock_{kNoon};
    RunningCores cores_{3};
    FakeOrderLog log_;
    MemoryInventory inventory_{cores_, clock_};
};

template <class T> Refusal refusal_of(const Step<T>& step) {
    if (step) {
        ADD_FAILURE() << "not refused";
        return {};
    }
    const auto* refusal = std::get_if<Refusal>(&step.error());
    if (refusal == nullptr) ADD_FAILURE() << "an error, not a refusal";
    return refusal == nullptr ? Refusal() : *refusal;
}

TEST_F(MemoryInventoryTest, WritesEachHoldToTheLogAsItIs) {
    const auto signals = install(image_of(10, 5, Epoch(3)));
    const auto held = reserve("zoë", 1, 2, "k");
    ASSERT_TRUE(held);
    EXPECT_EQ(held->order, order_no(1));
    EXPECT_EQ(held->quantity, 2);
    EXPECT_EQ(held->position, LogPosition(1));
    EXPECT_FALSE(held->replayed);
    const auto records = log_.records();
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0].kind, LogRecordKind::order);
    EXPECT_EQ(records[0].sale, kSale);
    EXPECT_EQ(records[0].epoch, Epoch(3));
    EXPECT_EQ(records[0].order, order_no(1));
    EXPECT_EQ(records[0].quantity, 2);
    EXPECT_EQ(records[0].user, "zoë");
    EXPECT_EQ(records[0].key, "k");
    EXPECT_EQ(signals->remaining, 8);
    EXPECT_TRUE(signals->keys.may_contain(kPrints.of(kPrints.of("zoë"), "k")));
}

// A buyer who tries often, in random quantities; adds up what was given.
Task<Units> buy_often(MemoryInventory& inventory, OrderLog& log, std::string user,
                      std::uint16_t source, int attempts) {
    Units got = 0;
    OrderIdSource ids(source, 0);
    for (int i = 0; i < attempts; ++i) {
        const Buyer buyer(user, ids.make(kSale, kNoon), 1 + i % 3, "");
        const auto held = co_await inventory.reserve(buyer.request, log);
        if (held) got += held->quantity;
    }
    co_return got;
}

TEST_F(MemoryInventoryTest, NeverOversellsToBuyersOnSeveralCores) {
    constexpr Units kStock = 500;
    constexpr Units kLimit = 7;
    const auto signals = install(image_of(kStock, kLimit));
    std::vector<std::future<Units>> buyers;
    // Each user twice, from different cores: 300 users who may have 2,100 units together.
    for (std::size_t i = 0; i < 600; ++i) {
        buyers.push_back(start_on(cores_.owner_of(i),
                                  buy_often(inventory_, log_, "user " + std::to_string(i % 299),
                                            static_cast<std::uint16_t>(i), 10)));
    }
    Units given = 0;
    for (auto& buyer : buyers) given += finish(buyer);
    EXPECT_EQ(given, kStock);
    EXPECT_EQ(signals->remaining, 0);
    EXPECT_TRUE(signals->sold_out());
    Units logged = 0;
    std::map<std::string, Units> by_user;
    for (const LogRecord& record : log_.records()) {
        logged += record.quantity;
        by_user[record.user] += record.quantity;
    }
    EXPECT_EQ(logged, kStock);
    for (const auto& [user, units] : by_user) EXPECT_LE(units, kLimit) << user;
}

TEST_F(MemoryInventoryTest, GivesOneOrderToOneKeyThatComesFromEverywhereAtOnce) {
    install(image_of(100, 100));
    std::vector<std::unique_ptr<Buyer>> buyers;
    std::vector<std::future<Step<Reservation>>> answers;
    for (std::uint64_t i = 0; i < 60; ++i) {
        buyers.push_back(std::make_unique<Buyer>("u", order_no(i), 1, "k"));
        answers.push_back(
            start_on(cores_.owner_of(i), inventory_.reserve(buyers.back()->request, log_)));
    }
    int fresh = 0;
    for (auto& answer : answers) {
        const auto held = finish(answer);
        ASSERT_TRUE(held);
        if (!held->replayed) ++fresh;
        EXPECT_EQ(held->order, log_.records().front().order);
    }
    EXPECT_EQ(fresh, 1);
    EXPECT_EQ(log_.records().size(), 1U);
    EXPECT_EQ(count()->remaining, 99);
}

TEST_F(MemoryInventoryTest, HoldsNothingWhenTheLogIsFull) {
    const auto signals = install(image_of(10, 1));
    log_.set_room(0);
    EXPECT_EQ(refusal_of(reserve("a", 1, 1, "k")).reason, PurchaseOutcome::overloaded);
    EXPECT_EQ(signals->remaining, 10);
    EXPECT_FALSE(is_bound("a", 1, "k"));
    log_.set_room(1);
    const auto held = reserve("a", 2, 1, "k");
    ASSERT_TRUE(held);
    EXPECT_FALSE(held->replayed);
    EXPECT_EQ(held->order, order_no(2));
}

TEST_F(MemoryInventoryTest, LetsAnswersAboutAnEarlierHoldLeaveOnlyBehindIt) {
    log_.set_durability(FakeOrderLog::Durability::when_told);
    install(image_of(10, 1));
    ASSERT_TRUE(reserve("a", 1, 1, "k"));
    ASSERT_TRUE(reserve("b", 2));
    const auto replayed = reserve("a", 3, 1, "k");
    ASSERT_TRUE(replayed);
    EXPECT_TRUE(replayed->replayed);
    EXPECT_EQ(replayed->order, order_no(1));
    EXPECT_GE(replayed->position, LogPosition(1));
    EXPECT_FALSE(log_.is_durable(replayed->position));
    const auto found = find_key("a", 1, "k");
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->order, order_no(1));
    EXPECT_GE((*found)->position, LogPosition(1));
    const Refusal limit = refusal_of(reserve("b", 4));
    EXPECT_EQ(limit.reason, PurchaseOutcome::limit_reached);
    EXPECT_EQ(limit.order_id, order_no(2));
    ASSERT_TRUE(limit.leaves_at);
    EXPECT_GE(*limit.leaves_at, LogPosition(2));
    EXPECT_EQ(log_.records().size(), 2U);
}

TEST_F(MemoryInventoryTest, RefusesAnotherQuantityUnderABoundKey) {
    install(image_of(10, 5));
    ASSERT_TRUE(reserve("a", 1, 2, "k"));
    EXPECT_EQ(refusal_of(find_key("a", 1, "k")).reason, PurchaseOutcome::idempotency_mismatch);
    EXPECT_FALSE(is_bound("b", 1, "k")) << "keys are a user's own";
}

TEST_F(MemoryInventoryTest, KnowsNothingOfAColdSale) {
    EXPECT_EQ(refusal_of(reserve("a", 1)).reason, PurchaseOutcome::unavailable);
    EXPECT_EQ(refusal_of(find_key("a", 1, "k")).reason, PurchaseOutcome::unavailable);
    EXPECT_TRUE(log_.records().empty());
    const auto counted = count();
    ASSERT_FALSE(counted);
    EXPECT_TRUE(counted.error().is(Errc::not_found));
    const SaleTerms terms = terms_of(1, 1);
    const auto set = run_on(cores_.at(0), inventory_.set_terms(terms));
    ASSERT_FALSE(set);
    EXPECT_TRUE(set.error().is(Errc::not_found));
}

TEST_F(MemoryInventoryTest, StartsFromItsImageWithHoldsKeysAndDeadLetters) {
    SaleImage image = image_of(10, 2);
    const Fingerprint a = kPrints.of("a");
    image.live.push_back({order_no(1), a, kPrints.of(a, "k"), 2});
    image.keys_of_finished.push_back({kPrints.of(a, "old"), order_no(2), 1});
    image.units_elsewhere = 3;
    const auto signals = install(std::move(image));
    EXPECT_EQ(signals->remaining, 5);
    EXPECT_EQ(count()->remaining, 5);
    EXPECT_TRUE(signals->keys.may_contain(kPrints.of(a, "k")));
    EXPECT_TRUE(signals->keys.may_contain(kPrints.of(a, "old")));
    EXPECT_EQ(refusal_of(reserve("a", 3)).order_id, order_no(1));
    const auto live = find_key("a", 2, "k");
    ASSERT_TRUE(live && *live);
    EXPECT_EQ((*live)->order, order_no(1));
    const auto finished = find_key("a", 1, "old");
    ASSERT_TRUE(finished && *finished);
    EXPECT_EQ((*finished)->order, order_no(2));
}

TEST_F(MemoryInventoryTest, NeverSellsTheUnitsOfDeadLetters) {
    SaleImage image = image_of(5, 5);
    image.units_elsewhere = 4;
    const auto signals = install(std::move(image));
    EXPECT_EQ(refusal_of(reserve("a", 1, 2)).reason, PurchaseOutcome::sold_out);
    EXPECT_TRUE(reserve("a", 2, 1));
    EXPECT_EQ(refusal_of(reserve("b", 3)).reason, PurchaseOutcome::sold_out);
    EXPECT_EQ(signals->remaining, 0);
}

TEST_F(MemoryInventoryTest, KeepsWhatItHasWhenAnOlderEpochComesLate) {
    const auto signals = install(image_of(10, 5, Epoch(4)));
    ASSERT_TRUE(reserve("a", 1, 1, "k"));
    EXPECT_FALSE(install(image_of(99, 5, Epoch(3)))) << "the overtaken rebuild shows no signals";
    EXPECT_EQ(count()->remaining, 9);
    EXPECT_EQ(signals->remaining, 9);
    ASSERT_TRUE(reserve("b", 2));
    EXPECT_EQ(log_.records().back().epoch, Epoch(4));
}

TEST_F(MemoryInventoryTest, ForgetsTheOldEpochWhenANewerOneIsInstalled) {
    install(image_of(10, 5, Epoch(1)));
    ASSERT_TRUE(reserve("a", 1, 4, "k"));
    const auto signals = install(image_of(10, 5, Epoch(2))); // the store has not seen the order
    EXPECT_EQ(signals->remaining, 10);
    EXPECT_FALSE(is_bound("a", 4, "k"));
    ASSERT_TRUE(reserve("a", 2, 5));
    EXPECT_EQ(log_.records().back().epoch, Epoch(2));
}

TEST_F(MemoryInventoryTest, IsColdFromTheBeginningOfARebuildUntilItsEnd) {
    install(image_of(10, 5, Epoch(1)));
    ASSERT_TRUE(reserve("a", 1, 1, "k"));
    run_on(cores_.at(1), inventory_.begin_rebuild(kSale, Epoch(3)));
    EXPECT_EQ(refusal_of(reserve("b", 2)).reason, PurchaseOutcome::unavailable);
    EXPECT_EQ(refusal_of(find_key("a", 1, "k")).reason, PurchaseOutcome::unavailable);
    EXPECT_FALSE(count());
    run_on(cores_.at(1), inventory_.begin_rebuild(kSale, Epoch(2))); // later, but older
    EXPECT_FALSE(install(image_of(10, 5, Epoch(2))));
    EXPECT_EQ(refusal_of(reserve("b", 3)).reason, PurchaseOutcome::unavailable);
    EXPECT_EQ(log_.records().size(), 1U);
    ASSERT_TRUE(install(image_of(10, 5, Epoch(3))));
    ASSERT_TRUE(reserve("b", 4));
    EXPECT_EQ(log_.records().back().epoch, Epoch(3));
}

TEST_F(MemoryInventoryTest, KeepsTermsThatChangedWhileItWasRebuilt) {
    install(image_of(10, 5, Epoch(1)));
    run_on(cores_.at(1), inventory_.begin_rebuild(kSale, Epoch(2)));
    SaleTerms raised = terms_of(30, 5);
    raised.version = 2;
    ASSERT_TRUE(run_on(cores_.at(0), inventory_.set_terms(raised)));
    const auto signals = install(image_of(10, 5, Epoch(2))); // a snapshot from before
    ASSERT_TRUE(signals);
    EXPECT_EQ(signals->remaining, 30);
}

TEST_F(MemoryInventoryTest, TakesNewerTermsAndIgnoresOlderOnes) {
    const auto signals = install(image_of(1, 1));
    ASSERT_TRUE(reserve("a", 1));
    EXPECT_TRUE(signals->sold_out());
    SaleTerms raised = terms_of(3, 1);
    raised.version = 3;
    ASSERT_TRUE(run_on(cores_.at(0), inventory_.set_terms(raised)));
    EXPECT_EQ(signals->remaining, 2);
    SaleTerms older = terms_of(100, 100);
    older.version = 2;
    ASSERT_TRUE(run_on(cores_.at(0), inventory_.set_terms(older)));
    EXPECT_EQ(signals->remaining, 2);
    EXPECT_EQ(count()->terms_version, 3);
}

TEST_F(MemoryInventoryTest, CountsTogetherWithTheLogsPosition) {
    install(image_of(10, 5));
    ASSERT_TRUE(reserve("a", 1, 2));
    ASSERT_TRUE(reserve("b", 2, 3));
    const auto counted = count();
    ASSERT_TRUE(counted);
    EXPECT_EQ(counted->remaining, 5);
    EXPECT_EQ(counted->log_end, LogPosition(2));
    EXPECT_EQ(counted->terms_version, 1);
}

TEST_F(MemoryInventoryTest, ChecksTheWindowByItsOwnClock) {
    SaleImage image = image_of(10, 5);
    image.terms.starts_at = kNoon + Duration(1'000);
    install(std::move(image));
    const Refusal early = refusal_of(reserve("a", 1));
    EXPECT_EQ(early.reason, PurchaseOutcome::not_started);
    EXPECT_EQ(early.retry_after, Duration(1'000));
    clock_.advance(Duration(1'000));
    EXPECT_TRUE(reserve("a", 2));
}

TEST_F(MemoryInventoryTest, SellsAgainWhatIsReleasedAndShowsItAtOnceOnEveryCore) {
    const auto signals = install(image_of(2, 1));
    ASSERT_TRUE(reserve("a", 1, 1, "k"));
    ASSERT_TRUE(reserve("b", 2));
    ASSERT_TRUE(signals->sold_out());
    ASSERT_TRUE(release(terms_of(2, 1), Epoch(1), {order_no(1)}));
    EXPECT_FALSE(signals->sold_out());
    EXPECT_EQ(signals->remaining, 1);
    EXPECT_EQ(count()->given_back, 1);
    EXPECT_TRUE(signals->keys.may_contain(kPrints.of(kPrints.of("a"), "k")));
    EXPECT_TRUE(is_bound("a", 1, "k")) << "its order is what the key stands for, live or not";
    ASSERT_TRUE(reserve("a", 3)) << "the buyer may have another";
    EXPECT_TRUE(signals->sold_out());
    EXPECT_EQ(refusal_of(reserve("c", 4)).reason, PurchaseOutcome::sold_out);
}

TEST_F(MemoryInventoryTest, ReleasesAnOrderOnceHoweverOftenItIsTold) {
    const auto signals = install(image_of(10, 5));
    ASSERT_TRUE(reserve("a", 1, 2));
    ASSERT_TRUE(reserve("a", 2, 3));
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(release(terms_of(10, 5), Epoch(1), {order_no(1), order_no(1), order_no(77)}));
        EXPECT_EQ(signals->remaining, 7);
        EXPECT_EQ(count()->given_back, 2);
    }
    EXPECT_EQ(refusal_of(reserve("a", 3, 3)).order_id, order_no(2));
}

TEST_F(MemoryInventoryTest, ReleasesNothingUnderAnotherEpochOrInAColdSale) {
    const auto fenced = [](const Result<void>& released) {
        return !released && released.error().is(Errc::fenced);
    };
    SaleTerms raised = terms_of(30, 5);
    raised.version = 2;
    EXPECT_TRUE(fenced(release(raised, Epoch(1), {order_no(1)}))) << "nobody knows the sale";
    const auto signals = install(image_of(10, 5, Epoch(2)));
    ASSERT_TRUE(reserve("a", 1, 2));
    EXPECT_TRUE(fenced(release(raised, Epoch(1), {order_no(1)})));
    EXPECT_TRUE(fenced(release(raised, Epoch(3), {order_no(1)})));
    EXPECT_EQ(signals->remaining, 8) << "neither the hold nor the terms";
    run_on(cores_.at(0), inventory_.begin_rebuild(kSale, Epoch(3)));
    EXPECT_TRUE(fenced(release(raised, Epoch(2), {order_no(1)})));
    EXPECT_TRUE(fenced(release(raised, Epoch(3), {order_no(1)})));
    // The rebuild read the order as live: the same release is sent again, under its epoch.
    SaleImage image = image_of(10, 5, Epoch(3));
    image.live.push_back({order_no(1), kPrints.of("a"), std::nullopt, 2});
    image.given_back = 4;
    const auto again = install(std::move(image));
    EXPECT_EQ(again->remaining, 8);
    ASSERT_TRUE(release(raised, Epoch(3), {order_no(1)}));
    EXPECT_EQ(again->remaining, 30);
    EXPECT_EQ(count()->given_back, 6);
    EXPECT_EQ(count()->terms_version, 2);
}

TEST_F(MemoryInventoryTest, WritesAWithdrawalToTheLogAndHoldsItsUnits) {
    const auto signals = install(image_of(5, 5, Epoch(3)));
    ASSERT_TRUE(reserve("a", 1, 2));
    const auto taken = withdraw(50, 3, "lower");
    ASSERT_TRUE(taken);
    EXPECT_EQ(*taken, LogPosition(2));
    const auto records = log_.records();
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(records[1].kind, LogRecordKind::withdraw);
    EXPECT_EQ(records[1].sale, kSale);
    EXPECT_EQ(records[1].epoch, Epoch(3));
    EXPECT_EQ(records[1].order, order_no(50));
    EXPECT_EQ(records[1].quantity, 3);
    EXPECT_EQ(records[1].user, "ops");
    EXPECT_EQ(records[1].key, "lower");
    EXPECT_TRUE(signals->sold_out());
    EXPECT_EQ(refusal_of(reserve("b", 2)).reason, PurchaseOutcome::sold_out);
    EXPECT_EQ(count()->remaining, 0);
    EXPECT_EQ(count()->log_end, LogPosition(2));
    // The store has lowered the stock: the hold ends together with the terms that say so.
    SaleTerms lowered = terms_of(2, 5);
    lowered.version = 2;
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(release(lowered, Epoch(3), {order_no(50)}));
        EXPECT_TRUE(signals->sold_out());
        EXPECT_EQ(count()->remaining, 0);
        EXPECT_EQ(count()->given_back, 0) << "a withdrawal is no order";
    }
}

TEST_F(MemoryInventoryTest, NeverWithdrawsWhatIsPromised) {
    const auto signals = install(image_of(5, 5));
    ASSERT_TRUE(reserve("a", 1, 3));
    const Refusal below = refusal_of(withdraw(50, 3));
    EXPECT_EQ(below.reason, PurchaseOutcome::sold_out);
    EXPECT_EQ(below.remaining, 2);
    EXPECT_EQ(signals->remaining, 2);
    EXPECT_EQ(log_.records().size(), 1U);
    ASSERT_TRUE(withdraw(51, 2));
    EXPECT_EQ(refusal_of(withdraw(52, 1)).remaining, 0);
    ASSERT_TRUE(release(terms_of(5, 5), Epoch(1), {order_no(1)}));
    EXPECT_EQ(signals->remaining, 3) << "what an order gives back is free, a withdrawal's is not";
}

TEST_F(MemoryInventoryTest, WithdrawsNothingFromAColdSaleNorWhileTheLogIsFull) {
    EXPECT_EQ(refusal_of(withdraw(50, 1)).reason, PurchaseOutcome::unavailable);
    const auto signals = install(image_of(5, 5));
    log_.set_room(0);
    EXPECT_EQ(refusal_of(withdraw(51, 1)).reason, PurchaseOutcome::overloaded);
    EXPECT_EQ(signals->remaining, 5);
    EXPECT_TRUE(log_.records().empty());
    log_.set_room(1);
    EXPECT_TRUE(withdraw(52, 5));
    EXPECT_TRUE(signals->sold_out());
}

// A buyer who gives back at once what was bought.
Task<int> buy_and_give_back(MemoryInventory& inventory, OrderLog& log, std::uint16_t source,
                            int times) {
    int bought = 0;
    OrderIdSource ids(source, 0);
    const std::string user = "user " + std::to_string(source);
    const SaleTerms terms = terms_of(3, 1);
    for (int i = 0; i < times; ++i) {
        const Buyer buyer(user, ids.make(kSale, kNoon), 1, "");
        const auto held = co_await inventory.reserve(buyer.request, log);
        if (!held) continue;
        ++bought;
        const std::vector<OrderId> orders(1, held->order);
        const auto released = co_await inventory.release(terms, Epoch(1), orders);
        EXPECT_TRUE(released);
    }
    co_return bought;
}

TEST_F(MemoryInventoryTest, LosesNoUnitWhenManyBuyAndGiveBackOnSeveralCores) {
    const auto signals = install(image_of(3, 1));
    std::vector<std::future<int>> buyers;
    for (std::uint16_t i = 0; i < 30; ++i) {
        buyers.push_back(start_on(cores_.owner_of(i), buy_and_give_back(inventory_, log_, i, 50)));
    }
    int bought = 0;
    for (auto& buyer : buyers) bought += finish(buyer);
    EXPECT_GT(bought, 3);
    EXPECT_EQ(log_.records().size(), static_cast<std::size_t>(bought));
    EXPECT_EQ(signals->remaining, 3);
    EXPECT_EQ(count()->remaining, 3);
    EXPECT_EQ(count()->given_back, bought);
}

} // namespace
} // namespace doorbuster::memory
