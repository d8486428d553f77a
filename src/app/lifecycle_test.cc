// The lifecycle, with the inventory in memory.
#include "engine/lifecycle.h"
#include "engine/order_writer.h"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <future>
#include <gtest/gtest.h>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "adapters/memory/inventory.h"
#include "ports/fake_order_log.h"
#include "ports/fake_order_store.h"
#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;

using Answer = Result<Lifecycle::Change>;

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr Duration kTimeout{60'000}; // to pay, and more than a look or a sweep lets pass
constexpr Units kStock = 100'000;
constexpr Duration kLong{60'000};

const Error kDown{make_error_code(Errc::unavailable), "the store is down"};

// The time, for the store: asked inside its transactions. So a transaction stands still as long as
// the test holds the clock's answer back.
class GatedClock final : public Clock {
public:
    explicit GatedClock(const Clock& clock) : clock_(clock) {}

    void close() {
        const std::lock_guard lock(mutex_);
        is_open_ = false;
    }
    void open() {
        {
            const std::lock_guard lock(mutex_);
            is_open_ = true;
        }
        opened_.notify_all();
    }
    [[nodiscard]] bool is_somebody_waiting() const {
        const std::lock_guard lock(mutex_);
        return waiting_ > 0;
    }

    [[nodiscard]] TimePoint now() const override {
        std::unique_lock lock(mutex_);
        ++waiting_;
        opened_.wait(lock, [this] { return is_open_; });
        --waiting_;
        return clock_.now();
    }
    [[nodiscard]] std::int64_t steady_ns() const override { return clock_.steady_ns(); }

private:
    const Clock& clock_;
    mutable std::mutex mutex_; // guards the rest
    mutable std::condition_variable opened_;
    mutable int waiting_ = 0;
    bool is_open_ = true;
};

class LifecycleTest : public testing::Test {
protected:
    // Nobody gives up because the machine is slow, unless that is what is tested.
    explicit LifecycleTest(Duration answer_wait = kLong) : answer_wait_(answer_wait) {
        SaleTerms terms;
        terms.id = "demo";
        terms.title = "Demo";
        terms.stock = kStock;
        terms.per_user_limit = kStock;
        terms.starts_at = kNoon;
        terms.payment_timeout = kTimeout;
        sale_ = store_.add_open_sale(terms);
        install(sale_, {});
    }
    ~LifecycleTest() override {
        gate_.open();
        lifecycle_.stop();
        cores_.stop();
    }
    Lifecycle::Options options() {
        Lifecycle::Options options;
        options.answer_wait = answer_wait_;
        options.release_wait = kLong;
        options.tally = &tally_;
        options.on_fatal = [this](const Error& error) {
            const std::lock_guard lock(mutex_);
            fatal_.push_back(error);
        };
        options.on_changed = [this](std::span<const OrderId> orders) {
            const std::lock_guard lock(mutex_);
            changed_.emplace_back(orders.begin(), orders.end());
        };
        options.on_swept = [this](const SaleTerms& terms) {
            const std::lock_guard lock(mutex_);
            swept_.push_back(terms.no);
        };
        return options;
    }

    void install(const StoredSale& sale, std::vector<OrderPlaced> live) {
        SaleImage image;
        image.terms = sale.terms;
        image.epoch = sale.epoch;
        image.live = std::move(live);
        ASSERT_TRUE(run_on(cores_.at(0), inventory_.install(std::move(image))));
    }
    // So many orders of one unit, each: held in the inventory, and written to the store.
    std::vector<OrderId> buy(std::size_t orders) {
        std::vector<OrderId> bought;
        for (std::size_t i = 0; i < orders; ++i) {
            const std::string user = "user " + std::to_string(bought_);
            PurchaseRequest request;
            request.sale = sale_.terms.no;
            request.order_id = OrderId(request.sale, clock_.now(), 0, bought_++);
            request.user = user;
            request.user_print.low = bought_;
            EXPECT_TRUE(run_on(cores_.at(0), inventory_.reserve(request, log_)));
            bought.push_back(request.order_id);
        }
        auto records = log_.records();
        records.erase(records.begin(), records.end() - static_cast<std::ptrdiff_t>(orders));
        const auto from = store_.log_binding()->next.at(kOnlyPartition);
        const auto report =
            store_.apply(from, from.plus(orders), records, StockGuard::version_and_stock);
        EXPECT_TRUE(report);
        if (report) tally_.add(*report);
        return bought;
    }
    std::future<Answer> ask(const OrderId& order, OrderAction action,
                            const std::string& payment = "p-1") {
        return start_on(cores_.at(0), lifecycle_.change({order, action, payment}));
    }
    Answer change(const OrderId& order, OrderAction action, const std::string& payment = "p-1") {
        auto asked = ask(order, action, payment);
        return finish(asked);
    }
    // What the inventory has left in the very turn of the answer.
    Task<std::pair<Answer, Units>> change_and_count(OrderId order, OrderAction action) {
        OrderChange wish{order, action, "p-1"};
        auto answer = co_await lifecycle_.change(std::move(wish));
        const auto count = co_await inventory_.count(sale_.terms.no, log_);
        co_return std::pair(std::move(answer), count ? count->remaining : -1);
    }
    // A transaction is under way, and goes on when the gate opens.
    std::future<Answer> block_with(const OrderId& order) {
        gate_.close();
        auto asked = ask(order, OrderAction::pay);
        EXPECT_TRUE(eventually([this] { return gate_.is_somebody_waiting(); }));
        return asked;
    }
    // Everything that was started on the core before has run.
    void settle_core() {
        run_on(cores_.at(0), []() -> Task<void> { co_return; }());
    }

    Units remaining() {
        const auto count = run_on(cores_.at(0), inventory_.count(sale_.terms.no, log_));
        return count ? count->remaining : -1;
    }
    OrderStatus status_of(const OrderId& order) { return store_.find_order(order)->status; }
    std::size_t pending() {
        std::size_t orders = 0;
        const auto rows = store_.pending_give_backs({}, 1'000'000);
        for (const GiveBack& each : *rows) orders += each.orders.size();
        return orders;
    }
    std::int64_t tallied(OrderStatus status) {
        return tally_.counts()[sale_.terms.no][static_cast<std::size_t>(status)];
    }
    // What on_changed was told, a batch each.
    std::vector<std::vector<OrderId>> changed() {
        const std::lock_guard lock(mutex_);
        return changed_;
    }
    std::vector<SaleNo> swept() {
        const std::lock_guard lock(mutex_);
        return swept_;
    }
    std::vector<Error> fatal() {
        const std::lock_guard lock(mutex_);
        return fatal_;
    }

    const Duration answer_wait_;
    ManualClock clock_{kNoon};
    GatedClock gate_{clock_};
    FakeOrderLog log_;
    FakeOrderStore store_{&gate_};
    OrderTally tally_;
    std::mutex mutex_; // guards what the lifecycle told
    std::vector<std::vector<OrderId>> changed_;
    std::vector<SaleNo> swept_;
    std::vector<Error> fatal_;
    RunningCores cores_{1};
    memory::MemoryInventory inventory_{cores_, clock_};
    Lifecycle lifecycle_{cores_, store_, inventory_, clock_, options()};
    StoredSale sale_;
    std::uint64_t bought_ = 0;
};

TEST_F(LifecycleTest, PaysAndCancelsAndSaysWhatWasBefore) {
    const auto orders = buy(3);
    lifecycle_.start();
    lifecycle_.open();
    const auto paid = change(orders[0], OrderAction::pay, "card-7");
    ASSERT_TRUE(paid);
    EXPECT_EQ(paid->verdict, ChangeVerdict::done);
    EXPECT_EQ(paid->before, OrderStatus::confirmed);
    EXPECT_EQ(paid->order.status, OrderStatus::paid);
    EXPECT_EQ(paid->order.payment_ref, "card-7");
    EXPECT_EQ(paid->order.paid_at, kNoon);

    EXPECT_EQ(change(orders[0], OrderAction::pay, "card-7")->verdict, ChangeVerdict::unchanged);
    EXPECT_EQ(change(orders[0], OrderAction::pay, "card-8")->verdict, ChangeVerdict::refused);
    EXPECT_EQ(change(orders[0], OrderAction::cancel)->verdict, ChangeVerdict::refused);
    EXPECT_EQ(change(OrderId(sale_.terms.no, kNoon, 9, 9), OrderAction::pay)->verdict,
              ChangeVerdict::unknown);

    EXPECT_EQ(change(orders[1], OrderAction::cancel)->verdict, ChangeVerdict::done);
    EXPECT_EQ(remaining(), kStock - 2) << "its units are for sale before it is answered";
    EXPECT_EQ(change(orders[1], OrderAction::cancel)->verdict, ChangeVerdict::unchanged);
    EXPECT_EQ(remaining(), kStock - 2);

    const std::vector<std::vector<OrderId>> told{{orders[0]}, {orders[1]}};
    EXPECT_EQ(changed(), told) << "what changed nothing is not told";
    EXPECT_EQ(tallied(OrderStatus::confirmed), 1);
    EXPECT_EQ(tallied(OrderStatus::paid), 1);
    EXPECT_EQ(tallied(OrderStatus::cancelled), 1);
    EXPECT_EQ(lifecycle_.totals().paid, 1U);
    EXPECT_EQ(lifecycle_.totals().cancelled, 1U);
    EXPECT_EQ(lifecycle_.totals().expired, 0U);
    EXPECT_TRUE(eventually([this] { return pending() == 0; })) << "ticked off";
    EXPECT_EQ(lifecycle_.totals().released, 1U);
    EXPECT_TRUE(fatal().empty());
}

TEST_F(LifecycleTest, MakesWhatWaitsInOneTransactionAndAnswersEachCaller) {
    const auto orders = buy(5);
    lifecycle_.start();
    auto first = block_with(orders[0]);
    std::vector<std::future<Answer>> asked;
    asked.push_back(ask(orders[1], OrderAction::pay, "p-1"));
    asked.push_back(ask(orders[2], OrderAction::cancel));
    asked.push_back(ask(orders[2], OrderAction::pay, "p-2")); // behind the cancel
    asked.push_back(ask(orders[3], OrderAction::pay, "p-3"));
    settle_core();
    gate_.open();
    EXPECT_EQ(finish(first)->verdict, ChangeVerdict::done);
    EXPECT_EQ(finish(asked[0])->order.payment_ref, "p-1");
    EXPECT_EQ(finish(asked[1])->order.status, OrderStatus::cancelled);
    const auto late = finish(asked[2]);
    EXPECT_EQ(late->verdict, ChangeVerdict::refused);
    EXPECT_EQ(late->order.status, OrderStatus::cancelled);
    EXPECT_EQ(finish(asked[3])->order.payment_ref, "p-3");
    const std::vector<std::vector<OrderId>> told{{orders[0]}, {orders[1], orders[2], orders[3]}};
    EXPECT_EQ(changed(), told);
    EXPECT_EQ(remaining(), kStock - 4);
    EXPECT_EQ(status_of(orders[4]), OrderStatus::confirmed);
}

TEST_F(LifecycleTest, RefusesTheOneTooMany) {
    constexpr std::size_t kWaiting = 3;
    const auto orders = buy(kWaiting + 2);
    auto few = options();
    few.waiting_max = kWaiting;
    Lifecycle lifecycle(cores_, store_, inventory_, clock_, few);
    const auto pay = [&](const OrderId& order) {
        return start_on(cores_.at(0), lifecycle.change({order, OrderAction::pay, "p-1"}));
    };
    lifecycle.start();
    gate_.close();
    std::vector<std::future<Answer>> asked;
    asked.push_back(pay(orders[0])); // under way: it does not wait any more
    EXPECT_TRUE(eventually([this] { return gate_.is_somebody_waiting(); }));
    for (std::size_t i = 1; i <= kWaiting; ++i) asked.push_back(pay(orders[i]));
    auto one_more = pay(orders.back());
    const auto refused = finish(one_more);
    gate_.open();
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(Errc::unavailable));
    for (auto& each : asked) EXPECT_EQ(finish(each)->verdict, ChangeVerdict::done);
    EXPECT_EQ(status_of(orders.back()), OrderStatus::confirmed);
    auto again = pay(orders.back());
    EXPECT_EQ(finish(again)->verdict, ChangeVerdict::done) << "there is room again";
}

class LifecycleOfTheImpatientTest : public LifecycleTest {
protected:
    LifecycleOfTheImpatientTest() : LifecycleTest(Duration(2'000)) {}
};

// The change that was under way may happen. One that had not begun must not, behind the back of
// somebody who was told that it did not.
TEST_F(LifecycleOfTheImpatientTest, DoesNotMakeAChangeThatNobodyWaitsForAnyMore) {
    const auto orders = buy(3);
    lifecycle_.start();
    auto under_way = block_with(orders[0]);
    auto waiting = ask(orders[1], OrderAction::cancel);
    for (auto* each : {&under_way, &waiting}) {
        const auto answer = finish(*each);
        ASSERT_FALSE(answer);
        EXPECT_TRUE(answer.error().is(Errc::unavailable));
    }
    gate_.open();
    EXPECT_EQ(change(orders[2], OrderAction::pay)->verdict, ChangeVerdict::done);
    EXPECT_EQ(status_of(orders[0]), OrderStatus::paid);
    EXPECT_EQ(status_of(orders[1]), OrderStatus::confirmed);
    EXPECT_EQ(remaining(), kStock - 3);
    const std::vector<std::vector<OrderId>> told{{orders[0]}, {orders[2]}};
    EXPECT_EQ(changed(), told);
}

TEST_F(LifecycleTest, SaysThatTheStoreIsDownAndGoesOnWhenItIsBack) {
    const auto orders = buy(1);
    lifecycle_.start();
    store_.fail_changes(kDown, 2);
    for (int i = 0; i < 2; ++i) {
        const auto answer = change(orders[0], OrderAction::pay);
        ASSERT_FALSE(answer);
        EXPECT_TRUE(answer.error().is(Errc::unavailable));
    }
    EXPECT_EQ(change(orders[0], OrderAction::pay)->verdict, ChangeVerdict::done);
    EXPECT_EQ(changed().size(), 1U);
    EXPECT_TRUE(fatal().empty());
}

TEST_F(LifecycleTest, ExpiresLaterWhatAStoreThatIsDownCouldNot) {
    const auto orders = buy(2);
    lifecycle_.start();
    clock_.advance(kTimeout);
    store_.fail_changes(kDown, 3);
    lifecycle_.open();
    EXPECT_TRUE(eventually([&] {
        lifecycle_.look_again();
        return remaining() == kStock;
    }));
    EXPECT_EQ(status_of(orders[1]), OrderStatus::expired);
    EXPECT_TRUE(fatal().empty());
}

TEST_F(LifecycleTest, TellsThatTheStoreIsLostForGood) {
    for (const Errc errc : {Errc::corrupt, Errc::io}) {
        const auto orders = buy(1);
        store_.fail_changes({make_error_code(errc), "gone"}, 1);
        if (errc == Errc::corrupt) lifecycle_.start();
        const auto answer = change(orders[0], OrderAction::pay);
        ASSERT_FALSE(answer);
        EXPECT_TRUE(answer.error().is(errc));
        ASSERT_TRUE(eventually([this] { return !fatal().empty(); }));
        EXPECT_TRUE(fatal().back().is(errc));
        const std::lock_guard lock(mutex_);
        fatal_.clear();
    }
}

TEST_F(LifecycleTest, TellsThatTheStoreIsLostWhenNobodyAskedForAnything) {
    lifecycle_.start();
    store_.fail_changes({make_error_code(Errc::corrupt), "gone"}, 1);
    lifecycle_.open();
    ASSERT_TRUE(eventually([this] { return !fatal().empty(); }));
    EXPECT_TRUE(fatal().back().is(Errc::corrupt));
}

TEST_F(LifecycleTest, NeitherExpiresNorSweepsBeforeItIsOpened) {
    const auto orders = buy(3);
    const std::vector<OrderChange> left{{orders[0], OrderAction::cancel, ""}};
    ASSERT_TRUE(store_.change_orders(left)); // as by a process that crashed then
    clock_.advance(kTimeout);
    lifecycle_.start();
    lifecycle_.look_again();
    lifecycle_.sweep_soon();
    // Changes are made meanwhile; this one finds its order overdue, and so ends it.
    const auto late = change(orders[1], OrderAction::pay);
    ASSERT_TRUE(late);
    EXPECT_EQ(late->verdict, ChangeVerdict::refused);
    EXPECT_EQ(late->order.status, OrderStatus::expired);
    EXPECT_EQ(change(orders[1], OrderAction::cancel)->verdict, ChangeVerdict::refused);
    EXPECT_EQ(lifecycle_.totals().expired, 1U);
    EXPECT_EQ(status_of(orders[2]), OrderStatus::confirmed);
    EXPECT_EQ(remaining(), kStock - 2);
    EXPECT_TRUE(swept().empty());

    lifecycle_.open();
    EXPECT_TRUE(eventually([this] { return remaining() == kStock; }));
    EXPECT_EQ(status_of(orders[2]), OrderStatus::expired);
    EXPECT_TRUE(eventually([this] { return pending() == 0; }));
    EXPECT_TRUE(eventually([this] { return !swept().empty(); }));
}

TEST_F(LifecycleTest, ExpiresWhenItIsDueAndNotBefore) {
    lifecycle_.start();
    lifecycle_.open();
    const auto early = buy(1);
    clock_.advance(Duration(1));
    const auto late = buy(1);
    clock_.advance(kTimeout - Duration(2)); // 1 ms before the first is due
    lifecycle_.look_again();
    const auto other = buy(1);
    EXPECT_EQ(change(other[0], OrderAction::pay)->verdict, ChangeVerdict::done);
    // It looks after each batch of changes: so it has, when the next one is answered.
    EXPECT_EQ(change(other[0], OrderAction::pay)->verdict, ChangeVerdict::unchanged);
    EXPECT_EQ(status_of(early[0]), OrderStatus::confirmed);

    clock_.advance(Duration(1));
    lifecycle_.look_again();
    EXPECT_TRUE(eventually([&] { return remaining() == kStock - 2; }));
    EXPECT_EQ(status_of(early[0]), OrderStatus::expired);
    EXPECT_EQ(status_of(late[0]), OrderStatus::confirmed) << "due a millisecond later";

    clock_.advance(Duration(1));
    lifecycle_.look_again();
    EXPECT_TRUE(eventually([&] { return lifecycle_.totals().expired == 2; }));
    EXPECT_EQ(status_of(late[0]), OrderStatus::expired);
    EXPECT_TRUE(eventually([&] { return changed().size() == 3; }));
    EXPECT_EQ(changed().back(), late);
    EXPECT_EQ(tallied(OrderStatus::confirmed), 0);
    EXPECT_EQ(tallied(OrderStatus::expired), 2);
    EXPECT_EQ(tallied(OrderStatus::paid), 1);
}

// A late payment ends its order: who hears that buys again, or lowers the stock, and its units must
// be there. A release has to come to the core that the answer came to, so there is no race here.
TEST_F(LifecycleTest, GivesTheUnitsBackBeforeItTellsThatTheTimeToPayIsOver) {
    const auto orders = buy(1);
    clock_.advance(kTimeout);
    lifecycle_.start(); // not opened: nothing else lets it expire
    const auto [answer, left] = run_on(cores_.at(0), change_and_count(orders[0], OrderAction::pay));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->verdict, ChangeVerdict::refused);
    EXPECT_EQ(answer->order.status, OrderStatus::expired);
    EXPECT_EQ(left, kStock);
}

// By itself: nobody tells it that the time has come. It looks at least once a second.
TEST_F(LifecycleTest, NoticesWhatIsDueByItself) {
    const auto orders = buy(1);
    lifecycle_.start();
    lifecycle_.open();
    clock_.advance(kTimeout);
    EXPECT_TRUE(eventually([this] { return remaining() == kStock; }));
    EXPECT_EQ(status_of(orders[0]), OrderStatus::expired);
}

TEST_F(LifecycleTest, ExpiresAndReleasesManyInPieces) {
    constexpr std::size_t kOrders = 4'500; // at 2'000 a transaction and 1'000 a turn
    buy(kOrders);
    lifecycle_.start();
    clock_.advance(kTimeout);
    lifecycle_.open();
    EXPECT_TRUE(eventually([this] { return lifecycle_.totals().expired == kOrders; }));
    EXPECT_TRUE(eventually([this] { return remaining() == kStock; }));
    EXPECT_TRUE(eventually([this] { return pending() == 0; }));
    EXPECT_EQ(lifecycle_.totals().released, kOrders);
    EXPECT_TRUE(eventually([this] { return changed().size() == 3; }));
    std::set<OrderId> told;
    for (const auto& batch : changed()) told.insert(batch.begin(), batch.end());
    EXPECT_EQ(told.size(), kOrders);
}

TEST_F(LifecycleTest, LeavesWhatAColdSaleGivesBackToASweep) {
    const auto orders = buy(2);
    lifecycle_.start();
    lifecycle_.open();
    EXPECT_TRUE(change(orders[1], OrderAction::pay));
    const auto opened = store_.next_epochs({});
    ASSERT_TRUE(opened);
    run_on(cores_.at(0), inventory_.begin_rebuild(sale_.terms.no, opened->front().epoch));
    EXPECT_EQ(change(orders[0], OrderAction::cancel)->verdict, ChangeVerdict::done);
    EXPECT_EQ(remaining(), -1) << "cold";
    EXPECT_EQ(pending(), 1U);
    EXPECT_EQ(lifecycle_.totals().released, 0U);
    lifecycle_.sweep_soon();
    // It sweeps behind a batch of changes: so it has, when the second one is answered.
    EXPECT_TRUE(change(orders[1], OrderAction::pay));
    EXPECT_TRUE(change(orders[1], OrderAction::pay));
    EXPECT_EQ(pending(), 1U);

    // The rebuild's snapshot was taken before the cancel: the order holds its unit there.
    std::vector<OrderPlaced> live;
    for (const OrderId& order : orders) live.push_back({order, {}, {}, 1});
    install(opened->front(), live);
    EXPECT_EQ(remaining(), kStock - 2);
    lifecycle_.sweep_soon();
    EXPECT_TRUE(eventually([this] { return remaining() == kStock - 1; }));
    EXPECT_TRUE(eventually([this] { return pending() == 0; }));
    EXPECT_EQ(lifecycle_.totals().released, 1U);
    EXPECT_EQ(swept(), std::vector<SaleNo>{sale_.terms.no});
}

TEST_F(LifecycleTest, SweepsByItselfOnceASecond) {
    const auto orders = buy(1);
    lifecycle_.start();
    lifecycle_.open();
    EXPECT_TRUE(change(orders[0], OrderAction::pay));
    const auto others = buy(1);
    const std::vector<OrderChange> behind{{others[0], OrderAction::cancel, ""}};
    ASSERT_TRUE(store_.change_orders(behind)); // as by another process
    EXPECT_TRUE(eventually([this] {
        clock_.advance(Duration(1'000));
        lifecycle_.look_again();
        return pending() == 0;
    }));
    EXPECT_EQ(remaining(), kStock - 1);
}

TEST_F(LifecycleTest, AnswersThoseWhoWaitWhenItStops) {
    const auto orders = buy(4);
    lifecycle_.start();
    auto under_way = block_with(orders[0]);
    auto waiting = ask(orders[1], OrderAction::pay);
    auto also = ask(orders[2], OrderAction::cancel);
    settle_core();
    auto stopped = std::async(std::launch::async, [this] { lifecycle_.stop(); });
    // Once it stops it takes nothing more.
    ASSERT_TRUE(eventually([&] {
        auto refused = ask(orders[3], OrderAction::pay);
        settle_core();
        return refused.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    }));
    gate_.open();
    EXPECT_EQ(finish(under_way)->verdict, ChangeVerdict::done) << "the batch at hand is finished";
    for (auto* each : {&waiting, &also}) {
        const auto answer = finish(*each);
        ASSERT_FALSE(answer);
        EXPECT_TRUE(answer.error().is(Errc::unavailable));
    }
    ASSERT_EQ(stopped.wait_for(kPatience), std::future_status::ready);
    EXPECT_EQ(status_of(orders[1]), OrderStatus::confirmed);
    EXPECT_EQ(status_of(orders[2]), OrderStatus::confirmed);
    const auto after = change(orders[2], OrderAction::pay);
    ASSERT_FALSE(after);
    EXPECT_TRUE(after.error().is(Errc::unavailable));
    EXPECT_EQ(status_of(orders[2]), OrderStatus::confirmed);
}

TEST_F(LifecycleTest, TicksOffWhatItReleasedBeforeItStops) {
    const auto orders = buy(1);
    lifecycle_.start();
    EXPECT_EQ(change(orders[0], OrderAction::cancel)->verdict, ChangeVerdict::done);
    lifecycle_.stop();
    EXPECT_EQ(pending(), 0U);
    EXPECT_EQ(remaining(), kStock);
}

} // namespace
} // namespace doorbuster
