// The sales of the order store.
#include <array>
#include <future>
#include <gtest/gtest.h>

#include "adapters/sql/store_fixture.h"

namespace doorbuster::sql {
namespace {

using fixture::add_sale;
using fixture::books_of;
using fixture::kNow;
using fixture::ScratchFile;
using fixture::terms;

const std::optional<OrderStore::ChangeKey> kNoKey;

OrderStore::TermsChange add_stock(Units add) {
    return [add](StoredSale& sale) -> Result<void> {
        sale.terms.stock += add;
        return {};
    };
}

SaleTerms full_terms() {
    SaleTerms full = terms("full", 12, 3);
    full.title = "T\xc3\xbctle 'with' \"quotes\"";
    full.starts_at = kNow - Duration(1);
    full.ends_at = kNow + Duration(86'400'123);
    full.price = kPriceMax;
    full.currency = "EUR";
    full.payment_timeout = Duration(90'000);
    full.paused = true;
    return full;
}

TEST(StoredSales, KeepEveryTerm) {
    const ScratchFile file;
    SaleTerms full = full_terms();
    {
        const auto store = file.open();
        const auto made = store->create_sale(full, "as");
        ASSERT_TRUE(made.has_value()) << made.error().message();
        EXPECT_TRUE(made->second);
        full.no = made->first.terms.no;
        EXPECT_EQ(made->first.terms, full);
        EXPECT_EQ(made->first.sold, 0);
        EXPECT_EQ(made->first.epoch, Epoch(0));
        add_sale(*store, "plain", 5);
    }
    const auto store = file.open();
    EXPECT_EQ(store->find_sale("full")->terms, full);
    const auto plain = store->find_sale("plain");
    EXPECT_FALSE(plain->terms.ends_at || plain->terms.price || plain->terms.currency ||
                 plain->terms.closed_at || plain->terms.paused);
    EXPECT_NE(plain->terms.no, full.no);
    const auto none = store->find_sale("nobody");
    ASSERT_FALSE(none.has_value());
    EXPECT_TRUE(none.error().is(Errc::not_found));
}

TEST(StoredSales, AreCreatedOnceForOneRequest) {
    const ScratchFile file;
    const auto store = file.open();
    const auto first = store->create_sale(terms("s", 5), "request");
    const auto again = store->create_sale(terms("s", 5), "request");
    ASSERT_TRUE(first && again);
    EXPECT_TRUE(first->second);
    EXPECT_FALSE(again->second);
    EXPECT_EQ(first->first.terms, again->first.terms);
    const auto other = store->create_sale(terms("s", 6), "another request");
    ASSERT_FALSE(other.has_value());
    EXPECT_TRUE(other.error().is(Errc::conflict));
    EXPECT_EQ(store->find_sale("s")->terms.stock, 5);
}

TEST(StoredSales, AreCreatedOnceByRequestsAtTheSameTime) {
    const ScratchFile file;
    const auto store = file.open();
    std::array<std::future<Result<std::pair<StoredSale, bool>>>, 4> calls;
    for (auto& call : calls) {
        call = std::async(std::launch::async,
                          [&store] { return store->create_sale(terms("s", 5), "request"); });
    }
    int made = 0;
    for (auto& call : calls) {
        const auto result = call.get();
        ASSERT_TRUE(result.has_value()) << result.error().message();
        made += result->second ? 1 : 0;
    }
    EXPECT_EQ(made, 1);
    EXPECT_EQ(store->list_sales("", 10)->size(), 1U);
}

TEST(StoredSales, AreListedByIdInPages) {
    const ScratchFile file;
    const auto store = file.open();
    for (const char* id : {"c", "a", "e", "b", "d"}) add_sale(*store, id, 1);
    const auto ids = [&store](const std::string& after, std::size_t limit) {
        std::string list;
        const auto page = store->list_sales(after, limit);
        for (const StoredSale& sale : *page) list += sale.terms.id;
        return list;
    };
    EXPECT_EQ(ids("", 100), "abcde");
    EXPECT_EQ(ids("", 2), "ab");
    EXPECT_EQ(ids("b", 2), "cd");
    EXPECT_EQ(ids("d", 2), "e");
    EXPECT_EQ(ids("e", 2), "");
}

TEST(StoredSales, ChangeWithANewVersion) {
    const ScratchFile file;
    const auto store = file.open();
    add_sale(*store, "s", 5);
    const auto changed = store->change_sale(
        "s",
        [](StoredSale& sale) -> Result<void> {
            const SaleTerms before = sale.terms;
            sale.terms = full_terms();
            sale.terms.no = before.no;
            sale.terms.id = before.id;
            sale.terms.version = before.version;
            sale.terms.closed_at = kNow;
            return {};
        },
        kNoKey);
    ASSERT_TRUE(changed.has_value()) << changed.error().message();
    EXPECT_EQ(changed->terms.version, 2);
    EXPECT_EQ(store->find_sale("s")->terms, changed->terms);
    EXPECT_EQ(changed->terms.closed_at, kNow);
    EXPECT_EQ(changed->terms.currency, "EUR");

    const auto back = store->change_sale(
        "s",
        [](StoredSale& sale) -> Result<void> {
            sale.terms.ends_at.reset();
            sale.terms.price.reset();
            sale.terms.currency.reset();
            return {};
        },
        kNoKey);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(back->terms.version, 3);
    EXPECT_FALSE(store->find_sale("s")->terms.ends_at.has_value());
    EXPECT_FALSE(store->find_sale("s")->terms.price.has_value());
}

TEST(StoredSales, KeepTheirVersionWhenNothingChanges) {
    const ScratchFile file;
    const auto store = file.open();
    add_sale(*store, "s", 5);
    EXPECT_EQ(store->change_sale("s", add_stock(0), kNoKey)->terms.version, 1);
    EXPECT_EQ(store->find_sale("s")->terms.version, 1);
}

TEST(StoredSales, StayAsTheyAreWhenAChangeIsRefused) {
    const ScratchFile file;
    const auto store = file.open();
    add_sale(*store, "s", 5);
    const auto refused = store->change_sale(
        "s",
        [](StoredSale& sale) -> Result<void> {
            sale.terms.stock = 100;
            return fail(Errc::wrong_state, "no");
        },
        OrderStore::ChangeKey{"k", "r"});
    ASSERT_FALSE(refused.has_value());
    EXPECT_TRUE(refused.error().is(Errc::wrong_state));
    EXPECT_EQ(store->find_sale("s")->terms.stock, 5);
    // The refusal has not bound the key.
    EXPECT_EQ(
        store->change_sale("s", add_stock(1), OrderStore::ChangeKey{"k", "other"})->terms.stock, 6);
    const auto nobody = store->change_sale("none", add_stock(1), kNoKey);
    ASSERT_FALSE(nobody.has_value());
    EXPECT_TRUE(nobody.error().is(Errc::not_found));
}

TEST(StoredSales, ChangeOnceUnderAKey) {
    const ScratchFile file;
    const OrderStore::ChangeKey key{"k1", "restock 5"};
    {
        const auto store = file.open();
        add_sale(*store, "s", 5);
        add_sale(*store, "other", 5);
        EXPECT_EQ(store->change_sale("s", add_stock(5), key)->terms.stock, 10);
        EXPECT_EQ(store->change_sale("s", add_stock(5), key)->terms.stock, 10);
    }
    const auto store = file.open();
    const auto again = store->change_sale("s", add_stock(5), key);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->terms.stock, 10) << "not after a restart either";
    EXPECT_EQ(again->terms.version, 2);
    const auto other =
        store->change_sale("s", add_stock(6), OrderStore::ChangeKey{"k1", "restock 6"});
    ASSERT_FALSE(other.has_value());
    EXPECT_TRUE(other.error().is(Errc::conflict));
    EXPECT_EQ(store->find_sale("s")->terms.stock, 10);
    // Keys are a sale's own.
    EXPECT_EQ(store->change_sale("other", add_stock(1), key)->terms.stock, 6);
}

TEST(StoredSales, LoseNoChangeOfManyAtTheSameTime) {
    const ScratchFile file;
    const auto store = file.open();
    add_sale(*store, "s", 0);
    std::array<std::future<void>, 4> callers;
    for (auto& caller : callers) {
        caller = std::async(std::launch::async, [&store] {
            for (int i = 0; i < 10; ++i) {
                const auto changed = store->change_sale("s", add_stock(1), kNoKey);
                EXPECT_TRUE(changed.has_value()) << changed.error().message();
            }
        });
    }
    for (auto& caller : callers) caller.get();
    EXPECT_EQ(store->find_sale("s")->terms.stock, 40);
    EXPECT_EQ(store->find_sale("s")->terms.version, 41);
}

TEST(StoredSales, RememberTheHighestLimitTheyEverHad) {
    const ScratchFile file;
    const auto store = file.open();
    add_sale(*store, "s", 10, 2);
    for (const Units limit : {5, 1, 3}) {
        const auto set_limit = [limit](StoredSale& sale) -> Result<void> {
            sale.terms.per_user_limit = limit;
            return {};
        };
        ASSERT_TRUE(store->change_sale("s", set_limit, kNoKey).has_value());
    }
    EXPECT_EQ(store->find_sale("s")->terms.per_user_limit, 3);
    EXPECT_EQ(books_of(*store, "s").per_user_limit_ever, 5);
}

TEST(StoredSales, OpenEpochsOfTheirOwn) {
    const ScratchFile file;
    const auto store = file.open();
    const SaleNo a = add_sale(*store, "a", 1);
    const SaleNo b = add_sale(*store, "b", 1);
    EXPECT_EQ(store->next_epochs({})->size(), 2U);
    const std::array<SaleNo, 1> only_b = {b};
    const auto opened = store->next_epochs(only_b);
    ASSERT_EQ(opened->size(), 1U);
    EXPECT_EQ(opened->front().terms.no, b);
    EXPECT_EQ(opened->front().epoch, Epoch(2));
    EXPECT_EQ(store->find_sale("a")->epoch, Epoch(1));
    EXPECT_EQ(store->find_sale("b")->epoch, Epoch(2));
    EXPECT_EQ(store->find_sale("b")->terms.version, 1) << "an epoch is no change of terms";
    const std::array<SaleNo, 2> with_unknown = {a, SaleNo(77)};
    const auto unknown = store->next_epochs(with_unknown);
    ASSERT_FALSE(unknown.has_value());
    EXPECT_TRUE(unknown.error().is(Errc::not_found));
    EXPECT_EQ(store->find_sale("a")->epoch, Epoch(1)) << "all or none";
}

} // namespace
} // namespace doorbuster::sql
