#include "adapters/redis/inventory_wire.h"

#include <gtest/gtest.h>

#include "adapters/redis/recent_appends.h"
#include "ports/inventory_fixture.h"

namespace doorbuster::redis {
namespace {

using namespace doorbuster::fixture;

TEST(InventoryWire, ReadsHowASaleStands) {
    const auto ok = parse_status("ok 12 345 6 -7");
    ASSERT_TRUE(ok);
    EXPECT_TRUE(ok->is_ok());
    EXPECT_EQ(ok->epoch, Epoch(12));
    EXPECT_EQ(ok->moves, 345);
    EXPECT_EQ(ok->version, 6);
    EXPECT_EQ(ok->remaining, -7);
    const auto building = parse_status("cold building 9");
    ASSERT_TRUE(building);
    EXPECT_EQ(building->health, SaleStatus::Health::building);
    EXPECT_EQ(building->epoch, Epoch(9));
    EXPECT_EQ(parse_status("cold restarted 9")->health, SaleStatus::Health::restarted);
    EXPECT_EQ(parse_status("cold failed_over 9")->health, SaleStatus::Health::failed_over);
    EXPECT_EQ(parse_status("cold missing 0")->health, SaleStatus::Health::missing);
}

TEST(InventoryWire, ReadsNothingIntoWhatItDoesNotKnow) {
    for (const char* line : {"", "ok", "ok 1 2 3", "ok 1 2 3 x", "ok -1 2 3 4", "cold", "cold 1",
                             "cold building", "cold tired 1", "fenced", "OK 1 2 3 4"}) {
        EXPECT_FALSE(parse_status(line)) << line;
    }
    for (const char* answer : {"", "y", "X", "\n"}) EXPECT_FALSE(parse_decision(answer)) << answer;
    EXPECT_FALSE(parse_order("too short"));
    EXPECT_FALSE(parse_record("no record"));
    EXPECT_EQ(parse_number("12x"), 0);
}

TEST(InventoryWire, WritesARecordThatLacksOnlyItsEpoch) {
    const Buyer buyer("zoë", order_no(3), 2, "k");
    const std::string attempt = purchase_attempt(buyer.request);
    EXPECT_EQ(attempt[0], 'k');
    const auto record = parse_record(attempt.substr(1 + 16 + 16));
    ASSERT_TRUE(record);
    EXPECT_EQ(record->order, order_no(3));
    EXPECT_EQ(record->quantity, 2);
    EXPECT_EQ(record->user, "zoë");
    EXPECT_EQ(record->key, "k");
    EXPECT_EQ(record->epoch, Epoch(0));
    const Buyer without("zoë", order_no(3), 2, "");
    EXPECT_EQ(purchase_attempt(without.request)[0], 'p');
    EXPECT_EQ(key_attempt(buyer.request).substr(17), "2");
}

TEST(RecentAppends, RemembersForASecondWhatWasNotReadBack) {
    constexpr std::int64_t kSecond = 1'000'000'000;
    RecentAppends appends;
    appends.add(order_no(1), LogPosition(7), 0);
    appends.add(order_no(2), LogPosition(8), 0);
    EXPECT_EQ(appends.find(order_no(1), kSecond / 2), LogPosition(7));
    EXPECT_FALSE(appends.find(order_no(3), 0));
    appends.forget(order_no(1));
    EXPECT_FALSE(appends.find(order_no(1), 0));
    EXPECT_FALSE(appends.find(order_no(2), kSecond)) << "it may never come back";
    appends.add(order_no(2), LogPosition(9), kSecond);
    EXPECT_EQ(appends.find(order_no(2), kSecond), LogPosition(9));
}

TEST(RecentAppends, ForgetsTheOldOnesThatNobodyAskedFor) {
    constexpr std::int64_t kSecond = 1'000'000'000;
    RecentAppends appends;
    const auto known = [&](std::uint64_t first, std::int64_t now) {
        int count = 0;
        for (std::uint64_t i = first; i < first + 1'000; ++i) {
            if (appends.find(order_no(i), now)) ++count;
        }
        return count;
    };
    std::uint64_t next = 0;
    for (int round = 0; round < 300; ++round) { // more than it keeps of one second
        const std::uint64_t first = next;
        for (; next < first + 1'000; ++next) {
            appends.add(order_no(next), LogPosition(next), round * kSecond);
        }
        EXPECT_EQ(known(first, round * kSecond), 1'000) << round;
    }
}

} // namespace
} // namespace doorbuster::redis
