// Opening the order store, and reading orders from it.
#include "adapters/sql/order_store.h"

#include <array>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <sqlite3.h>

#include "adapters/sql/store_fixture.h"
#include "runtime/clock.h"

namespace doorbuster::sql {
namespace {

using fixture::add_sale;
using fixture::apply_next;
using fixture::kNow;
using fixture::order;
using fixture::ScratchFile;
using fixture::Snapshot;

// Behind the store's back.
void run_sql(const ScratchFile& file, const char* sql) {
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

std::vector<std::uint64_t> numbers_of(const Result<OrderPage>& page) {
    std::vector<std::uint64_t> numbers;
    if (!page) ADD_FAILURE() << page.error().message();
    for (const Order& found : page->orders) {
        const auto since = found.id.created_at() - kNow;
        numbers.push_back(static_cast<std::uint64_t>(since.count()));
    }
    return numbers;
}

using Numbers = std::vector<std::uint64_t>;

TEST(OrderStore, BelongsToOneLog) {
    const ScratchFile file;
    {
        const auto store = file.open();
        EXPECT_EQ(store->log_binding()->log_id, "");
        EXPECT_EQ(store->log_binding()->next.at(kOnlyPartition), LogPosition(1));
        ASSERT_TRUE(store->bind_log("log-a").has_value());
        const auto other = store->bind_log("log-b");
        ASSERT_FALSE(other.has_value());
        EXPECT_TRUE(other.error().is(Errc::conflict));
    }
    EXPECT_EQ(file.open()->log_binding()->log_id, "log-a");
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
void make_version_1(const ScratchFile& file) {
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

TEST(OrderStore, UpgradesAStoreOfVersion1AndKeepsItsRows) {
    const ScratchFile file;
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

TEST(OrderStore, GoesOnWithTheOrdersOfVersion1) {
    const ScratchFile file;
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

TEST(OrderStore, SaysWhatToDoAboutAVersion1ThatIsOnlyRead) {
    const ScratchFile file;
    make_version_1(file);
    const std::string before = bytes_of(file.path());
    const auto reader = SqlOrderStore::open({file.path(), 1, StoreMode::read_only});
    ASSERT_FALSE(reader.has_value());
    EXPECT_TRUE(reader.error().is(Errc::wrong_state));
    EXPECT_NE(reader.error().message().find("doorbuster serve"), std::string::npos)
        << reader.error().message();
    EXPECT_EQ(bytes_of(file.path()), before);
}

TEST(OrderStore, LeavesANewerSchemaAlone) {
    const ScratchFile file;
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

TEST(OrderStore, IsNotTakenForAStoreWhenItIsNone) {
    const ScratchFile file;
    std::ofstream(file.path()) << std::string(8192, 'x');
    const auto store = SqlOrderStore::open({file.path(), 1, StoreMode::serve});
    ASSERT_FALSE(store.has_value());
    EXPECT_TRUE(store.error().is(Errc::corrupt)) << store.error().message();
}

TEST(OrderStore, IsNotMadeByReadingIt) {
    const ScratchFile file;
    EXPECT_FALSE(SqlOrderStore::open({file.path(), 1, StoreMode::read_only}).has_value());
    EXPECT_FALSE(std::filesystem::exists(file.path()));
    run_sql(file, "CREATE TABLE other (a)");
    const auto other = SqlOrderStore::open({file.path(), 1, StoreMode::read_only});
    ASSERT_FALSE(other.has_value());
    EXPECT_TRUE(other.error().is(Errc::not_found));
}

TEST(OrderStore, WritesNothingWhenItIsReadOnly) {
    const ScratchFile file;
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

TEST(OrderStore, IsReadWhileAnotherWritesIt) {
    const ScratchFile file;
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 10);
    const auto reader = file.open(StoreMode::read_only);
    ASSERT_TRUE(apply_next(*store, {order(sale, 1)}).has_value());
    EXPECT_EQ(reader->find_sale("s")->sold, 1);
    ASSERT_TRUE(apply_next(*store, {order(sale, 2)}).has_value());
    EXPECT_EQ(reader->books("s")->sales[0].sale.sold, 2);
}

TEST(OrderStore, FindsNoOrderThatIsNotThere) {
    const ScratchFile file;
    const auto store = file.open_bound();
    const auto none = store->find_order(order(SaleNo(1), 1).order);
    ASSERT_FALSE(none.has_value());
    EXPECT_TRUE(none.error().is(Errc::not_found));
    const auto books = store->books("nobody");
    ASSERT_FALSE(books.has_value());
    EXPECT_TRUE(books.error().is(Errc::not_found));
}

TEST(OrderStore, ListsASalesOrdersOldestFirst) {
    const ScratchFile file;
    const auto store = file.open_bound();
    const SaleNo before = add_sale(*store, "before", 100);
    const SaleNo sale = add_sale(*store, "s", 7); // the eighth is refused
    const SaleNo after = add_sale(*store, "after", 100);
    std::vector<LogRecord> batch;
    for (const std::uint64_t n : {5, 1, 8, 3, 2, 7, 4, 6}) {
        batch.push_back(order(sale, n));
        batch.push_back(order(before, n));
        batch.push_back(order(after, n));
    }
    ASSERT_TRUE(apply_next(*store, batch).has_value());
    const OrderFilter all;
    const auto list = [&](const OrderFilter& filter, std::uint64_t behind, std::size_t limit) {
        std::optional<OrderId> cursor;
        if (behind > 0) cursor = order(sale, behind).order;
        return numbers_of(store->list_orders(sale, filter, cursor, limit));
    };
    EXPECT_EQ(list(all, 0, 100), (Numbers{1, 2, 3, 4, 5, 6, 7, 8}));
    EXPECT_EQ(list(all, 0, 3), (Numbers{1, 2, 3}));
    EXPECT_EQ(list(all, 3, 3), (Numbers{4, 5, 6}));
    EXPECT_EQ(list(all, 6, 3), (Numbers{7, 8}));
    EXPECT_EQ(list(all, 8, 3), Numbers{});

    OrderFilter filter;
    filter.status = OrderStatus::refused;
    EXPECT_EQ(list(filter, 0, 100), Numbers{6}) << "the last to come, not the youngest";
    filter.status = OrderStatus::confirmed;
    EXPECT_EQ(list(filter, 5, 100), (Numbers{7, 8}));
    filter.user = "user7";
    EXPECT_EQ(list(filter, 0, 100), Numbers{7});
    filter.status = OrderStatus::paid;
    EXPECT_EQ(list(filter, 0, 100), Numbers{});
    filter.status.reset();
    filter.user = "user' OR '1'='1";
    EXPECT_EQ(list(filter, 0, 100), Numbers{});
}

TEST(OrderStore, SaysWhetherAListGoesOn) {
    const ScratchFile file;
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 10);
    ASSERT_TRUE(apply_next(*store, {order(sale, 1), order(sale, 2), order(sale, 3)}));
    const auto next = [&](const OrderFilter& filter, std::size_t limit) {
        return store->list_orders(sale, filter, {}, limit)->next;
    };
    OrderFilter confirmed;
    confirmed.status = OrderStatus::confirmed;
    for (const OrderFilter& filter : {OrderFilter(), confirmed}) {
        EXPECT_EQ(next(filter, 2), order(sale, 2).order);
        EXPECT_EQ(next(filter, 3), std::nullopt) << "full, and the last";
        EXPECT_EQ(next(filter, 4), std::nullopt);
    }
    EXPECT_EQ(store->list_orders(SaleNo(99), confirmed, {}, 1)->next, std::nullopt);
}

TEST(OrderStore, LooksForARareOrderInShortSteps) {
    constexpr std::uint64_t kOrders = 45'000; // at 20'000 a step: two and a bit
    const ScratchFile file;
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", kOrders);
    const SaleNo other = add_sale(*store, "other", 1);
    std::vector<LogRecord> batch;
    for (std::uint64_t n = 1; n <= kOrders; ++n) batch.push_back(order(sale, n));
    batch[2].user = batch[29'999].user = batch[39'999].user = batch[44'999].user = "rare";
    batch.push_back(order(other, 1));
    batch.back().user = "rare";
    ASSERT_TRUE(apply_next(*store, batch).has_value());
    OrderFilter filter;
    filter.user = "rare";
    std::vector<Numbers> pages;
    std::optional<OrderId> after;
    do {
        const auto page = store->list_orders(sale, filter, after, 1'000);
        pages.push_back(numbers_of(page));
        after = page->next;
    } while (after && pages.size() < 10);
    EXPECT_EQ(pages, (std::vector<Numbers>{{3}, {30'000, 40'000}, {45'000}}));
    filter.user = "nobody";
    const auto nothing = store->list_orders(sale, filter, {}, 1'000);
    EXPECT_TRUE(nothing->orders.empty());
    EXPECT_EQ(nothing->next, order(sale, 20'000).order);
}

TEST(OrderStore, TellsARebuildEverythingInOrder) {
    constexpr std::uint64_t kOrders = 5'000; // more than are fetched at once
    const ScratchFile file;
    const auto store = file.open_bound();
    const SaleNo first = add_sale(*store, "z-first", kOrders);
    const SaleNo second = add_sale(*store, "a-second", 3);
    std::vector<LogRecord> batch;
    for (std::uint64_t n = kOrders; n > 0; --n) batch.push_back(order(first, n));
    for (std::uint64_t n = 1; n <= 4; ++n) batch.push_back(order(second, n));
    batch.push_back(order(second, 5, 0)); // cannot be stored: a dead letter
    ASSERT_TRUE(apply_next(*store, batch).has_value());
    ASSERT_TRUE(store->next_epochs({}).has_value());

    Snapshot all;
    const auto read = store->read_snapshot({}, kNow, all);
    ASSERT_TRUE(read.has_value()) << read.error().message();
    ASSERT_EQ(all.sales.size(), 2U);
    EXPECT_EQ(all.sales[0].terms.no, first);
    EXPECT_EQ(all.sales[0].sold, static_cast<Units>(kOrders));
    EXPECT_EQ(all.sales[1].epoch, Epoch(1));
    ASSERT_EQ(all.lines[0].size(), kOrders);
    for (std::uint64_t n = 1; n <= kOrders; ++n) {
        const LogRecord sent = order(first, n);
        const Snapshot::Line expected{sent.order, sent.user, sent.key, 1, OrderStatus::confirmed};
        ASSERT_EQ(all.lines[0][n - 1], expected) << n;
    }
    ASSERT_EQ(all.lines[1].size(), 4U);
    EXPECT_EQ(all.lines[1][2].status, OrderStatus::confirmed);
    EXPECT_EQ(all.lines[1][3].status, OrderStatus::refused);
    EXPECT_EQ(all.dead_units, (std::vector<Units>{0, 0}));
    ASSERT_EQ(all.letters.size(), 1U); // keeps its key and its user's units
    EXPECT_EQ(all.letters[0].id, batch.back().order);
    EXPECT_EQ(all.letters[0].user, batch.back().user);

    Snapshot one;
    const std::array<SaleNo, 1> wanted = {second};
    ASSERT_TRUE(store->read_snapshot(wanted, kNow, one).has_value());
    ASSERT_EQ(one.sales.size(), 1U);
    EXPECT_EQ(one.sales[0].terms.no, second);
    EXPECT_EQ(one.lines[0], all.lines[1]);
}

TEST(OrderStore, LeavesOutTheOrdersOfSalesThatWereClosedLongAgo) {
    const ScratchFile file;
    const auto store = file.open_bound();
    const SaleNo old = add_sale(*store, "old", 10);
    const SaleNo recent = add_sale(*store, "recent", 10);
    const SaleNo open = add_sale(*store, "open", 10);
    ASSERT_TRUE(
        apply_next(*store, {order(old, 1, 2), order(recent, 1), order(open, 1)}).has_value());
    const auto close_at = [&store](const char* id, TimePoint at) {
        const auto close = [at](StoredSale& sale) -> Result<void> {
            sale.terms.closed_at = at;
            return {};
        };
        ASSERT_TRUE(store->change_sale(id, close, {}, {"tester", "closed"}).has_value());
    };
    close_at("old", kNow - Duration(1));
    close_at("recent", kNow);
    Snapshot snapshot;
    ASSERT_TRUE(store->read_snapshot({}, kNow, snapshot).has_value());
    ASSERT_EQ(snapshot.sales.size(), 3U);
    EXPECT_EQ(snapshot.lines[0].size(), 0U);
    EXPECT_EQ(snapshot.sales[0].sold, 2) << "its units stay sold";
    EXPECT_EQ(snapshot.lines[1].size(), 1U);
    EXPECT_EQ(snapshot.lines[2].size(), 1U);
}

TEST(OrderStore, NamesTheBuyersAboveTheLimit) {
    const ScratchFile file;
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 100, 3);
    std::vector<LogRecord> batch;
    for (std::uint64_t n = 1; n <= 14; ++n) batch.push_back(order(sale, n, n == 4 ? 3 : 1));
    ASSERT_TRUE(
        apply_next(*store, batch).has_value()); // users 1 to 4 have two orders, user4 4 units
    const auto books = store->books("s");
    ASSERT_EQ(books->sales[0].over_limit.size(), 1U);
    EXPECT_EQ(books->sales[0].over_limit[0].user, "user4");
    EXPECT_EQ(books->sales[0].over_limit[0].units, 4);
    EXPECT_EQ(books->sales[0].per_user_limit_ever, 3);
}

TEST(OrderStore, TellsItsConnections) {
    const ScratchFile file;
    const auto store = file.open();
    EXPECT_TRUE(store->ping().has_value());
    EXPECT_EQ(store->connections().in_use, 0U);
    EXPECT_EQ(store->connections().idle, 4U);
}

} // namespace
} // namespace doorbuster::sql
