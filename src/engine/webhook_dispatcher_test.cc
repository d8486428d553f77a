#include "engine/webhook_dispatcher.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <condition_variable>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ports/fake_event_outbox.h"
#include "runtime/resume.h"
#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr SaleNo kSale{1};
constexpr Duration kHour{3'600'000};
const std::string kShop = "https://shop.example/hook";
const std::string kStock = "https://stock.example/";

OrderId order(std::uint64_t n) { return {kSale, kNoon, 0, n}; }

// Answers as the test says, at once or when it is told to. Any thread.
class FakeSender final : public EventSender {
public:
    struct Sent {
        std::size_t endpoint = 0;
        std::string id;
    };
    using Answer = std::function<SendResult(std::size_t endpoint, const std::string& id)>;

    void answer_with(Answer answer) {
        const std::lock_guard lock(mutex_);
        answer_ = std::move(answer);
    }
    void answer_all(SendResult::Kind kind) {
        answer_with([kind](std::size_t, const std::string&) {
            return SendResult{kind, kind == SendResult::Kind::delivered ? "200" : "500", {}};
        });
    }
    // From now on requests hang.
    void hold() {
        const std::lock_guard lock(mutex_);
        is_held_ = true;
    }
    [[nodiscard]] std::vector<Sent> sent() const {
        const std::lock_guard lock(mutex_);
        return sent_;
    }
    [[nodiscard]] std::vector<std::string> ids_to(std::size_t endpoint) const {
        std::vector<std::string> ids;
        for (const Sent& one : sent()) {
            if (one.endpoint == endpoint) ids.push_back(one.id);
        }
        return ids;
    }
    [[nodiscard]] std::size_t count() const { return sent().size(); }

    Task<SendResult> send(std::size_t endpoint, const EventMessage& message) override {
        Answer answer;
        bool is_held = false;
        {
            const std::lock_guard lock(mutex_);
            sent_.push_back({endpoint, message.id});
            answer = answer_;
            is_held = is_held_;
        }
        if (is_held) {
            boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                              boost::asio::wait_traits<std::chrono::steady_clock>,
                                              Executor>
                never(co_await boost::asio::this_coro::executor);
            never.expires_after(std::chrono::hours(1));
            co_await never.async_wait(use_task);
        }
        co_return answer(endpoint, message.id);
    }

private:
    mutable std::mutex mutex_; // guards everything below
    std::vector<Sent> sent_;
    Answer answer_ = [](std::size_t, const std::string&) {
        return SendResult{SendResult::Kind::delivered, "200", {}};
    };
    bool is_held_ = false;
};

class WebhookDispatcherTest : public testing::Test {
protected:
    static WebhookDispatcher::Endpoint endpoint(const std::string& url,
                                                std::set<OrderStatus> wanted = {}) {
        WebhookDispatcher::Endpoint made;
        made.url = url;
        made.label = url;
        for (std::size_t i = 0; i < made.wanted.size(); ++i) {
            made.wanted[i] = wanted.empty() || wanted.contains(static_cast<OrderStatus>(i));
        }
        return made;
    }
    static WebhookDispatcher::Options options() {
        WebhookDispatcher::Options options;
        options.endpoints = {endpoint(kShop)};
        options.poll = Duration(1);
        options.lead_every = Duration(1);
        options.save_every = Duration(0);
        options.prune_every = Duration(0);
        options.keep = 100'000 * kHour; // the test's clock runs fast
        options.store_pause = Duration(0);
        options.stop_wait = Duration(10);
        return options;
    }
    void run(const WebhookDispatcher::Options& with = options()) {
        dispatcher_ = std::make_unique<WebhookDispatcher>(outbox_, sender_, clock_, with);
        ASSERT_TRUE(dispatcher_->prepare());
        dispatcher_->start();
    }
    void stop() { dispatcher_.reset(); }
    void known_before() { // so that the endpoint's outbox begins at the beginning
        run();
        stop();
    }
    std::int64_t add(std::uint64_t order_no, OrderStatus status = OrderStatus::confirmed,
                     std::int64_t version = 1) {
        const std::int64_t seq = outbox_.add(order(order_no), status, version, clock_.now());
        clock_.advance(Duration(1)); // the outbox is looked at by the clock
        return seq;
    }
    std::string id(std::uint64_t order_no, std::int64_t version = 1) {
        return order(order_no).text() + "." + std::to_string(version);
    }
    // Lets time pass until the condition holds: pauses are measured by the clock.
    bool in_time(const std::function<bool()>& condition, Duration step = Duration(1'000)) {
        return eventually([&] {
            clock_.advance(step);
            std::this_thread::sleep_for(std::chrono::milliseconds(1)); // poll: the dispatcher
            return condition();
        });
    }
    std::uint64_t others_taken() { return static_cast<std::uint64_t>(record().delivered); }
    EndpointRecord record(const std::string& url = kShop) { return outbox_.record(url); }

    ManualClock clock_{kNoon};
    FakeEventOutbox outbox_;
    FakeSender sender_;
    std::unique_ptr<WebhookDispatcher> dispatcher_;
};

TEST_F(WebhookDispatcherTest, DeliversWhatComesIntoTheOutboxAndRemembersIt) {
    run();
    for (std::uint64_t i = 1; i <= 50; ++i) add(i);
    ASSERT_TRUE(eventually([&] { return record().cursor == 50; }));
    EXPECT_EQ(record().delivered, 50);
    EXPECT_EQ(sender_.count(), 50U);
    EXPECT_EQ(dispatcher_->counters().front()->delivered, 50U);
    EXPECT_TRUE(eventually([&] { return dispatcher_->counters().front()->pending == 0; }));
}

TEST_F(WebhookDispatcherTest, ANewEndpointStartsAtTheEndOfTheOutbox) {
    add(1);
    add(2);
    run();
    add(3);
    ASSERT_TRUE(eventually([&] { return record().cursor == 3; }));
    EXPECT_EQ(sender_.ids_to(0), std::vector<std::string>{id(3)});
}

TEST_F(WebhookDispatcherTest, SendsOnlyWhatAnEndpointWants) {
    auto with = options();
    with.endpoints = {endpoint(kShop, {OrderStatus::paid}), endpoint(kStock)};
    run(with);
    add(1, OrderStatus::confirmed, 1);
    add(1, OrderStatus::paid, 2);
    add(2, OrderStatus::confirmed, 1);
    ASSERT_TRUE(eventually([&] { return record().cursor == 3 && record(kStock).cursor == 3; }));
    EXPECT_EQ(sender_.ids_to(0), std::vector<std::string>{id(1, 2)});
    EXPECT_EQ(sender_.ids_to(1).size(), 3U);
}

TEST_F(WebhookDispatcherTest, HoldsAtMostAWindowInMemory) {
    known_before();
    for (std::uint64_t i = 1; i <= 300; ++i) add(i);
    auto with = options();
    with.limits.window_max = 100;
    run(with);
    ASSERT_TRUE(eventually([&] { return record().cursor == 300; }));
    EXPECT_LE(outbox_.largest_read(), 100U);
}

TEST_F(WebhookDispatcherTest, AfterAStopItGoesOnWhereItWas) {
    run();
    for (std::uint64_t i = 1; i <= 10; ++i) add(i);
    ASSERT_TRUE(eventually([&] { return sender_.count() == 10; }));
    stop();
    EXPECT_EQ(record().cursor, 10);
    for (std::uint64_t i = 11; i <= 20; ++i) add(i);
    run();
    ASSERT_TRUE(eventually([&] { return record().cursor == 20; }));
    EXPECT_EQ(sender_.count(), 20U); // none twice
}

TEST_F(WebhookDispatcherTest, ARequestThatHangsDoesNotHoldUpTheEnd) {
    run();
    add(1);
    ASSERT_TRUE(eventually([&] { return sender_.count() == 1; }));
    ASSERT_TRUE(eventually([&] { return record().cursor == 1; }));
    sender_.hold();
    add(2);
    ASSERT_TRUE(eventually([&] { return sender_.count() == 2; }));
    stop();
    EXPECT_EQ(record().cursor, 1); // it is sent again after the next start
}

TEST_F(WebhookDispatcherTest, OnePoisonedOrderDoesNotHoldUpTheOthers) {
    run();
    sender_.answer_with([this](std::size_t, const std::string& event) {
        const bool is_poison = event == id(1);
        return SendResult{is_poison ? SendResult::Kind::failed : SendResult::Kind::delivered,
                          is_poison ? "500" : "200",
                          {}};
    });
    add(1, OrderStatus::confirmed, 1);
    add(1, OrderStatus::paid, 2);
    std::uint64_t next = 2;
    ASSERT_TRUE(in_time([&] {
        if (others_taken() == next - 2) add(next++);
        return outbox_.aside(kShop, AsideState::retrying) == 2;
    }));
    ASSERT_TRUE(in_time([&] { return record().cursor == static_cast<std::int64_t>(next); }));
    // A restart sends again only what is not delivered.
    stop();
    const std::size_t before = sender_.count();
    sender_.answer_all(SendResult::Kind::delivered);
    run();
    ASSERT_TRUE(eventually([&] { return outbox_.aside(kShop, AsideState::retrying) == 0; }));
    EXPECT_EQ(sender_.count(), before + 2);
    EXPECT_EQ(sender_.sent().back().id, id(1, 2));
}

TEST_F(WebhookDispatcherTest, AnEventThatFailsForADayWhileOthersGetThroughIsParked) {
    run();
    sender_.answer_with([this](std::size_t, const std::string& event) {
        const bool is_poison = event == id(1);
        return SendResult{is_poison ? SendResult::Kind::failed : SendResult::Kind::delivered,
                          is_poison ? "422" : "200",
                          {}};
    });
    add(1);
    std::uint64_t next = 2;
    ASSERT_TRUE(in_time(
        [&] {
            if (others_taken() == next - 2) add(next++);
            return outbox_.aside(kShop, AsideState::parked) == 1;
        },
        Duration(60'000)));
    EXPECT_GE(clock_.now() - kNoon, 24 * kHour);
    const auto listed = dispatcher_->list();
    ASSERT_TRUE(listed.has_value());
    EXPECT_EQ(listed->front().record.parked, 1);
    const auto parked = dispatcher_->events(kShop, AsideState::parked, 0, 10);
    ASSERT_TRUE(parked.has_value());
    ASSERT_EQ(parked->events.size(), 1U);
    EXPECT_EQ(parked->events.front().last_error, "422");
    EXPECT_FALSE(parked->next.has_value());

    sender_.answer_all(SendResult::Kind::delivered);
    const std::size_t before = sender_.count();
    ReplayRequest request;
    request.parked = true;
    ASSERT_TRUE(dispatcher_->replay(kShop, request));
    ASSERT_TRUE(eventually([&] {
        return outbox_.aside(kShop, AsideState::parked) == 0 &&
               outbox_.aside(kShop, AsideState::retrying) == 0;
    }));
    const auto sent = sender_.sent();
    EXPECT_TRUE(std::any_of(sent.begin() + static_cast<std::ptrdiff_t>(before), sent.end(),
                            [this](const auto& one) { return one.id == id(1); }));
}

TEST_F(WebhookDispatcherTest, AReceiverThatOnlyFailsIsDisabledAndComesBackByReplay) {
    auto with = options();
    with.disable_after = 24 * kHour;
    run(with);
    sender_.answer_all(SendResult::Kind::failed);
    for (std::uint64_t i = 1; i <= 5; ++i) add(i);
    ASSERT_TRUE(
        in_time([&] { return record().state == EndpointState::disabled; }, Duration(60'000)));
    EXPECT_GE(clock_.now() - kNoon, 24 * kHour);
    EXPECT_EQ(record().cursor, 0);
    EXPECT_EQ(record().reason, "no success for 24 hours, last: 500");
    add(6);
    auto pending = dispatcher_->events(kShop, AsideState::retrying, 0, 4);
    ASSERT_TRUE(pending.has_value());
    EXPECT_EQ(pending->events.size(), 4U);
    ASSERT_TRUE(pending->next.has_value());
    pending = dispatcher_->events(kShop, AsideState::retrying, *pending->next, 4);
    ASSERT_TRUE(pending.has_value());
    EXPECT_EQ(pending->events.size(), 2U);

    // A restart does not bring it back.
    stop();
    const std::size_t before = sender_.count();
    run(with);
    ASSERT_EQ(dispatcher_->list()->front().pending, 6);
    EXPECT_EQ(sender_.count(), before);
    sender_.answer_all(SendResult::Kind::delivered);
    const auto status = dispatcher_->replay(kShop, {});
    ASSERT_TRUE(status.has_value());
    EXPECT_EQ(status->record.state, EndpointState::active);
    ASSERT_TRUE(in_time([&] { return record().cursor == 6; }));
}

TEST_F(WebhookDispatcherTest, AReceiverThatIsGoneIsDisabledAtOnce) {
    run();
    sender_.answer_all(SendResult::Kind::gone);
    add(1);
    ASSERT_TRUE(eventually([&] { return record().state == EndpointState::disabled; }));
    EXPECT_EQ(sender_.count(), 1U);
    EXPECT_EQ(record().cursor, 0);
}

TEST_F(WebhookDispatcherTest, ReplaysWhatHappenedSinceATimeUnderTheSameIds) {
    run();
    add(1);
    clock_.advance(kHour);
    const TimePoint since = clock_.now();
    add(2);
    add(3);
    ASSERT_TRUE(eventually([&] { return record().cursor == 3; }));
    ReplayRequest request;
    request.since = since;
    ASSERT_TRUE(dispatcher_->replay(kShop, request));
    ASSERT_TRUE(eventually([&] { return sender_.count() == 5; }));
    ASSERT_TRUE(eventually([&] { return record().cursor == 3; }));
    EXPECT_EQ(sender_.count(), 5U);
    const auto ids = sender_.ids_to(0);
    EXPECT_EQ((std::multiset<std::string>(ids.begin(), ids.end())),
              (std::multiset<std::string>{id(1), id(2), id(2), id(3), id(3)}));
}

TEST_F(WebhookDispatcherTest, ReplaysOneEventByItsName) {
    run();
    add(1);
    add(2);
    ASSERT_TRUE(eventually([&] { return record().cursor == 2; }));
    ReplayRequest request;
    request.event = {order(1), 1};
    ASSERT_TRUE(dispatcher_->replay(kShop, request));
    ASSERT_TRUE(eventually([&] { return sender_.count() == 3; }));
    EXPECT_EQ(sender_.sent().back().id, id(1));
    request.event = {order(9), 1};
    EXPECT_TRUE(dispatcher_->replay(kShop, request).error().is(Errc::not_found));
    EXPECT_TRUE(dispatcher_->replay("https://else.example/", {}).error().is(Errc::not_found));
}

TEST_F(WebhookDispatcherTest, AStoreThatFailsIsAskedAgain) {
    run();
    outbox_.fail_with(Error{make_error_code(Errc::unavailable), "busy"});
    add(1);
    EXPECT_FALSE(dispatcher_->list().has_value());
    outbox_.fail_with(std::nullopt);
    ASSERT_TRUE(in_time([&] { return record().cursor == 1; }));
}

TEST_F(WebhookDispatcherTest, DropsOldEventsThatEveryEndpointIsPast) {
    auto with = options();
    with.keep = kHour;
    with.prune_batch = 2;
    run(with);
    for (std::uint64_t i = 1; i <= 5; ++i) add(i);
    ASSERT_TRUE(eventually([&] { return record().cursor == 5; }));
    EXPECT_EQ(outbox_.events(), 5U);
    ASSERT_TRUE(in_time([&] { return outbox_.events() == 0; }, Duration(60'000)));
}

TEST_F(WebhookDispatcherTest, AProcessThatDoesNotLeadStartsAndLeavesTheOutboxAlone) {
    known_before();
    outbox_.set_leading(false);
    const std::size_t looks = outbox_.looks();
    const std::size_t saves = outbox_.saves();
    run();
    add(1);
    dispatcher_->wake();
    ASSERT_TRUE(dispatcher_->list().has_value()); // a turn comes behind it
    const std::size_t listing = outbox_.looks() - looks;
    ASSERT_TRUE(dispatcher_->list().has_value());
    EXPECT_EQ(outbox_.looks() - looks, 2 * listing); // the turn between them looked at nothing
    EXPECT_EQ(outbox_.saves(), saves);
    EXPECT_EQ(sender_.count(), 0U);
    EXPECT_EQ(record().cursor, 0);
}

TEST_F(WebhookDispatcherTest, AnEndpointThatTheLeaderDoesNotHaveWaitsUntilTheLeadComesHere) {
    outbox_.set_leading(false);
    run();
    ASSERT_TRUE(dispatcher_->list().has_value());
    EXPECT_TRUE(dispatcher_->list()->empty());
    EXPECT_TRUE(dispatcher_->replay(kShop, {}).error().is(Errc::not_found));
    add(1);
    outbox_.set_leading(true);
    ASSERT_TRUE(in_time([&] { return record().no != 0; }));
    add(2);
    ASSERT_TRUE(in_time([&] { return record().cursor == 2; }));
    EXPECT_EQ(sender_.ids_to(0), std::vector<std::string>{id(2)});
}

TEST_F(WebhookDispatcherTest, WhoeverGainsTheLeadGoesOnWhereTheOtherWas) {
    known_before();
    outbox_.set_leading(false);
    for (std::uint64_t i = 1; i <= 3; ++i) add(i);
    run();
    outbox_.deliver_elsewhere(kShop, 2);
    outbox_.set_leading(true);
    ASSERT_TRUE(in_time([&] { return record().cursor == 3; }));
    EXPECT_EQ(sender_.ids_to(0), std::vector<std::string>{id(3)});
}

TEST_F(WebhookDispatcherTest, WhoeverLosesTheLeadStopsSending) {
    run();
    add(1);
    ASSERT_TRUE(eventually([&] { return record().cursor == 1; }));
    outbox_.set_leading(false);
    clock_.advance(kHour); // time to ask who leads
    ASSERT_TRUE(in_time([&] { return dispatcher_->counters().front()->pending == 0; }));
    ASSERT_TRUE(dispatcher_->list().has_value());
    add(2);
    dispatcher_->wake();
    ASSERT_TRUE(dispatcher_->list().has_value());
    EXPECT_EQ(sender_.count(), 1U);
    EXPECT_EQ(record().cursor, 1);
    outbox_.deliver_elsewhere(kShop, 2);
    add(3);
    outbox_.set_leading(true);
    ASSERT_TRUE(in_time([&] { return record().cursor == 3; }));
    EXPECT_EQ(sender_.ids_to(0), (std::vector<std::string>{id(1), id(3)}));
}

TEST_F(WebhookDispatcherTest, AFailureKeepsWhatIsInMemoryUnlessSomebodyElseLedMeanwhile) {
    auto with = options();
    with.save_every = Duration(1'000'000'000); // only when it is asked
    run(with);
    add(1);
    ASSERT_TRUE(dispatcher_->list().has_value());
    for (std::uint64_t i = 2; i <= 4; ++i) add(i);
    ASSERT_TRUE(eventually([&] { return sender_.count() == 4; }));
    outbox_.fail_with(Error{make_error_code(Errc::unavailable), "away"});
    EXPECT_FALSE(dispatcher_->list().has_value());
    outbox_.fail_with(std::nullopt);
    add(5);
    ASSERT_TRUE(in_time([&] { return sender_.count() == 5; }));
    EXPECT_EQ(sender_.ids_to(0).back(), id(5)); // none again

    outbox_.fail_with(Error{make_error_code(Errc::unavailable), "away"});
    EXPECT_FALSE(dispatcher_->list().has_value());
    add(6);
    add(7);
    outbox_.deliver_elsewhere(kShop, 6);
    outbox_.fail_with(std::nullopt);
    ASSERT_TRUE(in_time([&] { return sender_.count() == 6; }));
    EXPECT_EQ(sender_.ids_to(0).back(), id(7));
}

TEST_F(WebhookDispatcherTest, AProcessThatDoesNotLeadListsAndReplaysAllTheSame) {
    known_before();
    for (std::uint64_t i = 1; i <= 4; ++i) add(i);
    outbox_.set_leading(false);
    outbox_.deliver_elsewhere(kShop, 3);
    run();
    const auto listed = dispatcher_->list();
    ASSERT_TRUE(listed.has_value());
    ASSERT_EQ(listed->size(), 1U);
    EXPECT_EQ(listed->front().pending, 1);
    EXPECT_EQ(listed->front().record.delivered, 3);
    const auto pending = dispatcher_->events(kShop, AsideState::retrying, 0, 10);
    ASSERT_TRUE(pending.has_value());
    ASSERT_EQ(pending->events.size(), 1U);
    EXPECT_EQ(pending->events.front().event.order.id, order(4));
    ReplayRequest request;
    request.event = {order(2), 1};
    const auto replayed = dispatcher_->replay(kShop, request);
    ASSERT_TRUE(replayed.has_value()) << replayed.error().message();
    EXPECT_EQ(record().revision, 1);
    EXPECT_EQ(dispatcher_->list()->front().pending, 2);
    EXPECT_EQ(sender_.count(), 0U);
}

TEST_F(WebhookDispatcherTest, TheLeaderHearsOfAReplayThatAnotherProcessMade) {
    run();
    add(1);
    add(2);
    ASSERT_TRUE(eventually([&] { return record().cursor == 2; }));
    ReplayRequest request;
    request.event = {order(1), 1};
    ASSERT_TRUE(outbox_.replay(record().no, request, clock_.now()));
    ASSERT_TRUE(in_time([&] { return outbox_.aside(kShop, AsideState::retrying) == 0; }));
    EXPECT_EQ(sender_.ids_to(0), (std::vector<std::string>{id(1), id(2), id(1)}));
}

TEST_F(WebhookDispatcherTest, AReplayElsewhereBringsADisabledEndpointBack) {
    run();
    sender_.answer_all(SendResult::Kind::gone);
    add(1);
    ASSERT_TRUE(eventually([&] { return record().state == EndpointState::disabled; }));
    sender_.answer_all(SendResult::Kind::delivered);
    ASSERT_TRUE(outbox_.replay(record().no, {}, clock_.now()));
    add(2);
    ASSERT_TRUE(in_time([&] { return record().cursor == 2; }));
    EXPECT_EQ(record().state, EndpointState::active);
}

TEST_F(WebhookDispatcherTest, CallsAfterTheEndAreRefused) {
    run();
    dispatcher_->stop();
    EXPECT_TRUE(dispatcher_->list().error().is(Errc::unavailable));
    dispatcher_->wake();
}

} // namespace
} // namespace doorbuster
