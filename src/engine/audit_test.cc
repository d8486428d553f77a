#include "engine/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "ports/fake_order_log.h"

namespace doorbuster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr SaleNo kSale{3};
constexpr Epoch kOpen{2}; // the epoch that is open in the log at the snapshot

std::size_t index_of(OrderStatus status) { return static_cast<std::size_t>(status); }

// Ten units, limit two: three confirmed orders of four units in the store.
SaleBooks quiet_sale() {
    SaleBooks books;
    books.sale.terms.no = kSale;
    books.sale.terms.id = "demo";
    books.sale.terms.stock = 10;
    books.sale.terms.per_user_limit = 2;
    books.sale.sold = 4;
    books.orders[index_of(OrderStatus::confirmed)] = 3;
    books.units[index_of(OrderStatus::confirmed)] = 4;
    books.log_accepted_orders = 3;
    books.log_accepted_units = 4;
    books.per_user_limit_ever = 2;
    books.barrier = kOpen;
    return books;
}

LogRecord order_of(const std::string& user, Units quantity, Epoch epoch = kOpen) {
    LogRecord record;
    record.sale = kSale;
    record.epoch = epoch;
    static std::uint64_t orders = 0;
    record.order = OrderId(kSale, TimePoint(), 0, ++orders);
    record.user = user;
    record.quantity = quantity;
    return record;
}

LogRecord barrier(Epoch epoch) {
    LogRecord record;
    record.kind = LogRecordKind::barrier;
    record.sale = kSale;
    record.epoch = epoch;
    return record;
}

LogRecord withdrawal_of(Units units) {
    LogRecord record = order_of("an operator", units);
    record.kind = LogRecordKind::withdraw;
    return record;
}

constexpr LogPosition kNext{4};
constexpr LogPosition kEnd{1'000}; // behind every tail here

SaleAudit judge_one(const SaleBooks& sale, const std::vector<LogRecord>& tail,
                    const std::optional<InventoryCount>& count, LogPosition queued_to = kEnd) {
    Books books;
    books.next.set(kOnlyPartition, kNext);
    books.sales.push_back(sale);
    std::map<SaleNo, InventoryCount> inventory;
    if (count) inventory[kSale] = *count;
    AuditTail entries{kOnlyPartition, queued_to.next(), {}};
    for (LogPosition at = kNext; const LogRecord& record : tail) {
        entries.entries.push_back({at, record});
        at = at.next();
    }
    auto rows = judge(books, std::vector<AuditTail>{entries}, inventory);
    EXPECT_EQ(rows.size(), 1U);
    return rows.front();
}

// As it is when nothing goes on between the books and the count.
SaleAudit judge_one(const SaleBooks& sale, const std::vector<LogRecord>& tail = {},
                    const std::map<SaleNo, Units>& inventory = {}) {
    if (inventory.empty()) return judge_one(sale, tail, std::nullopt);
    const Units given_back = sale.units[index_of(OrderStatus::cancelled)] +
                             sale.units[index_of(OrderStatus::expired)] +
                             sale.units[index_of(OrderStatus::refused)];
    return judge_one(sale, tail, InventoryCount{inventory.at(kSale), kEnd, 1, given_back});
}

TEST(Judge, FindsBalancedBooksBalanced) {
    const SaleAudit row = judge_one(quiet_sale(), {}, {{kSale, 6}});
    EXPECT_TRUE(row.balanced());
    EXPECT_EQ(row.sale_id, "demo");
    EXPECT_EQ(row.stock, 10);
    EXPECT_EQ(row.sold, 4);
    EXPECT_EQ(row.remaining, 6);
    EXPECT_EQ(row.log_accepted_units, 4);
    EXPECT_EQ(row.inventory_remaining, 6);
    EXPECT_EQ(row.orders[index_of(OrderStatus::confirmed)], 3);
}

TEST(Judge, CountsTheTailAsQueued) {
    const SaleAudit row =
        judge_one(quiet_sale(), {order_of("x", 1), order_of("y", 2)}, {{kSale, 3}});
    EXPECT_THAT(row.violations, IsEmpty());
    EXPECT_EQ(row.sold, 7);
    EXPECT_EQ(row.remaining, 3);
    EXPECT_EQ(row.orders[index_of(OrderStatus::queued)], 2);
    EXPECT_EQ(row.log_accepted_units, 7);
}

TEST(Judge, PassesOverWhatTheBooksHaveAlready) {
    const LogRecord copy = order_of("x", 1);
    Books books;
    books.next.set(kOnlyPartition, kNext);
    books.sales.push_back(quiet_sale());
    books.stored.insert(copy.order);
    const LogPosition before(kNext.get() - 1);
    const std::vector<AuditTail> tails = {
        {kOnlyPartition, kEnd, {{before, order_of("y", 1)}, {kNext, copy}}}};
    const auto rows = judge(books, tails, {{kSale, {6, kEnd, 1, 0}}}, LogWriters::several);
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_THAT(rows[0].violations, IsEmpty());
    EXPECT_EQ(rows[0].sold, 4);
    EXPECT_EQ(rows[0].orders[index_of(OrderStatus::queued)], 0);
}

TEST(Judge, PassesOverVoidedEpochsAndOtherSalesInTheTail) {
    LogRecord elsewhere = order_of("x", 1);
    elsewhere.sale = SaleNo(99);
    const std::vector<LogRecord> tail = {
        order_of("old", 1, Epoch(1)), // before any barrier of the tail, but an epoch too old
        order_of("a", 1),
        barrier(Epoch(3)),
        order_of("late", 2), // of the epoch that has just been closed
        order_of("b", 1, Epoch(3)),
        barrier(Epoch(2)), // an older barrier opens nothing
        order_of("later", 2),
        order_of("ahead", 2, Epoch(4)),
        elsewhere,
    };
    const SaleAudit row = judge_one(quiet_sale(), tail, {{kSale, 4}});
    EXPECT_THAT(row.violations, IsEmpty());
    EXPECT_EQ(row.orders[index_of(OrderStatus::queued)], 2);
    EXPECT_EQ(row.sold, 6);
}

TEST(Judge, CountsPaidOrdersAsSoldAndGivenBackOnesAsNot) {
    SaleBooks sale = quiet_sale();
    sale.orders[index_of(OrderStatus::paid)] = 1;
    sale.units[index_of(OrderStatus::paid)] = 1;
    sale.orders[index_of(OrderStatus::cancelled)] = 1;
    sale.units[index_of(OrderStatus::cancelled)] = 2;
    sale.orders[index_of(OrderStatus::expired)] = 1;
    sale.units[index_of(OrderStatus::expired)] = 2;
    sale.sale.sold = 5;
    sale.log_accepted_orders = 6;
    sale.log_accepted_units = 9;
    const SaleAudit row = judge_one(sale, {}, {{kSale, 5}});
    EXPECT_THAT(row.violations, IsEmpty());
    EXPECT_EQ(row.sold, 5);
}

TEST(Judge, CountsTheUnitsOfALetterThatWasDroppedAsGivenBack) {
    SaleBooks sale = quiet_sale();
    sale.dropped_letters = 1;
    sale.dropped_letter_units = 2;
    sale.log_accepted_orders = 4;
    sale.log_accepted_units = 6;
    const InventoryCount released{6, kNext, 1, 2};
    EXPECT_THAT(judge_one(sale, {}, released).violations, IsEmpty());
    const InventoryCount on_its_way{4, kNext, 1, 0};
    EXPECT_THAT(judge_one(sale, {}, on_its_way).violations, IsEmpty());
    const InventoryCount leaked{4, kNext, 1, 2};
    EXPECT_THAT(judge_one(sale, {}, leaked).violations, Not(IsEmpty()));
}

// The inventory is counted after the books were read: units come back meanwhile, and are sold
// again.
TEST(Judge, FollowsWhatWasGivenBackAroundTheCount) {
    SaleBooks sale = quiet_sale();
    sale.orders[index_of(OrderStatus::cancelled)] = 1;
    sale.units[index_of(OrderStatus::cancelled)] = 2;
    sale.log_accepted_orders = 4;
    sale.log_accepted_units = 6;
    // Not released yet, released, and two units more that were cancelled since.
    for (const auto& [remaining, given_back] :
         {std::pair(4, 0), std::pair(6, 2), std::pair(8, 4)}) {
        const InventoryCount count{remaining, kNext, 1, given_back};
        EXPECT_THAT(judge_one(sale, {}, count).violations, IsEmpty()) << remaining;
        const InventoryCount leaked{remaining - 1, kNext, 1, given_back};
        EXPECT_THAT(judge_one(sale, {}, leaked).violations, Not(IsEmpty())) << remaining;
    }
    // All ten were sold when the books were read; two came back and were sold again.
    sale.sale.sold = sale.units[index_of(OrderStatus::confirmed)] = 10;
    sale.log_accepted_units = 12;
    const std::vector<LogRecord> tail = {order_of("x", 1), order_of("y", 1)};
    const SaleAudit row =
        judge_one(sale, tail, InventoryCount{0, LogPosition(5), 1, 4}, LogPosition(3));
    EXPECT_THAT(row.violations, IsEmpty());
    EXPECT_EQ(row.sold, 10);
}

TEST(Judge, KnowsUnitsOnTheirWayOutOfTheStock) {
    const InventoryCount count{3, kEnd, 1, 0, 2};
    const SaleAudit row = judge_one(quiet_sale(), {withdrawal_of(2), order_of("x", 1)}, count);
    EXPECT_THAT(row.violations, IsEmpty());
    EXPECT_EQ(row.sold, 5);
    EXPECT_EQ(row.orders[index_of(OrderStatus::queued)], 1);
    EXPECT_EQ(row.log_accepted_units, 5);
    // Stored, and not released yet: its row says so. Without one, nobody will ever release it.
    SaleBooks sale = quiet_sale();
    sale.give_backs = 1;
    const InventoryCount held{4, kNext, 1, 0, 2};
    EXPECT_THAT(judge_one(sale, {}, held).violations, IsEmpty());
    sale.give_backs = 0;
    EXPECT_THAT(judge_one(sale, {}, held).violations,
                ElementsAre(HasSubstr("withholds 2 units for a withdrawal that is over")));
}

TEST(Judge, KeepsTheUnitsOfDeadLettersOutOfBothSides) {
    SaleBooks sale = quiet_sale();
    sale.dead_letters = 1;
    sale.dead_letter_units = 2;
    sale.log_accepted_orders = 4;
    sale.log_accepted_units = 6;
    EXPECT_THAT(judge_one(sale, {}, {{kSale, 4}}).violations, IsEmpty());
    EXPECT_THAT(judge_one(sale, {}, {{kSale, 6}}).violations,
                ElementsAre(HasSubstr("the inventory has 6 units left, the books say 4")));
    sale.sale.terms.stock = 5;
    EXPECT_THAT(judge_one(sale).violations, ElementsAre(HasSubstr("oversold: 6 units")));
}

struct Fault {
    const char* name;
    void (*break_it)(SaleBooks&);
    const char* violation;
};

class JudgeFault : public testing::TestWithParam<Fault> {};

TEST_P(JudgeFault, IsReportedAloneAndInWords) {
    SaleBooks sale = quiet_sale();
    GetParam().break_it(sale);
    const SaleAudit row = judge_one(sale);
    EXPECT_FALSE(row.balanced());
    EXPECT_THAT(row.violations, ElementsAre(HasSubstr(GetParam().violation)));
}

INSTANTIATE_TEST_SUITE_P(
    InTheStore, JudgeFault,
    testing::Values(Fault{"oversold", [](SaleBooks& sale) { sale.sale.terms.stock = 3; },
                          "oversold: 4 units of a stock of 3"},
                    Fault{"the_row_lost_a_unit", [](SaleBooks& sale) { sale.sale.sold = 3; },
                          "the sale's row says 3 units sold, its live orders 4"},
                    Fault{"the_row_leaked_a_unit", [](SaleBooks& sale) { sale.sale.sold = 5; },
                          "the sale's row says 5 units sold, its live orders 4"},
                    Fault{"an_accepted_order_is_missing",
                          [](SaleBooks& sale) {
                              sale.log_accepted_orders = 4;
                              sale.log_accepted_units = 5;
                          },
                          "the log accepted 4 orders of 5 units, the store has 3 of 4"},
                    Fault{"an_order_that_no_log_accepted",
                          [](SaleBooks& sale) { sale.log_accepted_orders = 2; },
                          "the log accepted 2 orders"},
                    Fault{"units_changed_on_the_way",
                          [](SaleBooks& sale) { sale.log_accepted_units = 6; },
                          "the log accepted 3 orders of 6 units"},
                    Fault{"a_dead_letter_that_the_log_does_not_know",
                          [](SaleBooks& sale) { sale.dead_letters = 1; }, "1 dead letters"},
                    Fault{"refused_orders",
                          [](SaleBooks& sale) {
                              sale.orders[index_of(OrderStatus::refused)] = 2;
                              sale.units[index_of(OrderStatus::refused)] = 3;
                              sale.log_accepted_orders = 5;
                              sale.log_accepted_units = 7;
                          },
                          "refused 2 orders that buyers had been promised"},
                    Fault{"void_orders", [](SaleBooks& sale) { sale.voided_orders = 2; },
                          "2 orders of the log were void"},
                    Fault{"a_user_over_the_limit",
                          [](SaleBooks& sale) {
                              sale.over_limit.push_back({"greedy", 3});
                          },
                          "user 'greedy' holds 3 units, the limit is 2"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Judge, TakesVoidOrdersOfASharedLogForTheFenceAtWork) {
    Books books;
    books.sales = {quiet_sale()};
    books.sales[0].voided_orders = 2;
    EXPECT_TRUE(judge(books, {}, {}, LogWriters::several).front().balanced());
    EXPECT_FALSE(judge(books, {}, {}, LogWriters::one).front().balanced());
}

TEST(Judge, FindsAUnitThatLeakedOutOfTheInventory) {
    EXPECT_THAT(judge_one(quiet_sale(), {}, {{kSale, 5}}).violations,
                ElementsAre(HasSubstr("the inventory has 5 units left, the books say 6")));
    EXPECT_THAT(judge_one(quiet_sale(), {order_of("x", 1)}, {{kSale, 6}}).violations,
                ElementsAre(HasSubstr("the inventory has 6 units left, the books say 5")));
}

TEST(Judge, FindsAUserOverTheLimitInTheTail) {
    const std::vector<LogRecord> tail = {order_of("x", 1), order_of("y", 1), order_of("x", 2)};
    EXPECT_THAT(judge_one(quiet_sale(), tail).violations,
                ElementsAre(HasSubstr("user 'x' has 3 units queued, the limit is 2")));
}

TEST(Judge, FindsATailThatOversells) {
    std::vector<LogRecord> tail;
    for (int i = 0; i < 7; ++i) tail.push_back(order_of("user " + std::to_string(i), 1));
    EXPECT_THAT(judge_one(quiet_sale(), tail).violations,
                ElementsAre(HasSubstr("oversold: 11 units of a stock of 10")));
}

TEST(Judge, ReportsEachSaleForItself) {
    Books books;
    books.sales = {quiet_sale(), quiet_sale()};
    books.sales[1].sale.terms.no = SaleNo(4);
    books.sales[1].sale.terms.id = "broken";
    books.sales[1].sale.sold = 0;
    books.sales[1].units[index_of(OrderStatus::confirmed)] = 3;
    const std::map<SaleNo, InventoryCount> inventory = {{SaleNo(4), {10, kNext, 1, 0}}};
    const auto rows = judge(books, {}, inventory);
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_TRUE(rows[0].balanced());
    EXPECT_FALSE(rows[0].inventory_remaining);
    EXPECT_FALSE(rows[1].balanced());
    EXPECT_EQ(rows[1].inventory_remaining, 10);
}

TEST(ReaderBooks, ReadsFromThePositionToTheEndOrToTheLastOneWanted) {
    fixture::FakeOrderLog log;
    for (int i = 0; i < 10; ++i) {
        const std::string user = std::to_string(i);
        ASSERT_TRUE(
            log.enqueue({LogRecordKind::order, kSale, kOpen, {}, 1, user, "", kOnlyPartition}));
    }
    ReaderBooks books(log);
    const auto users = [](const Result<std::vector<AuditTail::Entry>>& entries) {
        std::string all;
        if (entries) {
            for (const auto& entry : *entries) all += entry.record.user;
        }
        return all;
    };
    EXPECT_EQ(users(books.read(LogPosition(4), log.end())), "3456789");
    EXPECT_EQ(users(books.read(LogPosition(4), LogPosition(7))), "345");
    EXPECT_EQ(users(books.read(LogPosition(7), LogPosition(7))), "");
    EXPECT_EQ(users(books.read(LogPosition(11), log.end())), "");
    log.fail_reads({make_error_code(Errc::corrupt), ""});
    EXPECT_TRUE(books.read(LogPosition(1), log.end()).error().is(Errc::corrupt));
}

} // namespace
} // namespace doorbuster
