// Texts that a database, or what stands between it and us, might take for something else.
#include <gtest/gtest.h>

#include "adapters/sql/dead_letter_row.h"
#include "adapters/sql/store_fixture.h"
#include "engine/audit.h"

namespace doorbuster::sql {
namespace {

using namespace fixture;

class HostileTexts : public StoreTest {};
INSTANTIATE_TEST_SUITE_P(In, HostileTexts, testing::ValuesIn(kAllDialects), suffix_of);

std::string repeated(const std::string& text, std::size_t times) {
    std::string out;
    for (std::size_t i = 0; i < times; ++i) out += text;
    return out;
}

// All of them user ids that the contract allows.
std::vector<std::string> hostile_users() {
    return {"NULL",
            "null",
            "{}",
            "{a,b}",
            "a,b",
            "\"quoted\"",
            "'quoted'",
            "back\\slash",
            "\\",
            "\\\"",
            "\\'",
            "''",
            "\\N",
            "\\x41",
            "\\u0041",
            ":id",
            "::text",
            "$1",
            "%s",
            "?",
            "a--b",
            "/*a*/",
            "a;b",
            "$.id",
            "$[*]",
            "'; DROP TABLE orders; --",
            "\xc3\xa4",
            "a\xcc\x88", // the same to the eye
            "Anna",
            "anna",
            "ANNA",
            "a\xc3\x9f"
            "e",
            "asse",
            "\xf0\x9f\x9b\x92",
            repeated("\xf0\x9f\x9b\x92", kUserIdMax)};
}

TEST_P(HostileTexts, ComeBackAsTheyWentAndAreToldApart) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound({"", 2, StoreMode::serve, nullptr, true});
    const SaleNo sale = add_sale(*store, "s", 1'000, 1);
    const std::vector<std::string> users = hostile_users();
    std::vector<LogRecord> records;
    for (std::size_t i = 0; i < users.size(); ++i) {
        LogRecord record = order(sale, i + 1);
        record.user = users[i];
        record.key = users[i] + " "; // a space at the end is part of a key
        if (i + 1 == users.size()) record.key = repeated("\xf0\x9f\x9b\x92", kIdempotencyKeyMax);
        records.push_back(record);
    }
    const auto report = apply_next(*store, records);
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed, users.size());
    for (const LogRecord& record : records) {
        const auto stored = store->find_order(record.order);
        ASSERT_TRUE(stored.has_value());
        EXPECT_EQ(stored->user, record.user);
        EXPECT_EQ(stored->key, record.key);
        OrderFilter filter;
        filter.user = record.user;
        const auto page = store->list_orders(sale, filter, {}, 100);
        ASSERT_TRUE(page.has_value());
        ASSERT_EQ(page->orders.size(), 1U) << record.user;
        EXPECT_EQ(page->orders[0].id, record.order);
        const OrderChange cancel{record.order, OrderAction::cancel, ""};
        static_cast<void>(store->change_orders(std::span(&cancel, 1)));
    }
    EXPECT_TRUE(books_of(*store, "s").over_limit.empty()) << "no two of them are one buyer";
    Snapshot snapshot;
    ASSERT_TRUE(store->read_snapshot({}, kNow, snapshot));
    for (std::size_t i = 0; i < records.size(); ++i) {
        EXPECT_EQ(snapshot.lines[0][i].user, records[i].user);
        EXPECT_EQ(snapshot.lines[0][i].key, records[i].key);
    }
}

TEST_P(HostileTexts, AreKeptInPaymentsSalesAndTheirChanges) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    int i = 0;
    for (const std::string& text : hostile_users()) {
        SaleTerms sale = terms("s" + std::to_string(++i), 5);
        sale.title = text;
        sale.payment_timeout = Duration(60'000);
        const auto made = store->create_sale(sale, text, text);
        ASSERT_TRUE(made.has_value()) << made.error().message();
        EXPECT_EQ(store->find_sale(sale.id)->terms.title, text);
        const SaleNo no = made->first.terms.no;
        const auto add = [](StoredSale& stored) -> Result<void> {
            ++stored.terms.stock;
            return {};
        };
        const OrderStore::ChangeKey key{text, text};
        ASSERT_TRUE(store->change_sale(sale.id, add, key, {text, text}).has_value());
        EXPECT_EQ(store->find_change(no, text).value(), text);
        EXPECT_FALSE(store->find_change(no, text + " ").has_value());
        EXPECT_EQ(store->journal(no, 0, 10)->back().who, text);
        ASSERT_TRUE(apply_next(*store, {order(no, 1)}));
        const OrderChange pay{order(no, 1).order, OrderAction::pay, text};
        ASSERT_TRUE(store->change_orders(std::span(&pay, 1)).has_value());
        EXPECT_EQ(store->find_order(order(no, 1).order)->payment_ref, text);
    }
}

// No serving node writes such a record. If one is in the log all the same, it blocks nobody.
TEST_P(HostileTexts, ThatNoDatabaseTakesAreSetAsideOrStored) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 100);
    std::vector<LogRecord> records;
    for (std::uint64_t n = 1; n <= 8; ++n) records.push_back(order(sale, n));
    records[1].user = std::string("a\0b", 3);
    records[2].key = std::string("\0", 1);
    records[3].user = "\xff\xfe";
    records[4].key = "\xed\xa0\x80"; // a surrogate
    records[5].user = std::string(60'000, 'x');
    records[6].user = "\xc3";
    const auto report = apply_next(*store, records);
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed + report->dead_letters, records.size());
    EXPECT_GE(report->confirmed, 2U);
    for (const std::size_t good : {0U, 7U}) {
        EXPECT_EQ(store->find_order(records[good].order)->status, OrderStatus::confirmed);
    }
    for (const LogRecord& record : records) EXPECT_TRUE(store->find_order(record.order));
    const SaleBooks books = books_of(*store, "s");
    EXPECT_EQ(books.log_accepted_orders, 8);
    const auto all = store->books({});
    for (const SaleAudit& row : judge(*all, {}, {})) EXPECT_TRUE(row.violations.empty());
    const auto again = apply_next(*store, records);
    ASSERT_TRUE(again.has_value()) << again.error().message();
    EXPECT_EQ(again->duplicates, records.size());
}

TEST(StorableText, KeepsWhatIsUtf8AndSpellsOutTheRest) {
    for (const std::string& text : hostile_users()) EXPECT_EQ(storable_text(text), text);
    EXPECT_EQ(storable_text(std::string("a\0b", 3)), "a%00b");
    EXPECT_EQ(storable_text("\xff"
                            "a\xc3"),
              "%ffa%c3");
    EXPECT_EQ(storable_text("\xed\xa0\x80"), "%ed%a0%80");
    EXPECT_EQ(storable_text("\xc0\x80\xf5"), "%c0%80%f5");
}

} // namespace
} // namespace doorbuster::sql
