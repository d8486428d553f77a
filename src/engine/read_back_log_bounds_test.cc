// The read-back log's window and lag, and what it knows of the store behind the log.
#include <optional>

#include "engine/read_back_log_fixture.h"

namespace doorbuster::fixture {
namespace {

class BoundedLogTest : public ReadBackLogTest {
protected:
    BoundedLogTest() {
        ReadBackLog::Options options;
        options.window_max = 2;
        options.lag_max = 3;
        small.emplace(shared, time, std::move(options));
        small->start();
    }
    std::optional<Process> small;
};

TEST_F(BoundedLogTest, AFullWindowHasNoRoomUntilSomethingIsReadBack) {
    ReadBackLog& log = small->log;
    ASSERT_TRUE(log.take_room(kHere));
    ASSERT_TRUE(log.enqueue(order()).has_value());
    EXPECT_FALSE(log.take_room(kHere));
    EXPECT_FALSE(log.enqueue(order()).has_value());
    log.return_room(kHere); // what it was taken for was refused
    EXPECT_TRUE(log.take_room(kHere));
    const LogPosition position = log.append(order());
    EXPECT_FALSE(log.take_room(kHere));
    small->transport.land(kHere);
    small->turn();
    EXPECT_FALSE(log.take_room(kHere)); // delivered, but not read back
    small->settle();
    EXPECT_TRUE(log.is_durable(position));
    EXPECT_TRUE(log.take_room(kHere));
    EXPECT_TRUE(log.take_room(kHere));
    EXPECT_FALSE(log.take_room(kHere));
}

TEST_F(BoundedLogTest, RoomComesBackWhenABarrierMakesRecordsVoid) {
    ReadBackLog& log = small->log;
    ASSERT_TRUE(log.enqueue(order()).has_value());
    ASSERT_TRUE(log.enqueue(order()).has_value());
    EXPECT_FALSE(log.take_room(kHere));
    shared.append(barrier(Epoch(2)));
    small->hand_on();
    EXPECT_TRUE(log.take_room(kHere));
    EXPECT_TRUE(log.take_room(kHere));
    EXPECT_FALSE(log.take_room(kHere));
}

TEST_F(BoundedLogTest, APartitionThatIsStalledIsNoOthersTrouble) {
    ReadBackLog& log = small->log;
    ASSERT_TRUE(log.enqueue(order(Epoch(1), kElsewhere)).has_value()); // nobody reads it back
    EXPECT_TRUE(log.take_room(kElsewhere));
    log.return_room(kElsewhere);
    small->pass(Duration(3'000));
    EXPECT_TRUE(log.is_stalled(kElsewhere));
    EXPECT_FALSE(log.take_room(kElsewhere)) << "though its window has room";
    EXPECT_FALSE(log.is_stalled(kHere));
    EXPECT_TRUE(log.take_room(kHere));
    EXPECT_TRUE(log.take_room(kHere)) << "each partition has a window of its own";
    small->transport.land(kElsewhere);
    small->hand_on(kElsewhere);
    EXPECT_FALSE(log.is_stalled(kElsewhere));
    EXPECT_TRUE(log.take_room(kElsewhere));
}

TEST_F(BoundedLogTest, ABarrierPassesAFullWindow) {
    ReadBackLog& log = small->log;
    ASSERT_TRUE(log.enqueue(order()).has_value());
    ASSERT_TRUE(log.enqueue(order()).has_value());
    const auto position = log.enqueue(barrier(Epoch(2)));
    ASSERT_TRUE(position.has_value());
    small->settle();
    EXPECT_TRUE(log.is_durable(*position));
    small->store_up_to(kHere, LogPosition(4));
    EXPECT_TRUE(log.take_room(kHere)); // it takes nobody's room for good
    EXPECT_TRUE(log.take_room(kHere));
    EXPECT_FALSE(log.take_room(kHere));
}

TEST_F(BoundedLogTest, TooMuchThatIsNotStoredLeavesNoRoom) {
    for (int i = 0; i < 3; ++i) shared.append(order()); // anybody's
    small->hand_on();
    EXPECT_EQ(small->log.lag_records(), 3U);
    EXPECT_FALSE(small->log.take_room(kHere));
    small->store_up_to(kHere, LogPosition(2));
    EXPECT_EQ(small->log.lag_records(), 2U);
    EXPECT_TRUE(small->log.take_room(kHere));
}

TEST_F(BoundedLogTest, HasNoRoomWhileTheBrokersAreAway) {
    small->transport.set_up(false);
    EXPECT_FALSE(small->log.take_room(kHere));
    EXPECT_TRUE(small->log.is_stalled(kHere));
    small->transport.set_up(true);
    EXPECT_TRUE(small->log.take_room(kHere));
}

TEST_F(BoundedLogTest, AStoreThatIsAheadOfTheReaderIsNoLag) {
    shared.append(order());
    shared.append(order());
    small->store_up_to(kHere, LogPosition(3));
    EXPECT_EQ(small->log.lag_records(), 0U);
    small->hand_on();
    EXPECT_EQ(small->log.lag_records(), 0U);
    EXPECT_EQ(small->stored.size(), 0U);
}

TEST_F(BoundedLogTest, PositionsThatTheLogKeepsForItselfAreNoLagForLong) {
    shared.append(order());
    shared.skip(kHere, 5);
    shared.append(order());
    small->hand_on();
    small->store_up_to(kHere, LogPosition(8));
    EXPECT_EQ(small->log.lag_records(), 0U);
    EXPECT_EQ(small->stored.size(), 2U);
}

// --- behind the log --------------------------------------------------------------------------

TEST_F(ReadBackLogTest, FindsAnOrderOfAnyNodeUntilTheStoreHasIt) {
    const LogRecordView record = order();
    const LogPosition at = shared.append(record);
    us.hand_on();
    const auto found = us.log.find(record.order);
    ASSERT_TRUE(found.has_value());
    ASSERT_TRUE(found->has_value());
    EXPECT_EQ((*found)->user, "user");
    us.store_up_to(kHere, at.next());
    EXPECT_EQ(us.stored, std::vector<OrderId>{record.order});
    const auto gone = us.log.find(record.order);
    ASSERT_TRUE(gone.has_value());
    EXPECT_FALSE(gone->has_value());
}

TEST_F(ReadBackLogTest, DoesNotFindAnOrderThatIsVoid) {
    const LogRecordView record = order();
    shared.append(barrier(Epoch(2)));
    shared.append(record);
    us.hand_on();
    const auto found = us.log.find(record.order);
    ASSERT_TRUE(found.has_value());
    EXPECT_FALSE(found->has_value());
}

TEST_F(ReadBackLogTest, FindWaitsUntilItHasReadWhatTheLogHasByNow) {
    const LogRecordView record = order(Epoch(1), kElsewhere);
    shared.append(record); // another node's yes, which has not come by here yet
    auto found = std::async(std::launch::async, [&] { return us.log.find(record.order); });
    EXPECT_FALSE(is_ready(found));
    us.transport.hand_on(kElsewhere);
    ASSERT_EQ(found.wait_for(kPatience), std::future_status::ready);
    const auto order_found = found.get();
    ASSERT_TRUE(order_found.has_value());
    EXPECT_TRUE(order_found->has_value());
}

TEST_F(ReadBackLogTest, FindSaysSoWhenTheTailIsTooSlowOrTheBrokersAreAway) {
    const LogRecordView record = order();
    shared.append(record);
    const auto slow = us.log.find(record.order); // nobody hands it on
    ASSERT_FALSE(slow.has_value());
    EXPECT_TRUE(slow.error().is(Errc::unavailable));
    us.transport.set_up(false);
    const auto away = us.log.find(record.order);
    ASSERT_FALSE(away.has_value());
    EXPECT_TRUE(away.error().is(Errc::unavailable));
}

TEST_F(ReadBackLogTest, ReachedWaitsUntilTheStoreHasTheRecordAndAllBefore) {
    const LogPosition first = append(order());
    const LogPosition second = append(order());
    us.transport.fail(kHere); // the first: it will stand behind the second
    us.settle();
    us.tick();
    us.settle(); // the second is at 1, the first at 2
    auto first_answer = us.ask(us.log.reached(first, kLong));
    auto second_answer = us.ask(us.log.reached(second, kLong));
    us.store_up_to(kHere, LogPosition(2));
    us.pass(Duration(100));
    EXPECT_EQ(said(first_answer), "nothing");
    EXPECT_EQ(said(second_answer), "nothing");
    us.store_up_to(kHere, LogPosition(3));
    us.pass(Duration(100));
    EXPECT_EQ(said(first_answer), "yes");
    EXPECT_EQ(said(second_answer), "yes");
}

TEST_F(ReadBackLogTest, ReachedIsAYesForWhatTheStoreHadBeforeWeReadIt) {
    const LogPosition position = append(order());
    us.transport.land(kHere);
    us.store_up_to(kHere, LogPosition(2)); // the writer was faster than our tail
    us.hand_on();
    auto answer = us.ask(us.log.reached(position, kLong));
    us.pass(Duration(10));
    EXPECT_EQ(said(answer), "yes");
}

TEST_F(ReadBackLogTest, ReachedGivesUpAtItsDeadline) {
    const LogPosition position = append(order());
    us.settle();
    auto answer = us.ask(us.log.reached(position, Duration(50)));
    us.pass(Duration(100));
    EXPECT_EQ(said(answer), "no");
}

TEST_F(ReadBackLogTest, StoredWaitsForOneOrder) {
    const LogRecordView record = order();
    const LogPosition at = shared.append(record);
    us.hand_on();
    auto answer = us.ask(us.log.stored(record.order, kLong));
    us.pass(Duration(100));
    EXPECT_EQ(said(answer), "nothing");
    us.store_up_to(kHere, at.next());
    us.pass(Duration(10));
    EXPECT_EQ(said(answer), "yes");
}

TEST_F(ReadBackLogTest, CaughtUpWaitsForWhatWasReadWhenItWasAsked) {
    shared.append(order());
    us.hand_on();
    auto answer = us.ask(us.log.caught_up(kHere, kLong));
    shared.append(order()); // later: not waited for
    us.hand_on();
    us.pass(Duration(100));
    EXPECT_EQ(said(answer), "nothing");
    us.store_up_to(kHere, LogPosition(2));
    us.pass(Duration(10));
    EXPECT_EQ(said(answer), "yes");
    auto elsewhere = us.ask(us.log.caught_up(kElsewhere, kLong));
    EXPECT_EQ(said(elsewhere), "yes"); // nothing was read there
}

TEST_F(ReadBackLogTest, ReadsOnFromWhereTheStoreIs) {
    const LogPosition stored = shared.append(order());
    const LogRecordView left = order();
    shared.append(left);
    LogPositions from;
    from.set(kHere, stored.next());
    ASSERT_TRUE(them.log.start(from, std::map<SaleNo, Epoch>{{kSale, Epoch(1)}}).has_value());
    them.hand_on();
    EXPECT_EQ(them.log.lag_records(), 1U);
    EXPECT_TRUE(them.log.find(left.order)->has_value());
    them.store_up_to(kHere, stored.next().next());
    EXPECT_EQ(them.stored, std::vector<OrderId>{left.order});
}

TEST_F(ReadBackLogTest, PassesOnThatTheLogIsNotWhatItWas) {
    Error foreign;
    foreign.code = make_error_code(Errc::foreign_log);
    us.transport.break_off(foreign);
    EXPECT_TRUE(us.is_broken);
    LogPositions outside;
    outside.set(kHere, LogPosition(10));
    const auto started = them.log.start(outside, {});
    ASSERT_FALSE(started.has_value());
    EXPECT_TRUE(started.error().is(Errc::foreign_log));
}

TEST_F(ReadBackLogTest, KnowsTheLastPositionThatItGaveOutInEachPartition) {
    const LogPosition none = us.log.last_enqueued(kElsewhere);
    EXPECT_TRUE(us.log.is_durable(none)); // nothing to wait for
    const LogPosition here = append(order());
    EXPECT_EQ(us.log.last_enqueued(kHere), here);
    const LogPosition later = append(order());
    EXPECT_LT(here, later);
    EXPECT_EQ(us.log.last_enqueued(kElsewhere), none);
}

TEST_F(ReadBackLogTest, ProducesWhatWasAppendedBeforeItStops) {
    static_cast<void>(append(order()));
    us.log.stop(Duration(1'000));
    EXPECT_EQ(shared.size(kHere), 1U);
}

// With its own thread it needs nobody to tick.
TEST(ReadBackLogThread, ProducesAgainByItself) {
    FakeLog shared{1};
    FakeLogTransport transport{shared};
    Cores cores{1};
    const SystemClock clock;
    ReadBackLog::Options options;
    options.lag_max = 10;
    ReadBackLog log{transport, cores, clock, std::move(options)};
    ASSERT_TRUE(log.start({}, {}).has_value());
    LogRecordView barrier;
    barrier.kind = LogRecordKind::barrier;
    barrier.sale = kSale;
    barrier.epoch = Epoch(1);
    const auto position = log.enqueue(barrier);
    ASSERT_TRUE(position.has_value());
    transport.fail(kHere);
    EXPECT_TRUE(eventually([&] { return transport.flying(kHere) == 1; }));
    transport.settle();
    EXPECT_TRUE(log.is_durable(*position));
}

} // namespace
} // namespace doorbuster::fixture
