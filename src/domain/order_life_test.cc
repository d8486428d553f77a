// The table of contract.md section 3, "Orders' life", cell by cell.
#include "domain/order_life.h"

#include <gtest/gtest.h>
#include <optional>
#include <string>

namespace doorbuster {
namespace {

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr TimePoint kDue = kNoon + Duration(90'000);
constexpr Duration kMoment{1};
const std::string kRef = "pi_1";

Order order_in(OrderStatus status, std::optional<TimePoint> expires_at = kDue) {
    Order order;
    order.id = OrderId(SaleNo(1), kNoon, 0, 1);
    order.user = "u";
    order.key = "k";
    order.quantity = 2;
    order.status = status;
    order.version = status == OrderStatus::queued ? 0 : 1;
    if (status != OrderStatus::queued) order.expires_at = expires_at;
    if (status == OrderStatus::paid) {
        order.paid_at = kNoon;
        order.payment_ref = kRef;
        order.version = 2;
    }
    return order;
}

Order without_payment_step() { return order_in(OrderStatus::confirmed, std::nullopt); }

OrderDecision pay(const Order& order, const std::string& ref, TimePoint now) {
    return decide(order, {order.id, OrderAction::pay, ref}, now);
}
OrderDecision cancel(const Order& order, TimePoint now) {
    return decide(order, {order.id, OrderAction::cancel, ""}, now);
}
OrderDecision expire(const Order& order, TimePoint now) {
    return decide(order, {order.id, OrderAction::expire, ""}, now);
}

// Nothing but status, version and what a payment brings ever changes.
void expect_same_but_status(const Order& before, const Order& after) {
    EXPECT_EQ(after.id, before.id);
    EXPECT_EQ(after.user, before.user);
    EXPECT_EQ(after.key, before.key);
    EXPECT_EQ(after.quantity, before.quantity);
    EXPECT_EQ(after.expires_at, before.expires_at);
}
void expect_untouched(const Order& before, const Order& after) {
    expect_same_but_status(before, after);
    EXPECT_EQ(after.status, before.status);
    EXPECT_EQ(after.version, before.version);
    EXPECT_EQ(after.paid_at, before.paid_at);
    EXPECT_EQ(after.payment_ref, before.payment_ref);
}

TEST(OrderLife, APaymentInTimePays) {
    const Order order = order_in(OrderStatus::confirmed);
    const auto paid = pay(order, kRef, kDue - kMoment);
    EXPECT_EQ(paid.verdict, ChangeVerdict::done);
    EXPECT_EQ(paid.order.status, OrderStatus::paid);
    EXPECT_EQ(paid.order.paid_at, kDue - kMoment);
    EXPECT_EQ(paid.order.payment_ref, kRef);
    EXPECT_EQ(paid.order.version, order.version + 1);
    expect_same_but_status(order, paid.order);
}

TEST(OrderLife, APaymentThatComesTooLateEndsTheOrder) {
    const Order order = order_in(OrderStatus::confirmed);
    for (const TimePoint now : {kDue, kDue + kMoment, kDue + std::chrono::hours(1)}) {
        const auto late = pay(order, kRef, now);
        EXPECT_EQ(late.verdict, ChangeVerdict::refused);
        EXPECT_EQ(late.order.status, OrderStatus::expired);
        EXPECT_EQ(late.order.version, order.version + 1);
        EXPECT_FALSE(late.order.paid_at);
        EXPECT_FALSE(late.order.payment_ref);
        expect_same_but_status(order, late.order);
    }
}

TEST(OrderLife, ThePaymentThatWasMadeIsFineAgainAndAnotherOneIsNot) {
    const Order order = order_in(OrderStatus::paid);
    for (const TimePoint now : {kNoon, kDue, kDue + kMoment}) {
        const auto same = pay(order, kRef, now);
        EXPECT_EQ(same.verdict, ChangeVerdict::unchanged);
        expect_untouched(order, same.order);
        const auto other = pay(order, "pi_2", now);
        EXPECT_EQ(other.verdict, ChangeVerdict::refused);
        expect_untouched(order, other.order);
    }
}

TEST(OrderLife, NothingElseCanBePaid) {
    for (const Order& order :
         {without_payment_step(), order_in(OrderStatus::queued), order_in(OrderStatus::cancelled),
          order_in(OrderStatus::expired), order_in(OrderStatus::refused)}) {
        for (const TimePoint now : {kNoon, kDue}) {
            const auto refused = pay(order, kRef, now);
            EXPECT_EQ(refused.verdict, ChangeVerdict::refused) << to_string(order.status);
            expect_untouched(order, refused.order);
        }
    }
}

TEST(OrderLife, AnOrderThatWaitsForItsPaymentCanBeCancelled) {
    const Order order = order_in(OrderStatus::confirmed);
    const auto cancelled = cancel(order, kNoon);
    EXPECT_EQ(cancelled.verdict, ChangeVerdict::done);
    EXPECT_EQ(cancelled.order.status, OrderStatus::cancelled);
    EXPECT_EQ(cancelled.order.version, order.version + 1);
    expect_same_but_status(order, cancelled.order);
    const auto again = cancel(cancelled.order, kDue + kMoment);
    EXPECT_EQ(again.verdict, ChangeVerdict::unchanged);
    expect_untouched(cancelled.order, again.order);
}

TEST(OrderLife, NothingElseCanBeCancelled) {
    for (const Order& order :
         {without_payment_step(), order_in(OrderStatus::queued), order_in(OrderStatus::paid),
          order_in(OrderStatus::expired), order_in(OrderStatus::refused)}) {
        const auto refused = cancel(order, kNoon);
        EXPECT_EQ(refused.verdict, ChangeVerdict::refused) << to_string(order.status);
        expect_untouched(order, refused.order);
    }
}

TEST(OrderLife, ExpiresAtItsTimeAndNotAMillisecondBefore) {
    const Order order = order_in(OrderStatus::confirmed);
    const auto early = expire(order, kDue - kMoment);
    EXPECT_EQ(early.verdict, ChangeVerdict::refused);
    expect_untouched(order, early.order);
    for (const TimePoint now : {kDue, kDue + kMoment}) {
        const auto expired = expire(order, now);
        EXPECT_EQ(expired.verdict, ChangeVerdict::done);
        EXPECT_EQ(expired.order.status, OrderStatus::expired);
        EXPECT_EQ(expired.order.version, order.version + 1);
        expect_same_but_status(order, expired.order);
    }
}

TEST(OrderLife, WhatDoesNotWaitForAPaymentNeverExpires) {
    for (const Order& order : {without_payment_step(), order_in(OrderStatus::queued),
                               order_in(OrderStatus::paid), order_in(OrderStatus::cancelled),
                               order_in(OrderStatus::expired), order_in(OrderStatus::refused)}) {
        const auto kept = expire(order, kDue + std::chrono::hours(24));
        EXPECT_EQ(kept.verdict, ChangeVerdict::refused) << to_string(order.status);
        expect_untouched(order, kept.order);
    }
}

// At every instant exactly one of them wins, whoever is asked first.
TEST(OrderLife, PayAndExpiryNeverBothWinNorBothLose) {
    for (const TimePoint now : {kDue - kMoment, kDue, kDue + kMoment}) {
        const Order order = order_in(OrderStatus::confirmed);
        const auto paid_first = pay(order, kRef, now);
        const auto then_expired = expire(paid_first.order, now);
        const auto expired_first = expire(order, now);
        const auto then_paid = pay(expired_first.order, kRef, now);
        EXPECT_EQ(then_expired.order.status, then_paid.order.status);
        EXPECT_EQ(then_expired.order.status, now < kDue ? OrderStatus::paid : OrderStatus::expired);
        EXPECT_EQ(then_expired.order.version, order.version + 1);
        EXPECT_EQ(then_paid.order.version, order.version + 1);
    }
}

TEST(OrderLife, KnowsWhatIsFinal) {
    EXPECT_FALSE(is_final(order_in(OrderStatus::queued)));
    EXPECT_FALSE(is_final(order_in(OrderStatus::confirmed)));
    EXPECT_TRUE(is_final(without_payment_step()));
    for (const OrderStatus status :
         {OrderStatus::paid, OrderStatus::cancelled, OrderStatus::expired, OrderStatus::refused}) {
        EXPECT_TRUE(is_final(order_in(status))) << to_string(status);
    }
}

} // namespace
} // namespace doorbuster
