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
using fixture::ScratchStore;
using fixture::StoreTest;
using fixture::terms;

const std::optional<OrderStore::ChangeKey> kNoKey;
const JournalNote kNote{"tester", "edited"};

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

class StoredSales : public StoreTest {};
INSTANTIATE_TEST_SUITE_P(In, StoredSales, testing::ValuesIn(fixture::kAllDialects),
                         fixture::suffix_of);

TEST_P(StoredSales, KeepEveryTerm) {
    const ScratchStore file(GetParam());
    SaleTerms full = full_terms();
    {
        const auto store = file.open();
        const auto made = store->create_sale(full, "as", "tester");
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

TEST_P(StoredSales, AreCreatedOnceForOneRequest) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    const auto first = store->create_sale(terms("s", 5), "request", "tester");
    const auto again = store->create_sale(terms("s", 5), "request", "tester");
    ASSERT_TRUE(first && again);
    EXPECT_TRUE(first->second);
    EXPECT_FALSE(again->second);
    EXPECT_EQ(first->first.terms, again->first.terms);
    const auto other = store->create_sale(terms("s", 6), "another request", "tester");
    ASSERT_FALSE(other.has_value());
    EXPECT_TRUE(other.error().is(Errc::conflict));
    EXPECT_EQ(store->find_sale("s")->terms.stock, 5);
}

TEST_P(StoredSales, AreCreatedOnceByRequestsAtTheSameTime) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    std::array<std::future<Result<std::pair<StoredSale, bool>>>, 4> calls;
    for (auto& call : calls) {
        call = std::async(std::launch::async, [&store] {
            return store->create_sale(terms("s", 5), "request", "tester");
        });
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

TEST_P(StoredSales, AreListedByIdInPages) {
    const ScratchStore file(GetParam());
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

TEST_P(StoredSales, ChangeWithANewVersion) {
    const ScratchStore file(GetParam());
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
        kNoKey, kNote);
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
        kNoKey, kNote);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(back->terms.version, 3);
    EXPECT_FALSE(store->find_sale("s")->terms.ends_at.has_value());
    EXPECT_FALSE(store->find_sale("s")->terms.price.has_value());
}

TEST_P(StoredSales, KeepTheirVersionWhenNothingChanges) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    add_sale(*store, "s", 5);
    EXPECT_EQ(store->change_sale("s", add_stock(0), kNoKey, kNote)->terms.version, 1);
    EXPECT_EQ(store->find_sale("s")->terms.version, 1);
}

TEST_P(StoredSales, StayAsTheyAreWhenAChangeIsRefused) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    add_sale(*store, "s", 5);
    const auto refused = store->change_sale(
        "s",
        [](StoredSale& sale) -> Result<void> {
            sale.terms.stock = 100;
            return fail(Errc::wrong_state, "no");
        },
        OrderStore::ChangeKey{"k", "r"}, kNote);
    ASSERT_FALSE(refused.has_value());
    EXPECT_TRUE(refused.error().is(Errc::wrong_state));
    EXPECT_EQ(store->find_sale("s")->terms.stock, 5);
    // The refusal has not bound the key.
    EXPECT_EQ(store->change_sale("s", add_stock(1), OrderStore::ChangeKey{"k", "other"}, kNote)
                  ->terms.stock,
              6);
    const auto nobody = store->change_sale("none", add_stock(1), kNoKey, kNote);
    ASSERT_FALSE(nobody.has_value());
    EXPECT_TRUE(nobody.error().is(Errc::not_found));
}

TEST_P(StoredSales, ChangeOnceUnderAKey) {
    const ScratchStore file(GetParam());
    const OrderStore::ChangeKey key{"k1", "restock 5"};
    {
        const auto store = file.open();
        add_sale(*store, "s", 5);
        add_sale(*store, "other", 5);
        EXPECT_EQ(store->change_sale("s", add_stock(5), key, kNote)->terms.stock, 10);
        EXPECT_EQ(store->change_sale("s", add_stock(5), key, kNote)->terms.stock, 10);
    }
    const auto store = file.open();
    const auto again = store->change_sale("s", add_stock(5), key, kNote);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->terms.stock, 10) << "not after a restart either";
    EXPECT_EQ(again->terms.version, 2);
    const auto other =
        store->change_sale("s", add_stock(6), OrderStore::ChangeKey{"k1", "restock 6"}, kNote);
    ASSERT_FALSE(other.has_value());
    EXPECT_TRUE(other.error().is(Errc::conflict));
    EXPECT_EQ(store->find_sale("s")->terms.stock, 10);
    // Keys are a sale's own.
    EXPECT_EQ(store->change_sale("other", add_stock(1), key, kNote)->terms.stock, 6);
}

TEST_P(StoredSales, LoseNoChangeOfManyAtTheSameTime) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    add_sale(*store, "s", 0);
    std::array<std::future<void>, 4> callers;
    for (auto& caller : callers) {
        caller = std::async(std::launch::async, [&store] {
            for (int i = 0; i < 10; ++i) {
                const auto changed = store->change_sale("s", add_stock(1), kNoKey, kNote);
                EXPECT_TRUE(changed.has_value()) << changed.error().message();
            }
        });
    }
    for (auto& caller : callers) caller.get();
    EXPECT_EQ(store->find_sale("s")->terms.stock, 40);
    EXPECT_EQ(store->find_sale("s")->terms.version, 41);
}

TEST_P(StoredSales, RememberTheHighestLimitTheyEverHad) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    add_sale(*store, "s", 10, 2);
    for (const Units limit : {5, 1, 3}) {
        const auto set_limit = [limit](StoredSale& sale) -> Result<void> {
            sale.terms.per_user_limit = limit;
            return {};
        };
        ASSERT_TRUE(store->change_sale("s", set_limit, kNoKey, kNote).has_value());
    }
    EXPECT_EQ(store->find_sale("s")->terms.per_user_limit, 3);
    EXPECT_EQ(books_of(*store, "s").per_user_limit_ever, 5);
}

TEST_P(StoredSales, OpenEpochsOfTheirOwn) {
    const ScratchStore file(GetParam());
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

std::vector<JournalEntry> journal_of(OrderStore& store, const std::string& id) {
    const auto entries = store.journal(store.find_sale(id)->terms.no, 0, 1'000);
    EXPECT_TRUE(entries.has_value());
    return entries ? *entries : std::vector<JournalEntry>();
}

// What a journal says was done, in its order.
std::vector<std::string> whats(const std::vector<JournalEntry>& journal) {
    std::vector<std::string> all;
    for (const JournalEntry& entry : journal) all.push_back(entry.what);
    return all;
}

class Journal : public StoreTest {};
INSTANTIATE_TEST_SUITE_P(In, Journal, testing::ValuesIn(fixture::kAllDialects), fixture::suffix_of);

TEST_P(Journal, BeginsWithAllTheTermsOfANewSale) {
    const ScratchStore file(GetParam());
    const auto before = SystemClock().now();
    {
        const auto store = file.open();
        ASSERT_TRUE(store->create_sale(full_terms(), "as", "anna"));
        ASSERT_TRUE(store->create_sale(full_terms(), "as", "berta")); // the same again
        EXPECT_FALSE(store->create_sale(full_terms(), "not as", "carla"));
    }
    const auto store = file.open();
    const auto journal = journal_of(*store, "full");
    ASSERT_EQ(journal.size(), 1U);
    EXPECT_EQ(journal[0].who, "anna");
    EXPECT_EQ(journal[0].what, "created");
    EXPECT_EQ(journal[0].before, "{}");
    EXPECT_EQ(journal[0].after, changed_terms(nullptr, full_terms()).second);
    EXPECT_NE(journal[0].after.find(R"("payment_timeout_s":90)"), std::string::npos);
    EXPECT_GE(journal[0].at, before);
    EXPECT_LE(journal[0].at, SystemClock().now());
}

TEST_P(Journal, SaysWhatEachChangeChanged) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    add_sale(*store, "s", 5);
    const auto pause = [](StoredSale& sale) -> Result<void> {
        sale.terms.paused = true;
        return {};
    };
    ASSERT_TRUE(store->change_sale("s", add_stock(2), kNoKey, {"anna", "restocked"}));
    ASSERT_TRUE(store->change_sale("s", pause, kNoKey, {"b\"e'rta", "paused"}));
    const auto journal = journal_of(*store, "s");
    EXPECT_EQ(whats(journal), (std::vector<std::string>{"created", "restocked", "paused"}));
    ASSERT_EQ(journal.size(), 3U);
    EXPECT_EQ(journal[1].who, "anna");
    EXPECT_EQ(journal[1].before, R"({"stock":5})");
    EXPECT_EQ(journal[1].after, R"({"stock":7})");
    EXPECT_EQ(journal[2].who, "b\"e'rta");
    EXPECT_EQ(journal[2].before, R"({"paused":false})");
    EXPECT_EQ(journal[2].after, R"({"paused":true})");
}

TEST_P(Journal, LeavesOutWhatChangedNothingOrWasRefused) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    add_sale(*store, "s", 5);
    const OrderStore::ChangeKey key{"k1", "restock 5"};
    ASSERT_TRUE(store->change_sale("s", add_stock(0), kNoKey, kNote));
    ASSERT_TRUE(store->change_sale("s", add_stock(5), key, {"anna", "restocked"}));
    ASSERT_TRUE(store->change_sale("s", add_stock(5), key, {"berta", "restocked"}));
    const auto refuse = [](StoredSale& sale) -> Result<void> {
        sale.terms.paused = true;
        return fail(Errc::wrong_state, "no");
    };
    EXPECT_FALSE(store->change_sale("s", refuse, kNoKey, {"carla", "paused"}));
    const auto journal = journal_of(*store, "s");
    EXPECT_EQ(whats(journal), (std::vector<std::string>{"created", "restocked"}));
    EXPECT_EQ(journal.back().who, "anna");
}

TEST_P(Journal, IsReadPageByPageAndSaleBySale) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    const SaleNo a = add_sale(*store, "a", 5);
    const SaleNo b = add_sale(*store, "b", 5);
    for (int i = 0; i < 5; ++i) {
        for (const char* id : {"a", "b"}) {
            ASSERT_TRUE(store->change_sale(id, add_stock(1), kNoKey, {id, "restocked"}));
        }
    }
    std::vector<JournalEntry> paged;
    for (std::int64_t after = 0;;) {
        const auto page = store->journal(a, after, 4);
        ASSERT_TRUE(page);
        if (page->empty()) break;
        EXPECT_LE(page->size(), 4U);
        paged.insert(paged.end(), page->begin(), page->end());
        after = page->back().seq;
    }
    ASSERT_EQ(paged.size(), 6U);
    for (std::size_t i = 1; i < paged.size(); ++i) {
        EXPECT_EQ(paged[i].who, "a");
        EXPECT_LT(paged[i - 1].seq, paged[i].seq);
        EXPECT_EQ(paged[i].after, "{\"stock\":" + std::to_string(5 + i) + "}");
    }
    EXPECT_EQ(store->journal(b, 0, 1'000)->size(), 6U);
    EXPECT_TRUE(store->journal(SaleNo(99), 0, 1'000)->empty());
}

class Changes : public StoreTest {};
INSTANTIATE_TEST_SUITE_P(In, Changes, testing::ValuesIn(fixture::kAllDialects), fixture::suffix_of);

TEST_P(Changes, AreFoundByTheirKey) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    const SaleNo no = add_sale(*store, "s", 5);
    const OrderStore::ChangeKey key{"k1", restock_text(5)};
    ASSERT_TRUE(store->change_sale("s", add_stock(5), key, kNote));
    EXPECT_EQ(store->find_change(no, "k1").value(), "restock 5");
    for (const auto& nothing :
         {store->find_change(no, "k2"), store->find_change(SaleNo(9), "k1")}) {
        ASSERT_FALSE(nothing.has_value());
        EXPECT_TRUE(nothing.error().is(Errc::not_found));
    }
}

// The n-th withdrawal of a sale that was never rebuilt.
LogRecord withdrawal(SaleNo sale, std::uint64_t n, Units units, const std::string& key = "") {
    LogRecord record;
    record.kind = LogRecordKind::withdraw;
    record.sale = sale;
    record.order = OrderId(sale, kNow + Duration(n), 0xffff, n);
    record.quantity = units;
    record.user = "anna";
    record.key = key;
    return record;
}

class Withdrawals : public StoreTest {};
INSTANTIATE_TEST_SUITE_P(In, Withdrawals, testing::ValuesIn(fixture::kAllDialects),
                         fixture::suffix_of);

TEST_P(Withdrawals, LowerTheStockAndAreInTheJournal) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo no = add_sale(*store, "s", 5);
    const LogRecord first = withdrawal(no, 1, 2);
    EXPECT_FALSE(store->is_withdrawn(first.order).value());
    ASSERT_TRUE(fixture::apply_next(*store, {first}));
    EXPECT_TRUE(store->is_withdrawn(first.order).value());
    const auto sale = store->find_sale("s");
    EXPECT_EQ(sale->terms.stock, 3);
    EXPECT_EQ(sale->terms.version, 2);
    const auto journal = journal_of(*store, "s");
    ASSERT_EQ(whats(journal), (std::vector<std::string>{"created", "restocked"}));
    EXPECT_EQ(journal[1].who, "anna");
    EXPECT_EQ(journal[1].before, R"({"stock":5})");
    EXPECT_EQ(journal[1].after, R"({"stock":3})");
}

TEST_P(Withdrawals, HappenOnceUnderAKey) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo no = add_sale(*store, "s", 9);
    const LogRecord first = withdrawal(no, 1, 2, "k");
    const LogRecord again = withdrawal(no, 2, 2, "k");
    const LogRecord other = withdrawal(no, 3, 3, "k");
    ASSERT_TRUE(fixture::apply_next(*store, {first, again, other}));
    EXPECT_EQ(store->find_sale("s")->terms.stock, 7);
    EXPECT_EQ(store->find_change(no, "k").value(), restock_text(-2));
    for (const LogRecord& record : {first, again, other}) {
        EXPECT_TRUE(store->is_withdrawn(record.order).value()) << "its caller need not wait";
    }
    EXPECT_EQ(journal_of(*store, "s").size(), 2U);
    // The key is bound for raising, too.
    const OrderStore::ChangeKey key{"k", restock_text(2)};
    const auto raised = store->change_sale("s", add_stock(2), key, kNote);
    ASSERT_FALSE(raised.has_value());
    EXPECT_TRUE(raised.error().is(Errc::conflict));
}

TEST_P(Withdrawals, NeverTakeWhatIsSold) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo no = add_sale(*store, "s", 5);
    const LogRecord wanted = withdrawal(no, 9, 3, "k");
    ASSERT_TRUE(fixture::apply_next(*store, {fixture::order(no, 1, 3), wanted}));
    EXPECT_EQ(store->find_sale("s")->terms.stock, 5);
    EXPECT_FALSE(store->is_withdrawn(wanted.order).value());
    EXPECT_EQ(journal_of(*store, "s").size(), 1U);
    // The key is free for another try.
    EXPECT_FALSE(store->find_change(no, "k").has_value());
    ASSERT_TRUE(fixture::apply_next(*store, {withdrawal(no, 10, 2, "k")}));
    EXPECT_EQ(store->find_sale("s")->terms.stock, 3);
}

} // namespace
} // namespace doorbuster::sql
