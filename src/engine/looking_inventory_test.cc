// The looking strategies without their databases: what a buyer is told, and what the limits per
// user and keys still promise. The published faults are shown here where they need two steps of a
// look.
#include "engine/looking_inventory.h"

#include <atomic>
#include <deque>
#include <functional>
#include <gtest/gtest.h>
#include <set>
#include <string>

#include "engine/direct_log.h"
#include "engine/purchase_service.h"
#include "ports/fake_order_log.h"
#include "ports/fake_order_store.h"
#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};

// The three keys, and a place for somebody else between the second and the third.
class Keys final : public StockLook {
public:
    Task<Result<StockSighting>> look_at_units(SaleNo) override {
        StockSighting units = now;
        units.version = -1;
        if (between) std::exchange(between, nullptr)();
        co_return units;
    }
    Task<Result<void>> look_at_version(SaleNo, StockSighting& seen) override {
        seen.version = now.version;
        co_return Result<void>();
    }
    Task<Result<void>> preheat(SaleNo, const StockSighting& stored) override {
        if (while_heating) std::exchange(while_heating, nullptr)();
        now = stored;
        ++heated;
        co_return Result<void>();
    }

    StockSighting now;
    std::function<void()> between;
    std::function<void()> while_heating;
    int heated = 0;
};

// A look that takes until the test says so.
class SlowLook final : public StockLook {
public:
    explicit SlowLook(OrderStore& store) : store_(store) {}
    Task<Result<StockSighting>> look_at_units(SaleNo sale) override {
        ++begun;
        const auto seen = store_.look_at_stock(sale);
        const auto held = co_await gate.take(Duration(60'000));
        co_return seen;
    }
    Task<Result<void>> look_at_version(SaleNo, StockSighting&) override {
        co_return Result<void>();
    }
    Task<Result<void>> preheat(SaleNo, const StockSighting&) override { co_return Result<void>(); }

    AsyncPlaces gate{1};
    std::atomic<int> begun{0};

private:
    OrderStore& store_;
};

class LookingInventoryTest : public testing::Test {
protected:
    void open(Units stock, Units limit = 100) { open(inventory_, stock, limit); }
    void open(LookingInventory& inventory, Units stock, Units limit = 100) {
        SaleTerms terms;
        terms.id = "demo";
        terms.stock = stock;
        terms.per_user_limit = limit;
        terms.starts_at = kNoon;
        const auto made = store_.create_sale(terms, "", "test");
        ASSERT_TRUE(made.has_value());
        terms_ = made->first.terms;
        SaleImage image;
        image.terms = terms_;
        auto installed = run_on(cores_.at(0), inventory.install(std::move(image)));
        ASSERT_TRUE(installed.has_value() && *installed);
        signals_ = *installed;
    }
    PurchaseRequest request(const std::string& user, const std::string& key = {}) {
        PurchaseRequest request;
        request.sale = terms_.no;
        request.order_id = ids_.make(terms_.no, kNoon);
        request.user = texts_.emplace_back(user);
        request.user_print = prints_.of(request.user);
        request.key = texts_.emplace_back(key);
        request.key_print = prints_.of(request.user_print, request.key);
        return request;
    }
    Step<Reservation> buy(const std::string& user, const std::string& key = {}) {
        return buy(request(user, key), direct_);
    }
    Step<Reservation> buy(const PurchaseRequest& request, OrderLog& log) {
        return run_on(cores_.at(0), inventory_.reserve(request, log));
    }
    // As the store's transaction does it, for `cached`.
    void someone_buys() {
        const StockSighting seen = now_in_store();
        LogRecord record;
        record.sale = terms_.no;
        record.order = ids_.make(terms_.no, kNoon);
        record.quantity = 1;
        record.user = "someone";
        record.sighting = seen;
        const LogPosition nowhere(1);
        ASSERT_EQ(
            store_.apply(nowhere, nowhere, std::span(&record, 1), StockGuard::version)->confirmed,
            1U);
        raise();
    }
    void raise() {
        ++keys_.now.sold;
        ++keys_.now.version;
    }
    [[nodiscard]] StockSighting now_in_store() { return *store_.look_at_stock(terms_.no); }
    static PurchaseOutcome outcome(const Step<Reservation>& step) {
        if (step) return step->replayed ? PurchaseOutcome::replayed : PurchaseOutcome::accepted;
        const auto* refusal = std::get_if<Refusal>(&step.error());
        return refusal == nullptr ? PurchaseOutcome::unavailable : refusal->reason;
    }

    ManualClock clock_{kNoon};
    FakeOrderStore store_{&clock_};
    RunningCores cores_{2};
    BlockingPool blocking_{2, 100};
    OrderTally tally_;
    Keys keys_;
    LookingInventory inventory_{{cores_, clock_, store_, blocking_, keys_}};
    DirectLog direct_{{store_, blocking_, tally_, clock_}, {}};
    OrderIdSource ids_{0, 1};
    Fingerprinter prints_{1, 2};
    SaleTerms terms_;
    std::shared_ptr<const StockSignals> signals_;
    std::deque<std::string> texts_; // that requests refer to
};

TEST_F(LookingInventoryTest, SellsWhatThereIsAndNoMoreToOneBuyerAfterTheOther) {
    open(2);
    EXPECT_EQ(outcome(buy("ann")), PurchaseOutcome::accepted);
    raise();
    EXPECT_EQ(outcome(buy("bob")), PurchaseOutcome::accepted);
    raise();
    EXPECT_EQ(outcome(buy("cyd")), PurchaseOutcome::sold_out);
    EXPECT_EQ(store_.orders().size(), 2U);
    EXPECT_EQ(tally_.counts().at(terms_.no)[static_cast<std::size_t>(OrderStatus::confirmed)], 2);
}

TEST_F(LookingInventoryTest, ShowsTheKeysWhatTheStoreHasWhenASaleBeginsOrIsChanged) {
    open(5);
    EXPECT_EQ(keys_.heated, 1);
    EXPECT_EQ(keys_.now.stock, 5);
    ASSERT_TRUE(run_on(cores_.at(0), inventory_.set_terms(terms_)));
    EXPECT_EQ(keys_.heated, 2);
}

TEST_F(LookingInventoryTest, ShowsTheKeysAnewWhenAnOrderCameWhileTheyWereShown) {
    open(5);
    keys_.while_heating = [this] { someone_buys(); };
    ASSERT_TRUE(run_on(cores_.at(0), inventory_.set_terms(terms_)));
    EXPECT_EQ(keys_.now, now_in_store());
    EXPECT_EQ(outcome(buy("ann")), PurchaseOutcome::accepted) << "the sale does not stand still";
}

TEST_F(LookingInventoryTest, ShowsTheKeysWhenNoAttemptIsBetweenLookAndWrite) {
    SlowLook look(store_);
    LookingInventory inventory({cores_, clock_, store_, blocking_, look, 2, Duration(1)});
    open(inventory, 5);
    auto held = look.gate.try_take();
    const PurchaseRequest of_ann = request("ann");
    auto ann = start_on(cores_.at(0), inventory.reserve(of_ann, direct_));
    ASSERT_TRUE(eventually([&] { return look.begun == 1; }));
    EXPECT_FALSE(run_on(cores_.at(1), inventory.set_terms(terms_))) << "ann has looked";
    held.reset();
    EXPECT_EQ(outcome(finish(ann)), PurchaseOutcome::accepted);
    EXPECT_TRUE(run_on(cores_.at(1), inventory.set_terms(terms_)));
}

TEST_F(LookingInventoryTest, WhoNamesAVersionThatIsGoneHasLostTheRaceAndNothingElse) {
    open(5, 1);
    const StockSighting seen_by_all = keys_.now;
    someone_buys();
    keys_.now = seen_by_all;
    EXPECT_EQ(outcome(buy("bob")), PurchaseOutcome::lost_race);
    keys_.now = now_in_store();
    EXPECT_EQ(outcome(buy("bob")), PurchaseOutcome::accepted) << "the limit of one is not used up";
    EXPECT_EQ(outcome(buy("bob")), PurchaseOutcome::limit_reached);
}

// Fault 1: GET count, GET sale | another's order | GET version.
TEST_F(LookingInventoryTest, ATornLookSellsAUnitThatIsGone) {
    open(1);
    keys_.between = [this] { someone_buys(); };
    EXPECT_EQ(outcome(buy("ann")), PurchaseOutcome::accepted);
    raise();
    EXPECT_EQ(store_.orders().size(), 2U) << "of a stock of one";
    // And from here on nothing stops it: two are sold of one, and the test is count == sale.
    EXPECT_EQ(outcome(buy("bob")), PurchaseOutcome::accepted);
    EXPECT_EQ(store_.orders().size(), 3U);
}

// Fault 3: Redis is one version ahead for ever.
TEST_F(LookingInventoryTest, AVersionThatTheStoreNeverHadStopsTheSale) {
    open(5);
    raise(); // by a transaction that was rolled back
    for (const char* user : {"ann", "bob", "cyd"}) {
        EXPECT_EQ(outcome(buy(user)), PurchaseOutcome::lost_race);
    }
    EXPECT_TRUE(store_.orders().empty());
}

TEST_F(LookingInventoryTest, ThroughALogItSaysYesWithoutAskingAnybody) {
    open(5);
    FakeOrderLog log;
    log.set_durability(FakeOrderLog::Durability::at_once);
    for (const char* user : {"ann", "bob", "cyd"}) {
        EXPECT_EQ(outcome(buy(request(user), log)), PurchaseOutcome::accepted);
    }
    const auto records = log.records();
    ASSERT_EQ(records.size(), 3U);
    EXPECT_EQ(records[0].sighting, records[2].sighting) << "one version, three promises";
}

TEST_F(LookingInventoryTest, AnOrderThatMayStillComeKeepsItsBuyersLimit) {
    open(5, 1);
    FakeOrderLog log;
    log.set_durability(FakeOrderLog::Durability::never);
    const auto maybe = buy(request("ann"), log);
    const auto& refusal = std::get<Refusal>(maybe.error());
    EXPECT_EQ(refusal.reason, PurchaseOutcome::unavailable);
    EXPECT_TRUE(refusal.order_id.has_value());
    EXPECT_NE(outcome(buy("ann")), PurchaseOutcome::accepted);
}

TEST_F(LookingInventoryTest, AKeyIsBoundByAYesAndAnswersTheSameAgain) {
    open(5);
    keys_.now.version = 7; // of a race that is lost
    EXPECT_EQ(outcome(buy("ann", "k")), PurchaseOutcome::lost_race);
    keys_.now = now_in_store();
    const auto first = buy("ann", "k");
    ASSERT_EQ(outcome(first), PurchaseOutcome::accepted);
    const auto again = buy("ann", "k");
    ASSERT_EQ(outcome(again), PurchaseOutcome::replayed);
    EXPECT_EQ(again->order, first->order);
    EXPECT_TRUE(signals_->may_be_bound(request("ann", "k").key_print));
    const PurchaseRequest asked = request("ann", "k");
    const auto found = run_on(cores_.at(0), inventory_.find_key(asked, direct_));
    ASSERT_TRUE(found.has_value() && *found);
    EXPECT_EQ((*found)->order, first->order);
}

TEST_F(LookingInventoryTest, ItsSignalsRefuseNobody) {
    open(1);
    buy("ann");
    raise();
    EXPECT_EQ(outcome(buy("bob")), PurchaseOutcome::sold_out);
    EXPECT_EQ(signals_->remaining.load(), 0);
    EXPECT_FALSE(signals_->sold_out()) << "everybody looks";
}

TEST_F(LookingInventoryTest, HoldsNothingSoNothingCanBeTakenOutOrPaidFor) {
    open(5);
    Withdrawal withdrawal;
    withdrawal.sale = terms_.no;
    const auto taken = run_on(cores_.at(0), inventory_.withdraw(withdrawal, direct_));
    ASSERT_FALSE(taken.has_value());
    EXPECT_TRUE(std::get<Error>(taken.error()).is(Errc::wrong_state));
    SaleImage to_be_paid;
    to_be_paid.terms = terms_;
    to_be_paid.terms.payment_timeout = Duration(1'000);
    const auto installed = run_on(cores_.at(0), inventory_.install(std::move(to_be_paid)));
    ASSERT_FALSE(installed.has_value());
    EXPECT_TRUE(installed.error().is(Errc::invalid));
}

// As many as the store has connections: whoever waits for one has not looked yet.
TEST_F(LookingInventoryTest, LooksWhenItsTurnToWriteHasComeAndNotBefore) {
    SlowLook look(store_);
    LookingInventory inventory({cores_, clock_, store_, blocking_, look, 2});
    open(inventory, 5);
    auto held = look.gate.try_take();
    const PurchaseRequest of_ann = request("ann"), of_bob = request("bob"), of_cyd = request("cyd");
    auto ann = start_on(cores_.at(0), inventory.reserve(of_ann, direct_));
    auto bob = start_on(cores_.at(1), inventory.reserve(of_bob, direct_));
    ASSERT_TRUE(eventually([&] { return look.begun == 2; }));
    auto cyd = start_on(cores_.at(1), inventory.reserve(of_cyd, direct_));
    ASSERT_TRUE(eventually([&] { return inventory.waiting() == 1; }));
    EXPECT_EQ(look.begun, 2);
    held.reset();
    const std::multiset<PurchaseOutcome> of_the_race{outcome(finish(ann)), outcome(finish(bob))};
    EXPECT_TRUE(of_the_race.contains(PurchaseOutcome::accepted));
    EXPECT_TRUE(of_the_race.contains(PurchaseOutcome::lost_race)) << "they looked together";
    EXPECT_EQ(outcome(finish(cyd)), PurchaseOutcome::accepted) << "looked when one had written";
}

TEST_F(LookingInventoryTest, WhoseTurnDoesNotComeHearsOverloadedAndHoldsNothing) {
    SlowLook look(store_);
    LookingInventory inventory({cores_, clock_, store_, blocking_, look, 1, Duration(1)});
    open(inventory, 5, 1);
    auto held = look.gate.try_take();
    const PurchaseRequest of_ann = request("ann"), of_bob = request("bob");
    auto ann = start_on(cores_.at(0), inventory.reserve(of_ann, direct_));
    ASSERT_TRUE(eventually([&] { return look.begun == 1; }));
    const auto refused = run_on(cores_.at(1), inventory.reserve(of_bob, direct_));
    EXPECT_EQ(outcome(refused), PurchaseOutcome::overloaded);
    EXPECT_TRUE(std::get<Refusal>(refused.error()).retry_after.has_value());
    EXPECT_EQ(look.begun, 1) << "it has not looked";
    held.reset();
    EXPECT_EQ(outcome(finish(ann)), PurchaseOutcome::accepted);
    const auto again = run_on(cores_.at(1), inventory.reserve(of_bob, direct_));
    EXPECT_EQ(outcome(again), PurchaseOutcome::accepted) << "the limit of one is not used up";
}

TEST_F(LookingInventoryTest, WhoComesWithTheSameKeyWaitsForTheFirstAndHearsTheSame) {
    SlowLook look(store_);
    LookingInventory inventory({cores_, clock_, store_, blocking_, look, 2});
    open(inventory, 5);
    auto held = look.gate.try_take();
    const PurchaseRequest first = request("ann", "k"), second = request("ann", "k");
    auto one = start_on(cores_.at(0), inventory.reserve(first, direct_));
    ASSERT_TRUE(eventually([&] { return look.begun == 1; }));
    auto other = start_on(cores_.at(1), inventory.reserve(second, direct_));
    held.reset();
    const auto yes = finish(one);
    const auto again = finish(other);
    ASSERT_EQ(outcome(yes), PurchaseOutcome::accepted);
    ASSERT_EQ(outcome(again), PurchaseOutcome::replayed);
    EXPECT_EQ(again->order, yes->order);
    EXPECT_EQ(look.begun, 1) << "it never looked";
}

TEST_F(LookingInventoryTest, WhoWaitsTooLongForTheFirstHearsOverloaded) {
    SlowLook look(store_);
    LookingInventory inventory({cores_, clock_, store_, blocking_, look, 2, Duration(1)});
    open(inventory, 5);
    auto held = look.gate.try_take();
    const PurchaseRequest first = request("ann", "k"), second = request("ann", "k");
    auto one = start_on(cores_.at(0), inventory.reserve(first, direct_));
    ASSERT_TRUE(eventually([&] { return look.begun == 1; }));
    EXPECT_EQ(outcome(run_on(cores_.at(1), inventory.reserve(second, direct_))),
              PurchaseOutcome::overloaded);
    held.reset();
    EXPECT_EQ(outcome(finish(one)), PurchaseOutcome::accepted);
}

TEST_F(LookingInventoryTest, WhoHasAllThatOneMayHaveHearsSoldOutFirst) {
    open(1, 1);
    EXPECT_EQ(outcome(buy("ann")), PurchaseOutcome::accepted);
    EXPECT_EQ(outcome(buy("ann")), PurchaseOutcome::limit_reached);
    raise();
    EXPECT_EQ(outcome(buy("ann")), PurchaseOutcome::sold_out);
}

TEST_F(LookingInventoryTest, AnOrderThatCameAfterAllAnswersItsKey) {
    open(5, 1);
    FakeOrderLog log;
    log.set_durability(FakeOrderLog::Durability::never);
    const auto maybe = buy(request("ann", "k"), log);
    const OrderId order = *std::get<Refusal>(maybe.error()).order_id;
    const auto not_yet = buy(request("ann", "k"), log);
    ASSERT_EQ(outcome(not_yet), PurchaseOutcome::unavailable);
    EXPECT_EQ(std::get<Refusal>(not_yet.error()).order_id, order);
    log.set_durability(FakeOrderLog::Durability::at_once);
    LogRecordView late;
    late.sale = terms_.no;
    late.order = order;
    late.quantity = 1;
    static_cast<void>(log.enqueue(late)); // as the log brings it
    const auto again = buy(request("ann", "k"), log);
    ASSERT_EQ(outcome(again), PurchaseOutcome::replayed);
    EXPECT_EQ(again->order, order);
    EXPECT_EQ(outcome(buy(request("ann"), log)), PurchaseOutcome::limit_reached);
}

TEST_F(LookingInventoryTest, ACommitThatNobodyAnsweredIsAskedForAndGivenUpInTheEnd) {
    LookingInventory inventory({cores_, clock_, store_, blocking_, keys_, 2});
    open(inventory, 5, 1);
    const auto attempt = [&](const std::string& key) {
        const PurchaseRequest asked = request("ann", key);
        return run_on(cores_.at(0), inventory.reserve(asked, direct_));
    };
    store_.fail_applies({make_error_code(Errc::timeout), "the COMMIT"}, 1);
    const auto maybe = attempt("k");
    ASSERT_EQ(outcome(maybe), PurchaseOutcome::unavailable);
    EXPECT_TRUE(std::get<Refusal>(maybe.error()).order_id.has_value());
    EXPECT_EQ(outcome(attempt("k")), PurchaseOutcome::unavailable) << "it may still be there";
    EXPECT_EQ(outcome(attempt("")), PurchaseOutcome::unavailable);
    clock_.advance(LookingInventory::kGivenUpAfter + Duration(1));
    EXPECT_EQ(outcome(attempt("k")), PurchaseOutcome::accepted);
    EXPECT_EQ(store_.orders().size(), 1U);
}

TEST_F(LookingInventoryTest, TheDirectLogWritesABarrierAndThoseBeforeIt) {
    open(5);
    LogRecordView barrier;
    barrier.kind = LogRecordKind::barrier;
    barrier.sale = terms_.no;
    barrier.epoch = Epoch(3);
    const auto first = direct_.enqueue(barrier);
    barrier.epoch = Epoch(4);
    const auto last = direct_.enqueue(barrier);
    EXPECT_FALSE(direct_.is_durable(*first));
    ASSERT_TRUE(run_on(cores_.at(0), direct_.durable(*last)));
    EXPECT_TRUE(direct_.is_durable(*first));
    EXPECT_TRUE(direct_.is_durable(*last));
    EXPECT_EQ(store_.books("demo")->sales[0].barrier, Epoch(4));
}

TEST_F(LookingInventoryTest, TheDirectLogTakesNoMoreThanItsRoom) {
    DirectLog::Options small;
    small.waiting_max = 1;
    DirectLog log({store_, blocking_, tally_, clock_}, small);
    open(5);
    ASSERT_TRUE(log.take_room(LogPartition{0}));
    EXPECT_EQ(outcome(buy(request("ann"), log)), PurchaseOutcome::overloaded);
    log.return_room(LogPartition{0});
    EXPECT_EQ(outcome(buy(request("ann"), log)), PurchaseOutcome::accepted);
}

TEST_F(LookingInventoryTest, AStoreThatIsAwayIsAnErrorAndNothingIsBought) {
    open(5, 1);
    store_.fail_applies({make_error_code(Errc::unavailable), "away"}, 1);
    EXPECT_EQ(outcome(buy("ann")), PurchaseOutcome::unavailable);
    EXPECT_FALSE(direct_.is_store_up());
    EXPECT_EQ(outcome(buy("ann")), PurchaseOutcome::accepted);
    EXPECT_TRUE(direct_.is_store_up());
}

} // namespace
} // namespace doorbuster
