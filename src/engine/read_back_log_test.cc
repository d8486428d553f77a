#include "engine/read_back_log_fixture.h"

namespace doorbuster::fixture {
namespace {

TEST_F(ReadBackLogTest, SaysYesWhenItReadsItsOwnRecordBackAndNotBefore) {
    const LogPosition position = append(order());
    auto answer = us.ask(us.log.durable(position));
    us.transport.land(kHere); // the brokers have it: that is no yes
    us.turn();
    us.tick();
    EXPECT_EQ(said(answer), "nothing");
    EXPECT_FALSE(us.log.is_durable(position));
    us.hand_on();
    EXPECT_EQ(said(answer), "yes");
    EXPECT_TRUE(us.log.is_durable(position));
    auto again = us.ask(us.log.durable(position)); // asked after the fact
    EXPECT_EQ(said(again), "yes");
}

TEST_F(ReadBackLogTest, TakesNobodyElsesRecordForItsOwn) {
    const LogPosition position = append(order());
    auto answer = us.ask(us.log.durable(position));
    shared.append(order());
    us.hand_on();
    EXPECT_EQ(said(answer), "nothing");
}

TEST_F(ReadBackLogTest, AHigherBarrierVoidsWhatLiesBehindIt) {
    const LogPosition position = append(order());
    auto answer = us.ask(us.log.durable(position));
    shared.append(barrier(Epoch(2)));
    us.transport.land(kHere);
    us.hand_on();
    EXPECT_EQ(said(answer), "unavailable");
    EXPECT_FALSE(us.log.is_durable(position));
    EXPECT_EQ(us.log.totals().voided, 1U);
}

TEST_F(ReadBackLogTest, AHigherBarrierVoidsWhatStillFlies) {
    const LogPosition position = append(order());
    auto answer = us.ask(us.log.durable(position));
    shared.append(barrier(Epoch(2)));
    us.hand_on(); // whenever the record lands now, it is behind the barrier
    EXPECT_EQ(said(answer), "unavailable");
    us.settle();
    EXPECT_FALSE(us.log.is_durable(position));
    auto late = us.ask(us.log.durable(position)); // asked after the fact
    EXPECT_EQ(said(late), "unavailable");
}

TEST_F(ReadBackLogTest, AHigherBarrierLeavesWhatLiesBeforeIt) {
    const LogPosition position = append(order());
    us.transport.land(kHere);
    shared.append(barrier(Epoch(2)));
    us.hand_on();
    auto answer = us.ask(us.log.durable(position));
    EXPECT_EQ(said(answer), "yes");
}

TEST_F(ReadBackLogTest, AnOrderOfAnEpochThatIsNotOpenIsVoid) {
    shared.append(barrier(Epoch(3)));
    us.hand_on();
    const LogPosition older = append(order(Epoch(2)));
    const LogPosition newer = append(order(Epoch(4)));
    const LogPosition open = append(order(Epoch(3)));
    us.settle();
    EXPECT_FALSE(us.log.is_durable(older));
    EXPECT_FALSE(us.log.is_durable(newer));
    EXPECT_TRUE(us.log.is_durable(open));
}

TEST_F(ReadBackLogTest, ABarrierOfALowerEpochChangesNothing) {
    shared.append(barrier(Epoch(3)));
    shared.append(barrier(Epoch(2)));
    us.hand_on();
    const LogPosition position = append(order(Epoch(3)));
    us.settle();
    EXPECT_TRUE(us.log.is_durable(position));
}

TEST_F(ReadBackLogTest, AnotherSalesBarrierVoidsNothing) {
    const LogPosition position = append(order());
    LogRecordView foreign = barrier(Epoch(9));
    foreign.sale = SaleNo(8);
    shared.append(foreign);
    us.settle();
    EXPECT_TRUE(us.log.is_durable(position));
}

TEST_F(ReadBackLogTest, ItsOwnBarrierIsDurableUnlessALaterOneCameFirst) {
    const LogPosition position = append(barrier(Epoch(2)));
    us.settle();
    auto answer = us.ask(us.log.durable(position));
    EXPECT_EQ(said(answer), "yes");
    const LogPosition overtaken = append(barrier(Epoch(3)));
    shared.append(barrier(Epoch(4)));
    us.settle();
    auto late = us.ask(us.log.durable(overtaken));
    EXPECT_EQ(said(late), "unavailable");
}

TEST_F(ReadBackLogTest, TellsOfBarriersThatOthersAppendedOnce) {
    ASSERT_TRUE(us.log.enqueue(barrier(Epoch(2))).has_value());
    us.transport.land_twice(kHere);
    shared.append(barrier(Epoch(3)));
    shared.append(barrier(Epoch(3)));
    shared.append(barrier(Epoch(2)));
    us.hand_on();
    const std::vector<std::pair<SaleNo, Epoch>> expected{{kSale, Epoch(3)}};
    EXPECT_EQ(us.seen, expected);
}

TEST_F(ReadBackLogTest, ProducesAgainWhatWasNotDeliveredUntilItIsReadBack) {
    const LogPosition position = append(order());
    auto answer = us.ask(us.log.durable(position));
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(us.transport.fail(kHere).has_value());
        us.turn();
        EXPECT_EQ(said(answer), "nothing"); // a failed produce is no answer
        EXPECT_EQ(us.transport.flying(kHere), 0U);
        us.tick();
        EXPECT_EQ(us.transport.flying(kHere), 1U);
    }
    us.settle();
    EXPECT_EQ(said(answer), "yes");
    EXPECT_EQ(us.log.totals().produced_again, 3U);
}

TEST_F(ReadBackLogTest, AProduceThatFailedAndLandedAllTheSameIsAYes) {
    const LogPosition position = append(order());
    auto answer = us.ask(us.log.durable(position));
    us.transport.fail(kHere, FakeLogTransport::Landed::yes);
    us.hand_on();
    EXPECT_EQ(said(answer), "yes");
    us.tick();
    EXPECT_EQ(us.transport.flying(kHere), 0U); // it is there: not once more
}

TEST_F(ReadBackLogTest, WhatCannotBeProducedIsKeptAndProducedLater) {
    us.transport.set_room(1);
    const LogPosition first = append(order());
    const LogPosition second = append(order());
    EXPECT_EQ(us.transport.flying(kHere), 1U);
    us.tick();
    EXPECT_EQ(us.transport.flying(kHere), 1U); // still no room
    us.settle();
    us.tick();
    us.settle();
    EXPECT_TRUE(us.log.is_durable(first));
    EXPECT_TRUE(us.log.is_durable(second));
}

TEST_F(ReadBackLogTest, NothingIsProducedAgainWhileTheBrokersAreAway) {
    static_cast<void>(append(order()));
    us.transport.fail(kHere);
    us.transport.set_up(false);
    us.tick();
    EXPECT_EQ(us.transport.produced(), 1U);
    us.transport.set_up(true);
    us.tick();
    EXPECT_EQ(us.transport.produced(), 2U);
}

TEST_F(ReadBackLogTest, WhatABarrierMadeVoidIsNotProducedAgain) {
    static_cast<void>(append(order()));
    us.transport.fail(kHere);
    shared.append(barrier(Epoch(2)));
    us.hand_on();
    us.tick();
    EXPECT_EQ(us.transport.flying(kHere), 0U);
}

TEST_F(ReadBackLogTest, AFailedProduceThatLandsLateIsNoYesBehindABarrier) {
    const LogPosition position = append(order());
    auto answer = us.ask(us.log.durable(position));
    const auto late = us.transport.fail(kHere);
    ASSERT_TRUE(late.has_value());
    shared.append(barrier(Epoch(2)));
    shared.append(kHere, late->bytes);
    us.hand_on();
    EXPECT_EQ(said(answer), "unavailable");
}

TEST_F(ReadBackLogTest, CopiesOfOneHoldSettleTogether) {
    const OrderId id = ids.make(kSale, time.now());
    const LogPosition first = append(copy_of(id));
    const LogPosition between = append(order());
    const LogPosition second = append(copy_of(id));
    auto first_answer = us.ask(us.log.durable(first));
    auto second_answer = us.ask(us.log.durable(second));
    us.transport.fail(kHere); // the first copy
    us.transport.land(kHere);
    us.hand_on();
    EXPECT_EQ(said(first_answer), "yes");
    EXPECT_EQ(said(second_answer), "yes");
    EXPECT_TRUE(us.log.is_durable(between));
    us.tick();
    EXPECT_EQ(us.transport.flying(kHere), 0U); // and is not produced again
}

TEST_F(ReadBackLogTest, AHoldThatAnotherNodeAppendedSettlesOursToo) {
    them.start();
    const OrderId id = ids.make(kSale, time.now());
    const LogPosition position = append(copy_of(id));
    auto answer = us.ask(us.log.durable(position));
    us.transport.fail(kHere);
    ASSERT_TRUE(them.log.enqueue(copy_of(id)).has_value());
    them.settle();
    us.hand_on();
    EXPECT_EQ(said(answer), "yes");
    them.hand_on();
    EXPECT_EQ(them.log.totals().voided, 0U);
}

TEST_F(ReadBackLogTest, AnswersInTheOrderOfAPartition) {
    const LogPosition first = append(order());
    const LogPosition second = append(order());
    auto answer = us.ask(us.log.durable(second));
    us.transport.fail(kHere); // the first
    us.transport.land(kHere);
    us.hand_on();
    EXPECT_EQ(said(answer), "nothing"); // everything before it as well
    EXPECT_FALSE(us.log.is_durable(second));
    us.tick();
    us.settle();
    EXPECT_EQ(said(answer), "yes");
    EXPECT_TRUE(us.log.is_durable(first));
}

TEST_F(ReadBackLogTest, AnotherPartitionsStallDoesNotHoldItUp) {
    const LogPosition stalled = append(order(Epoch(1), kHere));
    const LogPosition position = append(order(Epoch(1), kElsewhere));
    us.transport.land(kElsewhere);
    us.hand_on(kElsewhere);
    auto answer = us.ask(us.log.durable(position));
    EXPECT_EQ(said(answer), "yes");
    EXPECT_FALSE(us.log.is_durable(stalled));
}

TEST_F(ReadBackLogTest, ARecordWithoutAnAnswerInTimeIsUnavailableAndMayStillComeTrue) {
    const LogPosition position = append(order());
    auto answer = us.ask(us.log.durable(position));
    us.pass(kDeadline - Duration(1));
    us.tick();
    EXPECT_EQ(said(answer), "nothing");
    us.pass(Duration(1));
    us.tick();
    EXPECT_EQ(said(answer), "unavailable");
    us.settle();
    EXPECT_TRUE(us.log.is_durable(position));
}

TEST_F(ReadBackLogTest, AProcessThatSleptSaysNothingThatTheLogDoesNotSay) {
    const LogPosition position = append(order());
    auto answer = us.ask(us.log.durable(position));
    us.transport.land(kHere);
    us.pass(kLong); // stopped; the others went on
    shared.append(barrier(Epoch(2)));
    us.hand_on();
    us.tick();
    EXPECT_EQ(said(answer), "yes"); // its record lies before the barrier
    const LogPosition later = append(order(Epoch(1)));
    auto late = us.ask(us.log.durable(later));
    us.settle();
    EXPECT_EQ(said(late), "unavailable");
}

TEST_F(ReadBackLogTest, RecordsThatNobodyCanReadAreSkipped) {
    const LogPosition position = append(order());
    shared.append(kHere, "no record");
    shared.append(kHere, "");
    us.settle();
    EXPECT_TRUE(us.log.is_durable(position));
    EXPECT_EQ(us.log.lag_records(), 3U); // the writer has to pass them, too
}

} // namespace
} // namespace doorbuster::fixture
