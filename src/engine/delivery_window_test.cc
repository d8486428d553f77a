#include "engine/delivery_window.h"

#include <gtest/gtest.h>
#include <map>
#include <random>
#include <rapidcheck.h>
#include <set>
#include <vector>

#include "engine/cloud_event.h"

namespace doorbuster {
namespace {

using Outcome = DeliveryWindow::Outcome;

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr SaleNo kSale{1};
constexpr double kHalf = 0.5;

OrderId order(std::uint64_t n) { return {kSale, kNoon, 0, n}; }

OutboxEvent event(std::int64_t seq, std::uint64_t order_no, std::int64_t version = 1) {
    OutboxEvent event;
    event.seq = seq;
    event.order.id = order(order_no);
    event.order.version = version;
    event.order.status = OrderStatus::confirmed;
    event.sale_id = "demo";
    return event;
}

SendResult good() { return {SendResult::Kind::delivered, "200", {}}; }
SendResult bad(std::optional<Duration> retry_after = {}) {
    return {SendResult::Kind::failed, "500", retry_after};
}

class DeliveryWindowTest : public testing::Test {
protected:
    Moment now() const { return {clock_ms_, kNoon + Duration(clock_ms_)}; }
    void advance(Duration by) { clock_ms_ += by.count(); }
    // Sends what may be sent now; their seqs.
    std::vector<std::int64_t> send_all() {
        std::vector<std::int64_t> sent;
        while (const auto attempt = window_.next(now())) {
            sent.push_back(attempt->seq);
            flying_.emplace(attempt->seq, *attempt);
        }
        return sent;
    }
    Outcome finish(std::int64_t seq, const SendResult& result, double random = kHalf) {
        const auto attempt = flying_.extract(seq);
        EXPECT_FALSE(attempt.empty());
        return window_.finished(attempt.mapped(), result, now(), random);
    }
    // Sends the one that is due, whenever that is, and lets it end so.
    Outcome send_one(const SendResult& result) {
        const auto due = window_.next_due_ms();
        EXPECT_TRUE(due.has_value());
        clock_ms_ = std::max(clock_ms_, due.value_or(0));
        const auto attempt = window_.next(now());
        EXPECT_TRUE(attempt.has_value());
        return window_.finished(*attempt, result, now(), kHalf);
    }

    using Seqs = std::vector<std::int64_t>;
    std::int64_t clock_ms_ = 1'000;
    DeliveryLimits limits_;
    DeliveryWindow window_{limits_};
    std::map<std::int64_t, DeliveryWindow::Attempt> flying_;
};

TEST_F(DeliveryWindowTest, SendsOneEventOfAnOrderAtATimeAndInOrder) {
    window_.add(event(1, 7, 1));
    window_.add(event(2, 8, 1));
    window_.add(event(3, 7, 2));
    EXPECT_EQ(send_all(), (Seqs{1, 2}));
    EXPECT_EQ(finish(2, good()), Outcome::delivered);
    EXPECT_EQ(send_all(), Seqs{});
    EXPECT_EQ(finish(1, good()), Outcome::delivered);
    EXPECT_EQ(send_all(), Seqs{3});
}

TEST_F(DeliveryWindowTest, AnOrdersNextEventWaitsForTheOneThatFailed) {
    window_.add(event(1, 7, 1));
    window_.add(event(2, 7, 2));
    EXPECT_EQ(send_all(), Seqs{1});
    EXPECT_EQ(finish(1, bad()), Outcome::failed);
    EXPECT_EQ(send_all(), Seqs{});
    advance(limits_.backoff_first);
    EXPECT_EQ(send_all(), Seqs{1});
}

TEST_F(DeliveryWindowTest, KeepsAtMostSixteenInFlight) {
    for (std::int64_t i = 1; i <= 100; ++i) window_.add(event(i, static_cast<std::uint64_t>(i)));
    EXPECT_EQ(send_all().size(), limits_.in_flight_max);
    EXPECT_FALSE(window_.next_due_ms().has_value());
    finish(3, good());
    EXPECT_EQ(send_all(), Seqs{17});
}

TEST_F(DeliveryWindowTest, PausesGrowByDoublingUpToTheirBound) {
    // With others that get through, so that the receiver itself is not thought to be down.
    std::int64_t seq = 1;
    window_.add(event(seq, 1));
    std::int64_t bound = limits_.backoff_first.count();
    for (int i = 0; i < 20; ++i) {
        clock_ms_ = std::max(clock_ms_, window_.next_due_ms().value_or(0));
        ASSERT_EQ(send_all(), Seqs{1});
        const std::int64_t before = clock_ms_;
        finish(1, bad(), 0.999'999);
        window_.add(event(++seq, 2));
        ASSERT_EQ(send_all(), Seqs{seq});
        finish(seq, good());
        const std::int64_t pause = window_.next_due_ms().value_or(0) - before;
        EXPECT_LE(pause, bound);
        EXPECT_GE(pause, bound - 2);
        bound = std::min(bound * 2, static_cast<std::int64_t>(limits_.backoff_max.count()));
    }
    EXPECT_EQ(bound, limits_.backoff_max.count());
}

TEST_F(DeliveryWindowTest, WaitsAsLongAsTheReceiverAsks) {
    window_.add(event(1, 1));
    send_all();
    finish(1, bad(Duration(7'000)));
    advance(Duration(6'999));
    EXPECT_EQ(send_all(), Seqs{});
    advance(Duration(1));
    EXPECT_EQ(send_all(), Seqs{1});
    finish(1, bad(std::chrono::hours(1'000)));
    advance(limits_.retry_after_max);
    EXPECT_EQ(send_all(), Seqs{1}); // but not for ever
}

TEST_F(DeliveryWindowTest, ThreeFailuresInARowLeaveOneRequestAtATime) {
    for (std::int64_t i = 1; i <= 50; ++i) window_.add(event(i, static_cast<std::uint64_t>(i)));
    const Seqs first = send_all();
    for (const std::int64_t seq : first) finish(seq, bad());
    EXPECT_TRUE(window_.is_probing());
    clock_ms_ = window_.next_due_ms().value_or(0);
    const Seqs probe = send_all();
    ASSERT_EQ(probe.size(), 1U);
    EXPECT_EQ(probe.front(), 17); // another one each time
    EXPECT_FALSE(window_.next_due_ms().has_value());
    finish(probe.front(), good());
    EXPECT_FALSE(window_.is_probing());
    EXPECT_EQ(send_all().size(), limits_.in_flight_max);
}

TEST_F(DeliveryWindowTest, ProbesComeAtLeastEveryHalfMinute) {
    for (std::int64_t i = 1; i <= 50; ++i) window_.add(event(i, static_cast<std::uint64_t>(i)));
    for (const std::int64_t seq : send_all()) finish(seq, bad(), 0.999);
    for (int i = 0; i < 30; ++i) {
        const std::int64_t due = window_.next_due_ms().value_or(INT64_MAX);
        ASSERT_LE(due - clock_ms_, limits_.probe_pause_max.count());
        clock_ms_ = due;
        const Seqs probe = send_all();
        ASSERT_EQ(probe.size(), 1U);
        finish(probe.front(), bad(), 0.999);
    }
    EXPECT_EQ(window_.failing_since(), kNoon + Duration(1'000));
}

TEST_F(DeliveryWindowTest, TheCursorStopsBelowTheFirstThatIsNotDone) {
    for (std::int64_t i = 1; i <= 5; ++i) window_.add(event(i, static_cast<std::uint64_t>(i)));
    window_.skip_to(9);
    send_all();
    EXPECT_EQ(window_.settle().cursor, 0);
    finish(2, good());
    finish(3, good());
    EXPECT_EQ(window_.settle().cursor, 0);
    finish(1, good());
    EXPECT_EQ(window_.settle().cursor, 3);
    finish(4, good());
    finish(5, good());
    EXPECT_EQ(window_.settle().cursor, 9);
}

// A poisoned event (1) with its order's next one (2), among others that are taken.
class PoisonedWindowTest : public DeliveryWindowTest {
protected:
    void SetUp() override {
        window_.add(event(1, 1, 1));
        window_.add(event(2, 1, 2));
        fail_until_aside();
    }
    void take_another() {
        const std::int64_t seq = window_.read_seq() + 1;
        window_.add(event(seq, static_cast<std::uint64_t>(seq)));
        ASSERT_EQ(send_all(), Seqs{seq});
        finish(seq, good());
    }
    void fail_once() {
        clock_ms_ = std::max(clock_ms_, window_.next_due_ms().value_or(0));
        ASSERT_EQ(send_all(), Seqs{1});
        last_ = finish(1, bad());
    }
    void fail_until_aside() {
        for (std::int64_t i = 0; i < limits_.aside_after; ++i) {
            fail_once();
            take_another();
        }
    }
    Outcome last_ = Outcome::failed;
};

TEST_F(PoisonedWindowTest, OnePoisonedOrderHoldsUpNobodyElse) {
    for (int i = 0; i < 3'000; ++i) take_another();
    EXPECT_EQ(window_.size(), 2U);
    const auto settled = window_.settle();
    EXPECT_EQ(settled.cursor, window_.read_seq());
    ASSERT_EQ(settled.set_aside.size(), 2U);
    EXPECT_EQ(settled.set_aside[0].seq, 1);
    EXPECT_EQ(settled.set_aside[0].state, AsideState::retrying);
    EXPECT_EQ(settled.set_aside[0].attempts, limits_.aside_after);
    EXPECT_EQ(settled.set_aside[1].seq, 2); // behind it
    window_.saved();
    EXPECT_TRUE(window_.settle().set_aside.empty());
}

TEST_F(PoisonedWindowTest, WhatWasSetAsideAndIsDeliveredLeavesItsRow) {
    static_cast<void>(window_.settle());
    window_.saved();
    clock_ms_ = window_.next_due_ms().value_or(0);
    ASSERT_EQ(send_all(), Seqs{1});
    finish(1, good());
    ASSERT_EQ(send_all(), Seqs{2});
    finish(2, good());
    EXPECT_EQ(window_.settle().delivered, (Seqs{1, 2}));
    window_.saved();
    EXPECT_TRUE(window_.settle().delivered.empty());
    EXPECT_EQ(window_.size(), 0U);
}

TEST_F(PoisonedWindowTest, AfterADayItIsParkedAndItsOrderGoesOn) {
    const std::int64_t start = clock_ms_;
    while (last_ != Outcome::parked) {
        fail_once();
        if (last_ == Outcome::parked) break;
        take_another();
        ASSERT_LT(clock_ms_ - start, 2 * limits_.park_after.count());
    }
    EXPECT_GE(clock_ms_ - start, limits_.park_after.count() - limits_.backoff_max.count());
    const auto settled = window_.settle();
    ASSERT_FALSE(settled.set_aside.empty());
    EXPECT_EQ(settled.set_aside.back().seq, 1);
    EXPECT_EQ(settled.set_aside.back().state, AsideState::parked);
    EXPECT_EQ(send_all(), Seqs{2});
}

TEST_F(DeliveryWindowTest, NothingIsParkedWhileNothingGetsThrough) {
    window_.add(event(1, 1));
    window_.add(event(2, 2));
    const std::int64_t end = clock_ms_ + 3 * limits_.park_after.count();
    while (clock_ms_ < end) ASSERT_EQ(send_one(bad()), Outcome::failed);
    EXPECT_EQ(window_.size(), 2U);
    EXPECT_EQ(window_.settle().cursor, 0);
}

TEST_F(DeliveryWindowTest, ACrowdOfEventsThatAreSetAsideIsParkedAfterAnHour) {
    limits_.crowd = 2;
    window_ = DeliveryWindow(limits_);
    for (std::int64_t i = 1; i <= 3; ++i) {
        AsideEvent aside;
        aside.event = event(i, static_cast<std::uint64_t>(i));
        aside.attempts = 5;
        aside.failing_since = now().wall;
        window_.add_aside(std::move(aside));
    }
    advance(limits_.park_crowd_after);
    EXPECT_EQ(send_one(bad()), Outcome::parked);
    EXPECT_EQ(send_one(bad()), Outcome::failed); // no crowd any more
    EXPECT_EQ(window_.size(), 2U);
}

TEST_F(DeliveryWindowTest, AfterARestartAnAnswerToAnOldRequestChangesNothing) {
    window_.add(event(1, 1));
    ASSERT_EQ(send_all(), Seqs{1});
    window_.restart(0);
    window_.add(event(1, 1));
    EXPECT_EQ(send_all(), Seqs{}); // the order still has a request in flight
    EXPECT_EQ(finish(1, good()), Outcome::stale);
    EXPECT_EQ(send_all(), Seqs{1});
    EXPECT_EQ(finish(1, good()), Outcome::delivered);
}

TEST(CloudEvent, SaysWhatHappenedToTheOrder) {
    OutboxEvent paid = event(5, 9, 2);
    paid.order.user = "alice";
    paid.order.quantity = 1;
    paid.order.status = OrderStatus::paid;
    paid.order.paid_at = kNoon;
    paid.order.payment_ref = "tx \"1\"";
    paid.at = kNoon + Duration(5);
    const EventMessage message = cloud_event(paid);
    const std::string id = order(9).text();
    EXPECT_EQ(message.id, id + ".2");
    EXPECT_EQ(message.body,
              R"({"specversion":"1.0","id":")" + id + R"(.2","source":"/v1/sales/demo",)" +
                  R"("type":"doorbuster.order.paid","subject":")" + id +
                  R"(","time":"2024-11-27T12:00:00.005Z","datacontenttype":"application/json",)" +
                  R"("data":{"order_id":")" + id +
                  R"(","sale_id":"demo","user_id":"alice","quantity":1,"status":"paid",)" +
                  R"("created_at":"2024-11-27T12:00:00.000Z","expires_at":null,)" +
                  R"("paid_at":"2024-11-27T12:00:00.000Z","payment_ref":"tx \"1\"","version":2}})");
}

// Whatever fails and whenever it restarts from what was saved: an order's events are delivered in
// order, one at a time, and nothing is passed over.
TEST(DeliveryWindowProperty, EveryEventOfAnOrderIsDeliveredInOrder) {
    const bool holds = rc::check([](std::uint64_t seed) {
        std::mt19937_64 random(seed);
        const auto below = [&random](std::size_t end) { return random() % end; };
        constexpr std::int64_t kEvents = 60;
        constexpr std::uint64_t kOrders = 8;
        std::vector<OutboxEvent> outbox;
        std::map<OrderId, std::int64_t> versions;
        for (std::int64_t seq = 1; seq <= kEvents; ++seq) {
            const std::uint64_t no = below(kOrders);
            outbox.push_back(event(seq, no, ++versions[order(no)]));
        }
        DeliveryLimits limits;
        limits.window_max = 10;
        limits.in_flight_max = 4;
        DeliveryWindow window(limits);
        std::int64_t saved_cursor = 0;
        std::map<std::int64_t, DeliveryProgress::Aside> aside;
        std::map<OrderId, std::int64_t> newest; // delivered in order up to here
        std::set<std::int64_t> delivered;
        std::vector<DeliveryWindow::Attempt> flying;
        Moment now{0, kNoon};
        std::vector<std::int64_t> to_load; // set aside, after a restart
        for (int step = 0; step < 10'000; ++step) {
            while (!to_load.empty() && window.room() > 0) {
                AsideEvent row;
                row.event = outbox[static_cast<std::size_t>(to_load.front() - 1)];
                row.attempts = aside[to_load.front()].attempts;
                window.add_aside(std::move(row));
                to_load.erase(to_load.begin());
            }
            while (to_load.empty() && window.room() > 0 && window.read_seq() < kEvents) {
                window.add(outbox[static_cast<std::size_t>(window.read_seq())]);
            }
            if (window.size() == 0 && window.read_seq() == kEvents && flying.empty()) break;
            while (const auto attempt = window.next(now)) {
                for (const auto& other : flying) RC_ASSERT(other.order != attempt->order);
                flying.push_back(*attempt);
                flying.back().event = nullptr;
            }
            const std::size_t dice = below(20);
            if (!flying.empty() && dice > 2) {
                const std::size_t which = below(flying.size());
                const auto attempt = flying[which];
                flying.erase(flying.begin() + static_cast<std::ptrdiff_t>(which));
                const bool is_good = step > 2'000 || below(3) > 0;
                if (is_good) {
                    const auto version =
                        outbox[static_cast<std::size_t>(attempt.seq - 1)].order.version;
                    // New ones come in order; an old one may come again.
                    RC_ASSERT(version <= newest[attempt.order] + 1);
                    newest[attempt.order] = std::max(newest[attempt.order], version);
                    delivered.insert(attempt.seq);
                }
                window.finished(attempt, is_good ? good() : bad(), now, kHalf);
            } else if (dice == 1) {
                auto settled = window.settle();
                for (const auto& row : settled.set_aside) aside[row.seq] = row;
                for (const std::int64_t seq : settled.delivered) aside.erase(seq);
                saved_cursor = settled.cursor;
                window.saved();
                for (std::int64_t seq = 1; seq <= saved_cursor; ++seq) {
                    RC_ASSERT(delivered.contains(seq) || aside.contains(seq));
                }
            } else if (dice == 2 && step < 2'000) { // a crash
                flying.clear();
                window = DeliveryWindow(limits);
                window.restart(saved_cursor);
                to_load.clear();
                for (const auto& [seq, row] : aside) to_load.push_back(seq);
            } else {
                now.steady_ms += 1'000;
                now.wall += Duration(1'000);
            }
        }
        RC_ASSERT(delivered.size() == static_cast<std::size_t>(kEvents));
    });
    EXPECT_TRUE(holds);
}

} // namespace
} // namespace doorbuster
