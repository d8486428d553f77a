// Opening the order store, and reading orders from it.
#include "adapters/sql/order_store.h"

#include <array>
#include <gtest/gtest.h>

#include "adapters/sql/store_fixture.h"

namespace doorbuster::sql {
namespace {

using fixture::add_sale;
using fixture::apply_next;
using fixture::kNow;
using fixture::order;
using fixture::ScratchStore;
using fixture::Snapshot;
using fixture::StoreTest;

class OrderStoreTest : public StoreTest {};
INSTANTIATE_TEST_SUITE_P(In, OrderStoreTest, testing::ValuesIn(fixture::kAllDialects),
                         fixture::suffix_of);

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

TEST_P(OrderStoreTest, BelongsToOneLog) {
    const ScratchStore file(GetParam());
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

TEST_P(OrderStoreTest, LeavesANewerSchemaAlone) {
    const ScratchStore file(GetParam());
    static_cast<void>(file.open());
    file.run_sql("UPDATE doorbuster_schema SET schema_version = 1000");
    for (const StoreMode mode : {StoreMode::serve, StoreMode::read_only}) {
        const auto store = SqlOrderStore::open({file.url(), 1, mode});
        ASSERT_FALSE(store.has_value());
        EXPECT_TRUE(store.error().is(Errc::too_new));
    }
    EXPECT_EQ(file.number("SELECT schema_version FROM doorbuster_schema"), 1'000);
}

TEST_P(OrderStoreTest, IsNotMadeByReadingIt) {
    const ScratchStore file(GetParam());
    file.run_sql("CREATE TABLE other (a INTEGER)");
    const auto other = SqlOrderStore::open({file.url(), 1, StoreMode::read_only});
    ASSERT_FALSE(other.has_value());
    EXPECT_TRUE(other.error().is(Errc::not_found)) << other.error().message();
}

TEST_P(OrderStoreTest, WritesNothingWhenItIsReadOnly) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 10);
    ASSERT_TRUE(apply_next(*store, {order(sale, 1)}).has_value());
    const auto reader = file.open(StoreMode::read_only);
    EXPECT_EQ(reader->find_sale("s")->sold, 1);
    EXPECT_TRUE(reader->find_order(order(sale, 1).order).has_value());
    EXPECT_EQ(reader->books({})->sales.size(), 1U);
    EXPECT_FALSE(reader->create_sale(fixture::terms("t", 1), "t", "tester").has_value());
    EXPECT_FALSE(reader->next_epochs({}).has_value());
    const std::array<OrderChange, 1> cancel = {{{order(sale, 1).order, OrderAction::cancel, ""}}};
    static_cast<void>(reader->change_orders(cancel));
    EXPECT_EQ(store->find_sale("s")->sold, 1);
    EXPECT_EQ(store->list_sales("", 10)->size(), 1U);
}

TEST_P(OrderStoreTest, IsReadWhileAnotherWritesIt) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 10);
    const auto reader = file.open(StoreMode::read_only);
    ASSERT_TRUE(apply_next(*store, {order(sale, 1)}).has_value());
    EXPECT_EQ(reader->find_sale("s")->sold, 1);
    ASSERT_TRUE(apply_next(*store, {order(sale, 2)}).has_value());
    EXPECT_EQ(reader->books("s")->sales[0].sale.sold, 2);
}

TEST_P(OrderStoreTest, FindsNoOrderThatIsNotThere) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const auto none = store->find_order(order(SaleNo(1), 1).order);
    ASSERT_FALSE(none.has_value());
    EXPECT_TRUE(none.error().is(Errc::not_found));
    const auto books = store->books("nobody");
    ASSERT_FALSE(books.has_value());
    EXPECT_TRUE(books.error().is(Errc::not_found));
}

TEST_P(OrderStoreTest, ListsASalesOrdersOldestFirst) {
    const ScratchStore file(GetParam());
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

TEST_P(OrderStoreTest, SaysWhetherAListGoesOn) {
    const ScratchStore file(GetParam());
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

TEST_P(OrderStoreTest, LooksForARareOrderInShortSteps) {
    constexpr std::uint64_t kOrders = 45'000; // at 20'000 a step: two and a bit
    const ScratchStore file(GetParam());
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

TEST_P(OrderStoreTest, TellsARebuildEverythingInOrder) {
    constexpr std::uint64_t kOrders = 5'000; // more than are fetched at once
    const ScratchStore file(GetParam());
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

TEST_P(OrderStoreTest, LeavesOutTheOrdersOfSalesThatWereClosedLongAgo) {
    const ScratchStore file(GetParam());
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

TEST_P(OrderStoreTest, NamesTheBuyersAboveTheLimit) {
    const ScratchStore file(GetParam());
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

TEST_P(OrderStoreTest, SaysInItsBooksWhichOrdersItHas) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 100, 3);
    ASSERT_TRUE(apply_next(*store, {order(sale, 1, 1), order(sale, 2, 1)}).has_value());
    const OrderId first = order(sale, 1, 1).order;
    const OrderId second = order(sale, 2, 1).order;
    const std::vector<OrderId> asked = {second, order(sale, 3, 1).order, first, second};
    EXPECT_EQ(store->books("s", asked)->stored, (std::set<OrderId>{first, second}));
    EXPECT_TRUE(store->books({})->stored.empty());
}

TEST_P(OrderStoreTest, TellsItsConnections) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    EXPECT_TRUE(store->ping().has_value());
    EXPECT_EQ(store->connections().in_use, 0U);
    EXPECT_EQ(store->connections().idle, 4U);
}

} // namespace
} // namespace doorbuster::sql
