// What is SQLite's alone: upgrading an older file, and leaving files as they were.
#include <array>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <sqlite3.h>

#include "adapters/sql/order_store.h"
#include "adapters/sql/store_fixture.h"
#include "runtime/clock.h"

namespace doorbuster::sql {
namespace {

using fixture::add_sale;
using fixture::apply_next;
using fixture::kNow;
using fixture::order;
using fixture::ScratchStore;

// Behind the store's back.
void run_sql(const ScratchStore& file, const char* sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(file.path().c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database);
    sqlite3_close(database);
}

std::string bytes_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

// The sections of schema.sql before that of `version`.
std::string schema_before(int version) {
    const auto here = std::filesystem::path(__FILE__).parent_path();
    const std::string schema = bytes_of(here / "schema.sql");
    const auto end = schema.find("-- version: " + std::to_string(version) + "\n");
    EXPECT_NE(end, std::string::npos);
    return schema.substr(0, end);
}

// What version 1 wrote: a sale of ten with three orders, two of them with a payment to come, and
// one that could not be stored.
void make_version_1(const ScratchStore& file) {
    std::string sql = "PRAGMA journal_mode=WAL;" + schema_before(2) +
                      "INSERT INTO doorbuster_schema VALUES (1);"
                      "INSERT INTO order_log VALUES ('log-1', 5);"
                      "INSERT INTO sales (no, id, title, stock, sold, per_user_limit,"
                      " per_user_limit_ever, starts_at, payment_timeout_ms, paused, terms_version,"
                      " version, log_accepted_orders, log_accepted_units, created_as)"
                      " VALUES (1, 's', 'Title', 10, 6, 5, 5, 0, 1000, 0, 1, 1, 4, 7, 's');"
                      "INSERT INTO sale_changes VALUES (1, 'key', 'request');"
                      "INSERT INTO dead_letters VALUES ('" +
                      order(SaleNo(1), 4).order.text() + "', 1, 'user4', 1, '', 'cause');";
    for (std::uint64_t n = 1; n <= 3; ++n) {
        const LogRecord sold = order(SaleNo(1), n);
        const auto created_at = kNow.time_since_epoch().count() + static_cast<std::int64_t>(n);
        const std::string expires_at = n == 1 ? "NULL" : std::to_string(created_at + 1'000);
        sql += "INSERT INTO orders (id, sale_no, user_id, quantity, status, created_at,"
               " expires_at, idempotency_key) VALUES ('" +
               sold.order.text() + "', 1, '" + sold.user + "', " + std::to_string(n) + ", 2, " +
               std::to_string(created_at) + ", " + expires_at + ", '" + sold.key + "');";
    }
    run_sql(file, sql.c_str());
}

TEST(SqliteStore, UpgradesAStoreOfVersion1AndKeepsItsRows) {
    const ScratchStore file;
    make_version_1(file);
    ManualClock clock(kNow);
    for (int start = 1; start <= 2; ++start) { // the second finds nothing to upgrade
        auto store = SqlOrderStore::open({file.path(), 2, StoreMode::serve, &clock, true});
        ASSERT_TRUE(store.has_value()) << store.error().message();
        ASSERT_TRUE((*store)->adopt());
        EXPECT_EQ((*store)->log_binding()->log_id, "log-1");
        EXPECT_EQ((*store)->log_binding()->next.at(kOnlyPartition), LogPosition(5));
        EXPECT_EQ((*store)->find_change(SaleNo(1), "key"), "request");
        const SaleBooks books = fixture::books_of(**store, "s");
        EXPECT_EQ(books.sale.terms.stock, 10);
        EXPECT_EQ(books.sale.sold, 6);
        EXPECT_EQ(books.orders[static_cast<std::size_t>(OrderStatus::confirmed)], 3);
        EXPECT_EQ(books.units[static_cast<std::size_t>(OrderStatus::confirmed)], 6);
        EXPECT_EQ(books.dead_letter_units, 1);
        EXPECT_EQ(books.log_accepted_units, 7);
        EXPECT_EQ(books.give_backs, 0);
        EXPECT_TRUE((*store)->journal(SaleNo(1), 0, 10)->empty());
        const auto kept = (*store)->find_order(order(SaleNo(1), 2).order);
        ASSERT_TRUE(kept.has_value());
        EXPECT_EQ(kept->user, "user2");
        EXPECT_EQ(kept->key, "key2");
        EXPECT_EQ(kept->quantity, 2);
        EXPECT_EQ(kept->version, 1);
        EXPECT_EQ(kept->expires_at, kNow + Duration(1'002));
    }
    EXPECT_TRUE(SqlOrderStore::open({file.path(), 1, StoreMode::read_only}).has_value());
}

TEST(SqliteStore, GoesOnWithTheOrdersOfVersion1) {
    const ScratchStore file;
    make_version_1(file);
    ManualClock clock(kNow);
    auto opened = SqlOrderStore::open({file.path(), 2, StoreMode::serve, &clock, true});
    ASSERT_TRUE(opened.has_value()) << opened.error().message();
    SqlOrderStore& store = **opened;
    const auto id = [](std::uint64_t n) { return order(SaleNo(1), n).order; };
    const std::array<OrderChange, 2> pays = {
        {{id(1), OrderAction::pay, "p-1"}, {id(2), OrderAction::pay, "p-2"}}};
    const auto paid = store.change_orders(pays);
    ASSERT_TRUE(paid.has_value()) << paid.error().message();
    EXPECT_EQ(paid->changes[0].verdict, ChangeVerdict::refused) << "it was sold without a payment";
    EXPECT_EQ(paid->changes[1].verdict, ChangeVerdict::done);
    EXPECT_EQ(fixture::status_of(store, id(2)), OrderStatus::paid);

    EXPECT_EQ(store.expire_due(10)->next_due, kNow + Duration(1'003));
    clock.advance(Duration(1'003));
    const auto expired = store.expire_due(10);
    ASSERT_TRUE(expired.has_value()) << expired.error().message();
    ASSERT_EQ(expired->given_back.size(), 1U);
    EXPECT_EQ(expired->given_back[0].orders, std::vector<OrderId>{id(3)});
    EXPECT_EQ(fixture::status_of(store, id(3)), OrderStatus::expired);
    EXPECT_EQ(fixture::books_of(store, "s").sale.sold, 3);
    EXPECT_EQ(fixture::books_of(store, "s").give_backs, 1);

    // A new order of the sale has a payment step, and the sale goes on changing.
    ASSERT_TRUE(apply_next(store, {order(SaleNo(1), 5)}).has_value());
    EXPECT_EQ(store.find_order(id(5))->expires_at, clock.now() + Duration(1'000));
    const auto restock = [](StoredSale& sale) -> Result<void> {
        ++sale.terms.stock;
        return {};
    };
    ASSERT_TRUE(store.change_sale("s", restock, {}, {"tester", "restocked"}).has_value());
    EXPECT_EQ(store.journal(SaleNo(1), 0, 10)->size(), 1U);
}

TEST(SqliteStore, SaysWhatToDoAboutAVersion1ThatIsOnlyRead) {
    const ScratchStore file;
    make_version_1(file);
    const std::string before = bytes_of(file.path());
    const auto reader = SqlOrderStore::open({file.path(), 1, StoreMode::read_only});
    ASSERT_FALSE(reader.has_value());
    EXPECT_TRUE(reader.error().is(Errc::wrong_state));
    EXPECT_NE(reader.error().message().find("doorbuster serve"), std::string::npos)
        << reader.error().message();
    EXPECT_EQ(bytes_of(file.path()), before);
}

TEST(SqliteStore, LeavesANewerSchemaAlone) {
    const ScratchStore file;
    static_cast<void>(file.open());
    run_sql(file, "UPDATE doorbuster_schema SET schema_version = 1000");
    const std::string before = bytes_of(file.path());
    for (const StoreMode mode : {StoreMode::serve, StoreMode::read_only}) {
        const auto store = SqlOrderStore::open({file.path(), 1, mode});
        ASSERT_FALSE(store.has_value());
        EXPECT_TRUE(store.error().is(Errc::too_new));
    }
    EXPECT_EQ(bytes_of(file.path()), before);
}

TEST(SqliteStore, IsNotTakenForAStoreWhenItIsNone) {
    const ScratchStore file;
    std::ofstream(file.path()) << std::string(8192, 'x');
    const auto store = SqlOrderStore::open({file.path(), 1, StoreMode::serve});
    ASSERT_FALSE(store.has_value());
    EXPECT_TRUE(store.error().is(Errc::corrupt)) << store.error().message();
}

TEST(SqliteStore, IsNotMadeByReadingIt) {
    const ScratchStore file;
    EXPECT_FALSE(SqlOrderStore::open({file.path(), 1, StoreMode::read_only}).has_value());
    EXPECT_FALSE(std::filesystem::exists(file.path()));
    run_sql(file, "CREATE TABLE other (a)");
    const auto other = SqlOrderStore::open({file.path(), 1, StoreMode::read_only});
    ASSERT_FALSE(other.has_value());
    EXPECT_TRUE(other.error().is(Errc::not_found));
}

TEST(SqliteStore, WritesNothingWhenItIsReadOnly) {
    const ScratchStore file;
    SaleNo sale;
    {
        const auto store = file.open_bound();
        sale = add_sale(*store, "s", 10);
        ASSERT_TRUE(apply_next(*store, {order(sale, 1)}).has_value());
    }
    const std::string before = bytes_of(file.path());
    {
        const auto reader = file.open(StoreMode::read_only);
        EXPECT_EQ(reader->find_sale("s")->sold, 1);
        EXPECT_TRUE(reader->find_order(order(sale, 1).order).has_value());
        EXPECT_EQ(reader->books({})->sales.size(), 1U);
        EXPECT_EQ(reader->log_binding()->next.at(kOnlyPartition), LogPosition(2));
        EXPECT_FALSE(reader->create_sale(fixture::terms("t", 1), "t", "tester").has_value());
        EXPECT_FALSE(reader->next_epochs({}).has_value());
        const auto change = [](StoredSale& stored) -> Result<void> {
            ++stored.terms.stock;
            return {};
        };
        EXPECT_FALSE(reader->change_sale("s", change, {}, {"tester", "edited"}).has_value());
    }
    EXPECT_EQ(bytes_of(file.path()), before);
    EXPECT_EQ(file.open()->find_sale("s")->terms.stock, 10);
}

} // namespace
} // namespace doorbuster::sql
