// The tests that every Inventory passes. A test program of an adapter includes this once and
// instantiates it: INSTANTIATE_TEST_SUITE_P(Memory, InventoryContract, testing::Values(&make)).
#pragma once

#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ports/inventory_fixture.h"

namespace doorbuster::fixture {

// Null: what it needs is not on this machine. The test is skipped, but fails where CI=true.
using MakeInventory = std::unique_ptr<InventorySubject> (*)();

class InventoryContract : public testing::TestWithParam<MakeInventory> {
protected:
    void SetUp() override {
        subject_ = GetParam()();
        if (subject_) return;
        const char* const ci = std::getenv("CI");
        if (ci != nullptr && std::string(ci) == "true") FAIL() << "its service is missing";
        GTEST_SKIP() << "its service is missing";
    }

    Cores& cores() { return subject_->cores(); }
    Inventory& inventory() { return subject_->inventory(); }

    std::shared_ptr<const StockSignals> install(SaleImage image) {
        // A rebuild that was overtaken before it began is to fail at its end, too.
        static_cast<void>(
            run_on(cores().at(0), inventory().begin_rebuild(image.terms.no, image.epoch)));
        auto signals = run_on(cores().at(0), inventory().install(std::move(image)));
        EXPECT_TRUE(signals);
        return signals.value_or(nullptr);
    }
    Step<Reservation> reserve(const std::string& user, std::uint64_t order, Units quantity = 1,
                              const std::string& key = "") {
        const Buyer buyer(user, order_no(order), quantity, key);
        return run_on(cores().at(0), inventory().reserve(buyer.request, log_));
    }
    Step<std::optional<Reservation>> find_key(const std::string& user, Units quantity,
                                              const std::string& key) {
        const Buyer buyer(user, order_no(999), quantity, key);
        return run_on(cores().at(1), inventory().find_key(buyer.request, log_));
    }
    bool is_bound(const std::string& user, Units quantity, const std::string& key) {
        const auto found = find_key(user, quantity, key);
        EXPECT_TRUE(found);
        return found && found->has_value();
    }
    Step<LogPosition> withdraw(std::uint64_t id, Units units, const std::string& key = "") {
        const Withdrawal withdrawal{kSale, kOnlyPartition, order_no(id), units, "ops", key};
        return run_on(cores().at(2), inventory().withdraw(withdrawal, log_));
    }
    Result<void> release(const SaleTerms& terms, Epoch epoch, const std::vector<OrderId>& orders) {
        return run_on(cores().at(1), inventory().release(terms, epoch, orders));
    }
    Result<InventoryCount> count() { return run_on(cores().at(2), inventory().count(kSale, log_)); }

    FakeOrderLog log_;
    std::unique_ptr<InventorySubject> subject_; // ends before the log
};

TEST_P(InventoryContract, WritesEachHoldToTheLogAsItIs) {
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
    EXPECT_TRUE(signals->may_be_bound(kPrints.of(kPrints.of("zoë"), "k")));
}

// A buyer who tries often, in random quantities; adds up what was given.
inline Task<Units> buy_often(Inventory& inventory, OrderLog& log, std::string user,
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

TEST_P(InventoryContract, NeverOversellsToBuyersOnSeveralCores) {
    constexpr Units kStock = 500;
    constexpr Units kLimit = 7;
    const auto signals = install(image_of(kStock, kLimit));
    std::vector<std::future<Units>> buyers;
    // Each user twice, from different cores: 300 users who may have 2,100 units together.
    for (std::size_t i = 0; i < 600; ++i) {
        buyers.push_back(start_on(cores().owner_of(i),
                                  buy_often(inventory(), log_, "user " + std::to_string(i % 299),
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

TEST_P(InventoryContract, GivesOneOrderToOneKeyThatComesFromEverywhereAtOnce) {
    install(image_of(100, 100));
    std::vector<std::unique_ptr<Buyer>> buyers;
    std::vector<std::future<Step<Reservation>>> answers;
    for (std::uint64_t i = 0; i < 60; ++i) {
        buyers.push_back(std::make_unique<Buyer>("u", order_no(i), 1, "k"));
        answers.push_back(
            start_on(cores().owner_of(i), inventory().reserve(buyers.back()->request, log_)));
    }
    int fresh = 0;
    std::set<OrderId> orders;
    for (auto& answer : answers) {
        const auto held = finish(answer);
        ASSERT_TRUE(held);
        if (!held->replayed) ++fresh;
        orders.insert(held->order);
    }
    EXPECT_EQ(fresh, 1);
    // The record of a hold that is pending may be appended more than once.
    for (const LogRecord& record : log_.records()) orders.insert(record.order);
    EXPECT_EQ(orders.size(), 1U);
    EXPECT_EQ(count()->remaining, 99);
}

TEST_P(InventoryContract, HoldsNothingWhenTheLogIsFull) {
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

TEST_P(InventoryContract, LetsAnswersAboutAnEarlierHoldLeaveOnlyBehindIt) {
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

TEST_P(InventoryContract, RefusesAnotherQuantityUnderABoundKey) {
    install(image_of(10, 5));
    ASSERT_TRUE(reserve("a", 1, 2, "k"));
    EXPECT_EQ(refusal_of(find_key("a", 1, "k")).reason, PurchaseOutcome::idempotency_mismatch);
    EXPECT_FALSE(is_bound("b", 1, "k")) << "keys are a user's own";
}

TEST_P(InventoryContract, KnowsNothingOfAColdSale) {
    EXPECT_EQ(refusal_of(reserve("a", 1)).reason, PurchaseOutcome::unavailable);
    EXPECT_EQ(refusal_of(find_key("a", 1, "k")).reason, PurchaseOutcome::unavailable);
    EXPECT_TRUE(log_.records().empty());
    const auto counted = count();
    ASSERT_FALSE(counted);
    EXPECT_TRUE(counted.error().is(Errc::not_found));
    const SaleTerms terms = terms_of(1, 1);
    const auto set = run_on(cores().at(0), inventory().set_terms(terms));
    ASSERT_FALSE(set);
    EXPECT_TRUE(set.error().is(Errc::not_found));
}

TEST_P(InventoryContract, StartsFromItsImageWithHoldsKeysAndDeadLetters) {
    SaleImage image = image_of(10, 2);
    const Fingerprint a = kPrints.of("a");
    image.live.push_back({order_no(1), a, kPrints.of(a, "k"), 2});
    image.keys_of_finished.push_back({kPrints.of(a, "old"), order_no(2), 1});
    image.units_elsewhere = 3;
    const auto signals = install(std::move(image));
    EXPECT_EQ(signals->remaining, 5);
    EXPECT_EQ(count()->remaining, 5);
    EXPECT_TRUE(signals->may_be_bound(kPrints.of(a, "k")));
    EXPECT_TRUE(signals->may_be_bound(kPrints.of(a, "old")));
    EXPECT_EQ(refusal_of(reserve("a", 3)).order_id, order_no(1));
    const auto live = find_key("a", 2, "k");
    ASSERT_TRUE(live && *live);
    EXPECT_EQ((*live)->order, order_no(1));
    const auto finished = find_key("a", 1, "old");
    ASSERT_TRUE(finished && *finished);
    EXPECT_EQ((*finished)->order, order_no(2));
}

TEST_P(InventoryContract, NeverSellsTheUnitsOfDeadLetters) {
    SaleImage image = image_of(5, 5);
    image.units_elsewhere = 4;
    const auto signals = install(std::move(image));
    EXPECT_EQ(refusal_of(reserve("a", 1, 2)).reason, PurchaseOutcome::sold_out);
    EXPECT_TRUE(reserve("a", 2, 1));
    EXPECT_EQ(refusal_of(reserve("b", 3)).reason, PurchaseOutcome::sold_out);
    EXPECT_EQ(signals->remaining, 0);
}

TEST_P(InventoryContract, KeepsWhatItHasWhenAnOlderEpochComesLate) {
    const auto signals = install(image_of(10, 5, Epoch(4)));
    ASSERT_TRUE(reserve("a", 1, 1, "k"));
    EXPECT_FALSE(install(image_of(99, 5, Epoch(3)))) << "the overtaken rebuild shows no signals";
    EXPECT_EQ(count()->remaining, 9);
    EXPECT_EQ(signals->remaining, 9);
    ASSERT_TRUE(reserve("b", 2));
    EXPECT_EQ(log_.records().back().epoch, Epoch(4));
}

TEST_P(InventoryContract, ForgetsTheOldEpochWhenANewerOneIsInstalled) {
    install(image_of(10, 5, Epoch(1)));
    ASSERT_TRUE(reserve("a", 1, 4, "k"));
    const auto signals = install(image_of(10, 5, Epoch(2))); // the store has not seen the order
    EXPECT_EQ(signals->remaining, 10);
    EXPECT_FALSE(is_bound("a", 4, "k"));
    ASSERT_TRUE(reserve("a", 2, 5));
    EXPECT_EQ(log_.records().back().epoch, Epoch(2));
}

TEST_P(InventoryContract, IsColdFromTheBeginningOfARebuildUntilItsEnd) {
    install(image_of(10, 5, Epoch(1)));
    ASSERT_TRUE(reserve("a", 1, 1, "k"));
    run_on(cores().at(1), inventory().begin_rebuild(kSale, Epoch(3)));
    EXPECT_EQ(refusal_of(reserve("b", 2)).reason, PurchaseOutcome::unavailable);
    EXPECT_EQ(refusal_of(find_key("a", 1, "k")).reason, PurchaseOutcome::unavailable);
    EXPECT_FALSE(count());
    run_on(cores().at(1), inventory().begin_rebuild(kSale, Epoch(2))); // later, but older
    EXPECT_FALSE(install(image_of(10, 5, Epoch(2))));
    EXPECT_EQ(refusal_of(reserve("b", 3)).reason, PurchaseOutcome::unavailable);
    EXPECT_EQ(log_.records().size(), 1U);
    ASSERT_TRUE(install(image_of(10, 5, Epoch(3))));
    ASSERT_TRUE(reserve("b", 4));
    EXPECT_EQ(log_.records().back().epoch, Epoch(3));
}

TEST_P(InventoryContract, KeepsTermsThatChangedWhileItWasRebuilt) {
    install(image_of(10, 5, Epoch(1)));
    run_on(cores().at(1), inventory().begin_rebuild(kSale, Epoch(2)));
    SaleTerms raised = terms_of(30, 5);
    raised.version = 2;
    ASSERT_TRUE(run_on(cores().at(0), inventory().set_terms(raised)));
    const auto signals = install(image_of(10, 5, Epoch(2))); // a snapshot from before
    ASSERT_TRUE(signals);
    EXPECT_EQ(signals->remaining, 30);
}

TEST_P(InventoryContract, TakesNewerTermsAndIgnoresOlderOnes) {
    const auto signals = install(image_of(1, 1));
    ASSERT_TRUE(reserve("a", 1));
    EXPECT_TRUE(signals->sold_out());
    SaleTerms raised = terms_of(3, 1);
    raised.version = 3;
    ASSERT_TRUE(run_on(cores().at(0), inventory().set_terms(raised)));
    EXPECT_EQ(signals->remaining, 2);
    SaleTerms older = terms_of(100, 100);
    older.version = 2;
    ASSERT_TRUE(run_on(cores().at(0), inventory().set_terms(older)));
    EXPECT_EQ(signals->remaining, 2);
    EXPECT_EQ(count()->terms_version, 3);
}

TEST_P(InventoryContract, ChecksTheWindowByItsOwnClock) {
    constexpr Duration kEarly{1'000};
    SaleImage image = image_of(10, 5);
    image.terms.starts_at = subject_->now() + kEarly;
    install(std::move(image));
    const Refusal early = refusal_of(reserve("a", 1));
    EXPECT_EQ(early.reason, PurchaseOutcome::not_started);
    EXPECT_GT(early.retry_after, Duration(0));
    EXPECT_LE(early.retry_after, kEarly);
    subject_->pass(kEarly);
    EXPECT_TRUE(reserve("a", 2));
}

TEST_P(InventoryContract, RefusesByTheSalesStateInTheContractsOrder) {
    SaleImage image = image_of(1, 5);
    image.terms.paused = true;
    install(image);
    EXPECT_EQ(refusal_of(reserve("a", 1, 9)).reason, PurchaseOutcome::paused);
    image.terms.starts_at = subject_->now() + std::chrono::hours(1);
    image.epoch = Epoch(2);
    install(image);
    EXPECT_EQ(refusal_of(reserve("a", 2)).reason, PurchaseOutcome::not_started);
    image.terms.ends_at = subject_->now();
    image.epoch = Epoch(3);
    install(image);
    EXPECT_EQ(refusal_of(reserve("a", 3)).reason, PurchaseOutcome::closed);
    image.terms = terms_of(1, 5);
    image.terms.closed_at = kNoon;
    image.epoch = Epoch(4);
    install(image);
    EXPECT_EQ(refusal_of(reserve("a", 4)).reason, PurchaseOutcome::closed);
    EXPECT_TRUE(log_.records().empty());
}

TEST_P(InventoryContract, SaysHowManyAreLeftOnlyBehindTheBuyersLimit) {
    install(image_of(3, 5));
    const Refusal too_few = refusal_of(reserve("a", 1, 4));
    EXPECT_EQ(too_few.reason, PurchaseOutcome::sold_out);
    EXPECT_EQ(too_few.remaining, 3);
    const Refusal too_many = refusal_of(reserve("a", 2, 6));
    EXPECT_EQ(too_many.reason, PurchaseOutcome::limit_reached);
    EXPECT_FALSE(too_many.order_id);
}

TEST_P(InventoryContract, ReplaysABoundKeyWhateverTheSalesStateIs) {
    install(image_of(1, 1));
    ASSERT_TRUE(reserve("a", 1, 1, "k"));
    SaleTerms closed = terms_of(1, 1);
    closed.closed_at = kNoon;
    closed.version = 2;
    ASSERT_TRUE(run_on(cores().at(0), inventory().set_terms(closed)));
    const auto again = reserve("a", 2, 1, "k");
    ASSERT_TRUE(again);
    EXPECT_TRUE(again->replayed);
    EXPECT_EQ(again->order, order_no(1));
    EXPECT_EQ(refusal_of(reserve("a", 3, 1, "other")).reason, PurchaseOutcome::closed);
    EXPECT_EQ(refusal_of(reserve("a", 4, 2, "k")).reason, PurchaseOutcome::idempotency_mismatch);
}

TEST_P(InventoryContract, SellsAgainWhatIsReleasedAndShowsItAtOnceOnEveryCore) {
    const auto signals = install(image_of(2, 1));
    ASSERT_TRUE(reserve("a", 1, 1, "k"));
    ASSERT_TRUE(reserve("b", 2));
    ASSERT_TRUE(signals->sold_out());
    ASSERT_TRUE(release(terms_of(2, 1), Epoch(1), {order_no(1)}));
    EXPECT_FALSE(signals->sold_out());
    EXPECT_EQ(signals->remaining, 1);
    EXPECT_EQ(count()->given_back, 1);
    EXPECT_TRUE(signals->may_be_bound(kPrints.of(kPrints.of("a"), "k")));
    EXPECT_TRUE(is_bound("a", 1, "k")) << "its order is what the key stands for, live or not";
    ASSERT_TRUE(reserve("a", 3)) << "the buyer may have another";
    EXPECT_TRUE(signals->sold_out());
    EXPECT_EQ(refusal_of(reserve("c", 4)).reason, PurchaseOutcome::sold_out);
}

TEST_P(InventoryContract, ReleasesAnOrderOnceHoweverOftenItIsTold) {
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

TEST_P(InventoryContract, NamesTheLatestOfTheBuyersOrdersThatAreLeft) {
    std::vector<std::uint64_t> ends{1, 2, 3, 4}; // in every order
    Epoch epoch(0);
    do {
        epoch = epoch.next();
        install(image_of(100, 4, epoch));
        for (std::uint64_t i = 1; i <= 4; ++i) ASSERT_TRUE(reserve("u", i));
        std::set<std::uint64_t> left(ends.begin(), ends.end());
        for (const std::uint64_t ended : ends) {
            ASSERT_TRUE(release(terms_of(100, 4), epoch, {order_no(ended)}));
            left.erase(ended);
            const Refusal refusal = refusal_of(reserve("u", 9, 5));
            ASSERT_EQ(refusal.reason, PurchaseOutcome::limit_reached);
            if (left.empty()) {
                EXPECT_FALSE(refusal.order_id);
            } else {
                EXPECT_EQ(refusal.order_id, order_no(*left.rbegin()))
                    << testing::PrintToString(ends);
            }
        }
    } while (std::ranges::next_permutation(ends).found);
}

TEST_P(InventoryContract, ReleasesNothingUnderAnotherEpochOrInAColdSale) {
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
    run_on(cores().at(0), inventory().begin_rebuild(kSale, Epoch(3)));
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

TEST_P(InventoryContract, WritesAWithdrawalToTheLogAndHoldsItsUnits) {
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

TEST_P(InventoryContract, NeverWithdrawsWhatIsPromised) {
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

TEST_P(InventoryContract, WithdrawsNothingFromAColdSaleNorWhileTheLogIsFull) {
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
inline Task<int> buy_and_give_back(Inventory& inventory, OrderLog& log, std::uint16_t source,
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

TEST_P(InventoryContract, LosesNoUnitWhenManyBuyAndGiveBackOnSeveralCores) {
    const auto signals = install(image_of(3, 1));
    std::vector<std::future<int>> buyers;
    for (std::uint16_t i = 0; i < 30; ++i) {
        buyers.push_back(
            start_on(cores().owner_of(i), buy_and_give_back(inventory(), log_, i, 50)));
    }
    int bought = 0;
    for (auto& buyer : buyers) bought += finish(buyer);
    EXPECT_GT(bought, 3);
    EXPECT_EQ(log_.records().size(), static_cast<std::size_t>(bought));
    EXPECT_EQ(signals->remaining, 3);
    EXPECT_EQ(count()->remaining, 3);
    EXPECT_EQ(count()->given_back, bought);
}

} // namespace doorbuster::fixture
