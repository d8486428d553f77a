// The purchase path put together as assembly does it, on a log and a store that the test commands:
// what a buyer is told, what becomes an order, and what is still true after a restart.
#include <deque>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "adapters/memory/inventory.h"
#include "adapters/memory/rate_limiter.h"
#include "engine/audit.h"
#include "engine/lifecycle.h"
#include "engine/order_service.h"
#include "engine/order_writer.h"
#include "engine/purchase_service.h"
#include "engine/rebuild.h"
#include "engine/sale_service.h"
#include "ports/fake_order_log.h"
#include "ports/fake_order_store.h"
#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Durability = FakeOrderLog::Durability;

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr Duration kLong{60'000};
constexpr std::size_t kCores = 2;
const std::string kWho = "operator";

struct Limits {
    std::size_t in_flight_max = 100;
    memory::RateLimits rates;
};

// The log for an audit, as of one process or as of several.
class SomeonesBooks final : public LogBooks {
public:
    explicit SomeonesBooks(OrderLogReader& log) : books_(log) {}
    void set_writers(LogWriters writers) { writers_ = writers; }

    [[nodiscard]] LogWriters writers() const override { return writers_; }
    [[nodiscard]] std::unique_ptr<LogPin> pin() override { return books_.pin(); }
    [[nodiscard]] Result<std::vector<LogPosition>> ends() override { return books_.ends(); }
    [[nodiscard]] Result<std::vector<AuditTail::Entry>> read(LogPlace from,
                                                             LogPosition to) override {
        return books_.read(from, to);
    }

private:
    ReaderBooks books_;
    LogWriters writers_ = LogWriters::one;
};

// One process's engine. The next one on the same log and store is a restart.
struct Shop {
    Shop(FakeOrderLog& order_log, FakeOrderStore& order_store, const Clock& clock,
         std::uint64_t seed, const Limits& limits)
        : log(order_log),
          prints(seed, seed),
          inventory(cores, clock),
          limiter(limits.rates, clock),
          writer(log, order_store, clock, options()),
          rebuild({cores, clock, blocking, order_store, log, writer, inventory, tally, prints,
                   directories}),
          sales({clock, rebuild, order_store, log, writer, inventory, blocking, seed << 32}),
          lifecycle(cores, order_store, inventory, clock, living()),
          orders(order_store, log, writer, lifecycle, blocking),
          auditor(cores, order_store, log, log_books, inventory, blocking) {
        const PurchaseService::Parts parts{clock, inventory, log, limiter};
        for (std::uint16_t i = 0; i < kCores; ++i) {
            directories.push_back(std::make_unique<SaleDirectory>());
            const OrderIdSource ids(i, seed << 32);
            purchases.push_back(
                std::make_unique<PurchaseService>(parts, ids, limits.in_flight_max));
        }
        writer.start(order_store.log_binding()->next.at(kOnlyPartition));
        cores.start();
        lifecycle.start();
        lifecycle.open();
    }
    ~Shop() {
        lifecycle.stop();
        cores.stop();
    }
    Shop(const Shop&) = delete;
    Shop& operator=(const Shop&) = delete;

    static OrderWriter::Options options() {
        OrderWriter::Options options;
        options.on_fatal = [](const Error& error) { ADD_FAILURE() << error.message(); };
        return options;
    }
    static Lifecycle::Options living() {
        Lifecycle::Options options;
        options.on_fatal = [](const Error& error) { ADD_FAILURE() << error.message(); };
        return options;
    }
    // Rebuilds every sale of the store, as at a start.
    void recover() { ASSERT_TRUE(run_on(cores.at(0), rebuild.run())); }
    void wait_for_writer() {
        ASSERT_TRUE(writer.wait_for(log.last_enqueued(kOnlyPartition), kLong));
    }
    SaleAudit audit() {
        const std::optional<std::string> every_sale;
        const auto rows = run_on(cores.at(0), auditor.run(every_sale));
        EXPECT_TRUE(rows && rows->size() == 1);
        return rows && rows->size() == 1 ? rows->front() : SaleAudit();
    }

    FakeOrderLog& log;
    Cores cores{kCores};
    Fingerprinter prints;
    BlockingPool blocking{2, 100};
    std::vector<std::unique_ptr<SaleDirectory>> directories;
    OrderTally tally;
    SomeonesBooks log_books{log};
    memory::MemoryInventory inventory;
    memory::MemoryRateLimiter limiter;
    OrderWriter writer;
    Rebuild rebuild;
    SaleService sales;
    Lifecycle lifecycle;
    OrderService orders;
    Auditor auditor;
    std::vector<std::unique_ptr<PurchaseService>> purchases;
};

// One attempt at the sale "demo", with the texts that its request points to.
struct Buyer {
    std::string user;
    std::string key;
    Units quantity = 1;
};

// As an HTTP handler does it, on core `at`.
Task<Step<Reservation>> buy(Shop& shop, std::size_t at, Buyer buyer) {
    SaleView* sale = shop.directories[at]->find("demo");
    PurchaseRequest request;
    request.sale = sale->terms->no;
    request.user = buyer.user;
    request.user_print = shop.prints.of(buyer.user);
    request.key = buyer.key;
    request.key_print = shop.prints.of(request.user_print, buyer.key);
    request.quantity = buyer.quantity;
    RateSubject subject;
    subject.user = request.user_print;
    subject.counts_for_system = true;
    co_return co_await shop.purchases[at]->purchase(*sale, request, subject);
}

template <class T> Refusal refusal_of(const Step<T>& step) {
    const auto* refusal = step ? nullptr : std::get_if<Refusal>(&step.error());
    if (refusal == nullptr) {
        ADD_FAILURE() << (step ? "not refused" : std::get<Error>(step.error()).message());
        return {};
    }
    return *refusal;
}

class PurchasePath : public testing::Test {
protected:
    void open(Units stock, Units per_user_limit, const Limits& limits = {},
              Duration payment_timeout = Duration(0)) {
        start(limits);
        SaleTerms terms;
        terms.id = "demo";
        terms.title = "Demo";
        terms.stock = stock;
        terms.per_user_limit = per_user_limit;
        terms.starts_at = kNoon;
        terms.payment_timeout = payment_timeout;
        const std::string created_as = "demo";
        ASSERT_TRUE(run_on(shop_->cores.at(0), shop_->sales.create(terms, created_as, kWho)));
    }
    void start(const Limits& limits = {}) {
        shop_ = std::make_unique<Shop>(log_, store_, clock_, ++starts_, limits);
    }
    void restart() {
        shop_.reset();
        start();
        shop_->recover();
    }
    Step<Reservation> purchase(Buyer buyer, std::size_t at = 0) {
        return run_on(shop_->cores.at(at), buy(*shop_, at, std::move(buyer)));
    }
    std::future<Step<Reservation>> start_purchase(Buyer buyer, std::size_t at = 0) {
        return start_on(shop_->cores.at(at), buy(*shop_, at, std::move(buyer)));
    }
    void change(const SaleEdit& edit) {
        const std::string id = "demo";
        ASSERT_TRUE(run_on(shop_->cores.at(0), shop_->sales.edit(id, edit, kWho)));
    }
    void close() {
        const std::string id = "demo";
        ASSERT_TRUE(run_on(shop_->cores.at(0), shop_->sales.close(id, kWho)));
    }
    Result<Lifecycle::Change> cancel(const OrderId& id) {
        OrderChange change;
        change.order = id;
        change.action = OrderAction::cancel;
        return run_on(shop_->cores.at(1), shop_->orders.change(change));
    }
    Result<Order> find(const OrderId& id) {
        return run_on(shop_->cores.at(1), shop_->orders.find(id));
    }

    ManualClock clock_{kNoon};
    FakeOrderLog log_;
    FakeOrderStore store_{&clock_};
    std::uint64_t starts_ = 0; // each has its own fingerprints
    std::unique_ptr<Shop> shop_;
};

TEST_F(PurchasePath, SaysYesOnlyWhenTheOrderIsDurable) {
    open(10, 1);
    log_.set_durability(Durability::when_told);
    auto answer = start_purchase({"a", "", 1});
    ASSERT_TRUE(eventually([&] { return log_.waiting() == 1; }));
    EXPECT_EQ(answer.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
    log_.make_durable();
    const auto yes = finish(answer);
    ASSERT_TRUE(yes);
    shop_->wait_for_writer();
    const auto order = find(yes->order);
    ASSERT_TRUE(order);
    EXPECT_EQ(order->status, OrderStatus::confirmed);
    EXPECT_EQ(order->user, "a");
    EXPECT_EQ(order->id.created_at(), kNoon);
}

TEST_F(PurchasePath, NamesTheOrderThatMayStillComeWhenTheLogIsLate) {
    open(10, 1);
    log_.set_durability(Durability::never);
    const Refusal late = refusal_of(purchase({"a", "k", 1}));
    EXPECT_EQ(late.reason, PurchaseOutcome::unavailable);
    ASSERT_TRUE(late.order_id);
    EXPECT_TRUE(late.retry_after);
    // The same key meanwhile: the same unit, still no yes.
    const Refusal again = refusal_of(purchase({"a", "k", 1}, 1));
    EXPECT_EQ(again.reason, PurchaseOutcome::unavailable);
    EXPECT_EQ(again.order_id, late.order_id);
    // Another attempt without the key is told nothing of an order that is not durable.
    const Refusal limited = refusal_of(purchase({"a", "", 1}));
    EXPECT_EQ(limited.reason, PurchaseOutcome::unavailable);
    EXPECT_FALSE(limited.order_id);
    log_.make_durable();
    const auto yes = purchase({"a", "k", 1});
    ASSERT_TRUE(yes);
    EXPECT_TRUE(yes->replayed);
    EXPECT_EQ(yes->order, *late.order_id);
    shop_->wait_for_writer();
    EXPECT_EQ(store_.orders().size(), 1U);
}

TEST_F(PurchasePath, LetsAReplayWaitForTheFirstAnswersOrder) {
    open(10, 5);
    log_.set_durability(Durability::when_told);
    std::vector<std::future<Step<Reservation>>> answers;
    for (std::size_t i = 0; i < 20; ++i) {
        answers.push_back(start_purchase({"a", "k", 2}, i % kCores));
    }
    ASSERT_TRUE(eventually([&] { return log_.waiting() == 20; }));
    EXPECT_EQ(log_.records().size(), 2U); // the barrier and one order
    log_.make_durable();
    std::set<OrderId> orders;
    int fresh = 0;
    for (auto& answer : answers) {
        const auto yes = finish(answer);
        ASSERT_TRUE(yes);
        orders.insert(yes->order);
        if (!yes->replayed) ++fresh;
    }
    EXPECT_EQ(orders.size(), 1U);
    EXPECT_EQ(fresh, 1);
    EXPECT_THAT(shop_->audit().violations, IsEmpty());
}

TEST_F(PurchasePath, SellsExactlyTheStockAndThenSaysSoldOutOnEveryCore) {
    open(25, 1);
    std::vector<std::future<Step<Reservation>>> answers;
    for (std::size_t i = 0; i < 200; ++i) {
        answers.push_back(start_purchase({"user " + std::to_string(i), "", 1}, i % kCores));
    }
    int accepted = 0;
    for (auto& answer : answers) {
        const auto step = finish(answer);
        if (step) ++accepted;
        else EXPECT_EQ(refusal_of(step).reason, PurchaseOutcome::sold_out);
    }
    EXPECT_EQ(accepted, 25);
    log_.set_room(0); // a no needs no log
    for (std::size_t at = 0; at < kCores; ++at) {
        EXPECT_EQ(refusal_of(purchase({"late", "", 1}, at)).reason, PurchaseOutcome::sold_out);
    }
    const SaleAudit row = shop_->audit();
    EXPECT_THAT(row.violations, IsEmpty());
    EXPECT_EQ(row.sold, 25);
    EXPECT_EQ(row.inventory_remaining, 0);
}

TEST_F(PurchasePath, NeverTellsTheRetryOfAWinnerNoWhateverBecameOfTheSale) {
    open(1, 1);
    const auto yes = purchase({"a", "k", 1});
    ASSERT_TRUE(yes);
    const auto is_the_same = [&](const char* when) {
        for (std::size_t at = 0; at < kCores; ++at) {
            const auto again = purchase({"a", "k", 1}, at);
            ASSERT_TRUE(again) << when;
            EXPECT_TRUE(again->replayed) << when;
            EXPECT_EQ(again->order, yes->order) << when;
        }
        EXPECT_EQ(refusal_of(purchase({"a", "k", 2})).reason, PurchaseOutcome::idempotency_mismatch)
            << when;
    };
    is_the_same("sold out");
    EXPECT_EQ(refusal_of(purchase({"b", "k", 1})).reason, PurchaseOutcome::sold_out);
    SaleEdit pause;
    pause.paused = true;
    change(pause);
    is_the_same("paused");
    EXPECT_EQ(refusal_of(purchase({"b", "k", 1})).reason, PurchaseOutcome::paused);
    restart();
    is_the_same("restarted");
    close();
    is_the_same("closed");
    EXPECT_EQ(refusal_of(purchase({"b", "k", 1})).reason, PurchaseOutcome::closed);
    restart();
    is_the_same("closed and restarted");
    EXPECT_EQ(store_.orders().size(), 1U);
}

TEST_F(PurchasePath, KnowsAfterARestartWhatWasSoldAndToWhom) {
    open(10, 3);
    const auto first = purchase({"a", "k", 2});
    ASSERT_TRUE(first);
    ASSERT_TRUE(purchase({"b", "", 3}));
    store_.fail_applies({make_error_code(Errc::unavailable), "down"}, 2); // the writer lags
    ASSERT_TRUE(purchase({"c", "", 1}));
    restart();
    EXPECT_EQ(refusal_of(purchase({"a", "", 2})).order_id, first->order);
    EXPECT_EQ(refusal_of(purchase({"b", "", 1})).reason, PurchaseOutcome::limit_reached);
    const auto again = purchase({"a", "k", 2});
    ASSERT_TRUE(again);
    EXPECT_EQ(again->order, first->order);
    const SaleAudit row = shop_->audit();
    EXPECT_THAT(row.violations, IsEmpty());
    EXPECT_EQ(row.sold, 6);
    EXPECT_EQ(row.inventory_remaining, 4);
}

TEST_F(PurchasePath, KeepsTheKeyOfACancelledOrderButSellsItsUnitAgain) {
    open(1, 1, {}, std::chrono::minutes(15));
    const auto cancelled = purchase({"a", "k", 1});
    ASSERT_TRUE(cancelled);
    ASSERT_EQ(cancel(cancelled->order)->verdict, ChangeVerdict::done);
    restart();
    const auto again = purchase({"a", "k", 1});
    ASSERT_TRUE(again);
    EXPECT_EQ(again->order, cancelled->order);
    const auto next = purchase({"a", "other", 1});
    ASSERT_TRUE(next);
    EXPECT_FALSE(next->replayed);
    EXPECT_EQ(refusal_of(purchase({"b", "", 1})).reason, PurchaseOutcome::sold_out);
    EXPECT_THAT(shop_->audit().violations, IsEmpty());
}

// Where several write, what was produced again may stand in the log twice: here the second copy of
// an order that is stored waits for a writer whose store is down.
TEST_F(PurchasePath, CountsAnOrderOnceOfWhichACopyIsOnItsWay) {
    open(10, 5);
    shop_->log_books.set_writers(LogWriters::several);
    const auto stored = purchase({"a", "", 4});
    ASSERT_TRUE(stored);
    shop_->wait_for_writer();
    store_.fail_applies({make_error_code(Errc::unavailable), "down"}, 1'000'000);
    ASSERT_TRUE(purchase({"b", "", 2}));
    ASSERT_TRUE(log_.enqueue(
        {LogRecordKind::order, SaleNo(1), Epoch(1), stored->order, 4, "a", "", kOnlyPartition}));
    const auto balances = [this](std::int64_t queued, std::int64_t confirmed) {
        const SaleAudit row = shop_->audit();
        EXPECT_THAT(row.violations, IsEmpty());
        EXPECT_EQ(row.sold, 6);
        EXPECT_EQ(row.log_accepted_units, 6);
        EXPECT_EQ(row.inventory_remaining, 4);
        EXPECT_EQ(row.orders[static_cast<std::size_t>(OrderStatus::queued)], queued);
        EXPECT_EQ(row.orders[static_cast<std::size_t>(OrderStatus::confirmed)], confirmed);
    };
    balances(1, 1);
    store_.fail_applies({make_error_code(Errc::unavailable), "down"}, 0);
    shop_->wait_for_writer();
    balances(0, 2);
}

TEST_F(PurchasePath, MakesNoOrderOfARecordOfAClosedEpoch) {
    open(2, 2);
    ASSERT_TRUE(purchase({"a", "", 1}));
    restart(); // opens epoch 2
    // The process before us slept, wakes up and appends what it had held.
    const OrderId late(SaleNo(1), kNoon, 9, 9);
    ASSERT_TRUE(
        log_.enqueue({LogRecordKind::order, SaleNo(1), Epoch(1), late, 1, "ghost", "k", {}}));
    ASSERT_TRUE(purchase({"b", "", 1}));
    shop_->wait_for_writer();
    EXPECT_EQ(store_.orders().size(), 2U);
    for (const Order& order : store_.orders()) EXPECT_NE(order.user, "ghost");
    const SaleAudit row = shop_->audit();
    EXPECT_THAT(row.violations, ElementsAre(HasSubstr("1 orders of the log were void")));
    EXPECT_EQ(row.sold, 2);
}

// Buys once for each of `users` users and notes the orders that were promised.
Task<int> buy_for_many(Shop& shop, std::size_t at, int users, std::vector<OrderId>& promised) {
    int refused = 0;
    for (int i = 0; i < users; ++i) {
        Buyer buyer{"user " + std::to_string(at) + "." + std::to_string(i), "", 1};
        const auto yes = co_await buy(shop, at, std::move(buyer));
        if (yes) promised.push_back(yes->order);
        else ++refused;
        co_await boost::asio::post(use_task); // others' turn
    }
    co_return refused;
}

TEST_F(PurchasePath, KeepsEveryPromiseWhileASaleThatSellsIsRebuilt) {
    constexpr int kUsers = 5'000;
    open(1'000'000, 1);
    std::vector<std::vector<OrderId>> promised(kCores);
    std::vector<std::future<int>> buyers;
    for (std::size_t at = 0; at < kCores; ++at) {
        buyers.push_back(
            start_on(shop_->cores.at(at), buy_for_many(*shop_, at, kUsers, promised[at])));
    }
    ASSERT_TRUE(eventually([&] { return log_.records().size() > 500; }));
    shop_->recover();
    for (auto& buyer : buyers) EXPECT_LE(finish(buyer), kUsers);
    shop_->wait_for_writer();
    std::set<OrderId> stored;
    for (const Order& order : store_.orders()) stored.insert(order.id);
    std::size_t kept = 0;
    for (const auto& of_core : promised) {
        for (const OrderId& order : of_core) {
            ASSERT_TRUE(stored.contains(order)) << order.text();
            ++kept;
        }
    }
    EXPECT_GE(kept, 500U);
    EXPECT_TRUE(purchase({"afterwards", "", 1}));
    EXPECT_THAT(shop_->audit().violations, IsEmpty());
}

TEST_F(PurchasePath, BuildsASaleWhoseCreationFailedHalfwayWhenItIsCreatedAgain) {
    start();
    log_.set_room(0); // no room for the barrier
    SaleTerms terms;
    terms.id = "demo";
    terms.stock = 1;
    terms.starts_at = kNoon;
    const std::string created_as = "demo";
    EXPECT_FALSE(run_on(shop_->cores.at(0), shop_->sales.create(terms, created_as, kWho)));
    log_.set_room(10);
    const auto again = run_on(shop_->cores.at(0), shop_->sales.create(terms, created_as, kWho));
    ASSERT_TRUE(again);
    EXPECT_FALSE(again->second) << "it is not new";
    EXPECT_TRUE(purchase({"a", "", 1}));
}

TEST_F(PurchasePath, CountsTheUnitsOfASaleClosedLongAgoThoughItsOrdersAreNotRead) {
    open(10, 5);
    ASSERT_TRUE(purchase({"a", "k", 4}));
    close();
    clock_.advance(std::chrono::hours(25));
    restart();
    const SaleAudit row = shop_->audit();
    EXPECT_THAT(row.violations, IsEmpty());
    EXPECT_EQ(row.inventory_remaining, 6);
    EXPECT_EQ(refusal_of(purchase({"a", "k", 4})).reason, PurchaseOutcome::closed);
}

TEST_F(PurchasePath, ShedsWhatItsInFlightWindowDoesNotHold) {
    Limits limits;
    limits.in_flight_max = 2;
    open(10, 1, limits);
    log_.set_durability(Durability::when_told);
    auto one = start_purchase({"a", "", 1});
    auto two = start_purchase({"b", "", 1});
    ASSERT_TRUE(eventually([&] { return log_.waiting() == 2; }));
    const Refusal shed = refusal_of(purchase({"c", "", 1}));
    EXPECT_EQ(shed.reason, PurchaseOutcome::overloaded);
    EXPECT_TRUE(shed.retry_after);
    EXPECT_FALSE(shed.order_id);
    log_.make_durable();
    EXPECT_TRUE(finish(one));
    EXPECT_TRUE(finish(two));
    log_.set_durability(Durability::at_once);
    EXPECT_TRUE(purchase({"c", "", 1}));
}

TEST_F(PurchasePath, LimitsHowOftenAUserTriesButNotHisRetriesOfAYes) {
    Limits limits;
    limits.rates.user = {1, 1};
    open(10, 5, limits);
    const auto yes = purchase({"a", "k", 1});
    ASSERT_TRUE(yes);
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(purchase({"a", "k", 1}));
    const Refusal limited = refusal_of(purchase({"a", "other", 1}));
    EXPECT_EQ(limited.reason, PurchaseOutcome::rate_limited);
    EXPECT_EQ(limited.retry_after, Duration(1'000));
    clock_.advance(Duration(1'000));
    EXPECT_TRUE(purchase({"a", "other", 1}));
}

TEST_F(PurchasePath, SaysOverloadedAndHoldsNothingWhileTheLogIsFull) {
    open(10, 1);
    log_.set_room(0);
    EXPECT_EQ(refusal_of(purchase({"a", "k", 1})).reason, PurchaseOutcome::overloaded);
    EXPECT_EQ(shop_->audit().inventory_remaining, 10);
    log_.set_room(1);
    EXPECT_TRUE(purchase({"a", "k", 1}));
}

TEST_F(PurchasePath, ShowsAnOrderAsQueuedUntilTheStoreHasIt) {
    open(10, 1);
    store_.fail_applies({make_error_code(Errc::unavailable), "down"}, 1'000'000);
    const auto yes = purchase({"a", "", 1});
    ASSERT_TRUE(yes);
    const auto queued = find(yes->order);
    ASSERT_TRUE(queued);
    EXPECT_EQ(queued->status, OrderStatus::queued);
    EXPECT_EQ(queued->user, "a");
    const SaleAudit row = shop_->audit();
    EXPECT_THAT(row.violations, IsEmpty());
    EXPECT_EQ(row.orders[static_cast<std::size_t>(OrderStatus::queued)], 1);
    store_.fail_applies({}, 0);
    shop_->wait_for_writer();
    EXPECT_EQ(find(yes->order)->status, OrderStatus::confirmed);
    EXPECT_TRUE(find(OrderId(SaleNo(1), kNoon, 7, 7)).error().is(Errc::not_found));
}

TEST_F(PurchasePath, SellsWhatARaisedStockAddsAlsoAfterSoldOut) {
    open(1, 5);
    ASSERT_TRUE(purchase({"a", "", 1}));
    ASSERT_EQ(refusal_of(purchase({"b", "", 1})).reason, PurchaseOutcome::sold_out);
    const std::string id = "demo";
    const std::optional<std::string> no_key;
    ASSERT_TRUE(run_on(shop_->cores.at(0), shop_->sales.change_stock(id, 2, no_key, kWho)));
    const Refusal fewer = refusal_of(purchase({"b", "", 3}));
    EXPECT_EQ(fewer.reason, PurchaseOutcome::sold_out);
    EXPECT_EQ(fewer.remaining, 2);
    EXPECT_TRUE(purchase({"b", "", 2}));
    EXPECT_THAT(shop_->audit().violations, IsEmpty());
}

} // namespace
} // namespace doorbuster
