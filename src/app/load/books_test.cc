#include "app/load/books.h"

#include <gtest/gtest.h>

namespace doorbuster::load {
namespace {

constexpr const char* kTime = "2026-11-27T09:00:00.000Z";

SaleFacts sale(Units stock, Units remaining, Units limit = 1) {
    return {.stock = stock, .remaining = remaining, .per_user_limit = limit};
}

std::vector<std::string> closed(Books& books, const SaleFacts& after, Units sold_out = 0) {
    return books.close({.sale = after, .seconds = 1, .sold_out_quantity_min = sold_out});
}

TEST(Books, BalanceWhenEveryUnitWasSoldOnce) {
    Books books({.sale = sale(2, 2)});
    EXPECT_EQ(books.accepted(1, 1, "a", kTime).complaint, "");
    EXPECT_TRUE(books.accepted(2, 1, "b", kTime).is_new);
    EXPECT_EQ(books.limit_reached(1, 1, "a"), "");
    EXPECT_EQ(books.units(), 2);
    EXPECT_TRUE(closed(books, sale(2, 0), 1).empty());
}

TEST(Books, SeeOneOrderGivenTwice) {
    Books books({.sale = sale(5, 5)});
    EXPECT_EQ(books.accepted(1, 1, "a", kTime).complaint, "");
    EXPECT_NE(books.accepted(2, 1, "a", kTime).complaint, "");
}

TEST(Books, SeeABuyerBeyondTheLimit) {
    Books books({.sale = sale(50, 50, 3)});
    EXPECT_EQ(books.accepted(1, 2, "a", kTime).complaint, "");
    EXPECT_EQ(books.accepted(1, 1, "b", kTime).complaint, "");
    EXPECT_NE(books.accepted(1, 1, "c", kTime).complaint, "");
}

TEST(Books, SeeAnOversoldSaleAlsoWhenTheServerHidesIt) {
    Books open({.sale = sale(1, 1)});
    (void)open.accepted(1, 1, "a", kTime);
    (void)open.accepted(2, 1, "b", kTime);
    EXPECT_EQ(closed(open, sale(1, 0)).size(), 2U);

    // Ten of twelve were sold before: two more than were left, and still fewer than the stock.
    Books hidden({.sale = sale(12, 2)});
    for (const auto& [buyer, id] : {std::pair{1U, "a"}, std::pair{2U, "b"}, std::pair{3U, "c"}}) {
        (void)hidden.accepted(buyer, 1, id, kTime);
    }
    EXPECT_EQ(closed(hidden, sale(12, 0)).size(), 1U);
    // Stock that was added meanwhile explains it.
    EXPECT_TRUE(closed(hidden, sale(14, 1)).empty());
}

TEST(Books, SeeASoldOutThatWasNotTrue) {
    Books books({.sale = sale(10, 10)});
    (void)books.accepted(1, 1, "a", kTime);
    EXPECT_EQ(closed(books, sale(10, 9), 1).size(), 1U);
    // Fewer were left than asked for: true.
    EXPECT_TRUE(closed(books, sale(10, 9), 10).empty());
    // After a lost answer a hold may have been given back: nothing can be said.
    EXPECT_TRUE(books
                    .close({.sale = sale(10, 9),
                            .seconds = 1,
                            .is_undisturbed = false,
                            .sold_out_quantity_min = 1})
                    .empty());
}

TEST(Books, BelieveStockThatReturnsOnlyWherePaymentsExpire) {
    SaleFacts facts = sale(1, 1);
    facts.payment_timeout_s = 2;
    Books books({.sale = facts});
    (void)books.accepted(1, 1, "a", kTime);
    (void)books.accepted(2, 1, "b", kTime);
    EXPECT_TRUE(books.close({.sale = facts, .seconds = 3}).empty());
    EXPECT_FALSE(books.close({.sale = facts, .seconds = 1}).empty());
}

TEST(Books, SeeALimitThatNoOrderExplains) {
    Books books({.sale = sale(10, 10, 3)});
    EXPECT_EQ(books.limit_reached(1, 1, ""), "");
    EXPECT_EQ(books.limit_reached(2, 4, ""), ""); // more than the limit at once
    EXPECT_EQ(books.limit_reached(3, 2, ""), "");
    EXPECT_EQ(books.limit_reached(4, 1, ""), "");
    (void)books.accepted(3, 2, "a", kTime); // its answer came later than the refusal
    books.outcome_unknown(4);
    EXPECT_EQ(closed(books, sale(10, 8)).size(), 1U);

    // Someone has bought before this run: our buyers may have been among them.
    Books later({.sale = sale(10, 9)});
    EXPECT_EQ(later.limit_reached(1, 1, ""), "");
    EXPECT_TRUE(closed(later, sale(10, 9)).empty());
}

TEST(Books, SeeABuyerWhoIsShownAnotherBuyersOrder) {
    Books books({.sale = sale(10, 10)});
    (void)books.accepted(1, 1, "a", kTime);
    (void)books.accepted(2, 1, "b", kTime);
    EXPECT_NE(books.limit_reached(1, 1, "b"), "");
    EXPECT_EQ(books.limit_reached(1, 1, "a"), "");
}

TEST(BooksWithKeys, TakeReplaysBeforeAndAfterTheOrderItself) {
    Books books({.sale = sale(10, 10), .keys = true});
    EXPECT_FALSE(books.is_bound(1));
    EXPECT_FALSE(books.replayed(1, 1, "a", kTime).is_new);
    EXPECT_TRUE(books.is_bound(1));
    EXPECT_TRUE(books.accepted(1, 1, "a", kTime).is_new);
    EXPECT_FALSE(books.replayed(1, 1, "a", kTime).is_new);
    EXPECT_EQ(books.units(), 1);
    EXPECT_TRUE(closed(books, sale(10, 9)).empty());
}

TEST(BooksWithKeys, SeeAnotherAnswerUnderTheKey) {
    Books books({.sale = sale(10, 10), .keys = true});
    EXPECT_EQ(books.accepted(1, 1, "a", kTime).complaint, "");
    EXPECT_NE(books.replayed(1, 1, "b", kTime).complaint, "");
    EXPECT_NE(books.replayed(1, 1, "a", "2026-11-27T09:00:01.000Z").complaint, "");
    EXPECT_NE(books.accepted(1, 1, "b", kTime).complaint, "");
    EXPECT_NE(books.accepted(1, 1, "a", kTime).complaint, "");
    EXPECT_NE(books.limit_reached(1, 1, ""), "");
}

TEST(BooksWithKeys, CountAReplayAfterALostAnswerAsTheOrder) {
    Books books({.sale = sale(10, 10), .keys = true});
    books.outcome_unknown(1);
    EXPECT_FALSE(books.is_bound(1));
    const auto entry = books.replayed(1, 1, "a", kTime);
    EXPECT_TRUE(entry.is_new);
    EXPECT_EQ(entry.complaint, "");
    // The order's own answer, late, to another attempt of the same buyer.
    const auto late = books.accepted(1, 1, "a", kTime);
    EXPECT_FALSE(late.is_new);
    EXPECT_EQ(late.complaint, "");
    EXPECT_EQ(books.units(), 1);
    EXPECT_TRUE(closed(books, sale(10, 9)).empty());
}

TEST(BooksWithKeys, SeeAReplayWithoutAnOrderOnAFreshSaleOnly) {
    Books fresh({.sale = sale(10, 10), .keys = true});
    EXPECT_EQ(fresh.replayed(1, 1, "a", kTime).complaint, "");
    EXPECT_EQ(closed(fresh, sale(10, 9)).size(), 1U);

    Books second_run({.sale = sale(10, 9), .keys = true});
    EXPECT_EQ(second_run.replayed(1, 1, "a", kTime).complaint, "");
    EXPECT_TRUE(closed(second_run, sale(10, 9)).empty());
}

} // namespace
} // namespace doorbuster::load
