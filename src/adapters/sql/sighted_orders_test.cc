// The guards of the published system, and the faults that they let through, each made to happen by
// hand: two readers whose steps are put in the worst order, a transaction that is rolled back.
// docs/stages.md tells what each means for a sale.
#include <gtest/gtest.h>
#include <optional>

#include "adapters/sql/store_fixture.h"

namespace doorbuster::sql {
namespace {

using namespace fixture;

// The three keys in Redis, as the published system keeps them: raised inside the transaction.
struct Counters {
    Units count = 0;
    Units sale = 0;
    std::int64_t version = 0;
};

class SightedOrders : public StoreTest {
protected:
    void SetUp() override {
        StoreTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        file_.emplace(GetParam());
        OrderStoreOptions options;
        options.on_stock_moved = [this](SaleNo, Units units) -> Result<void> {
            if (is_redis_down_) return fail(Errc::unavailable, "Redis is down");
            counters_.sale += units;
            ++counters_.version;
            return {};
        };
        store_ = file_->open_bound(options);
    }
    void TearDown() override {
        store_.reset();
        file_.reset();
    }
    SaleNo sell(Units stock) {
        const SaleNo sale = add_sale(*store_, "s", stock);
        const StockSighting row = look(sale);
        counters_ = {row.stock, row.sold, row.version};
        return sale;
    }
    [[nodiscard]] StockSighting look(SaleNo sale) {
        const auto seen = store_->look_at_stock(sale);
        EXPECT_TRUE(seen.has_value());
        return seen.value_or(StockSighting());
    }
    // What a look in Redis shows when nothing comes between its three GETs.
    [[nodiscard]] StockSighting look_in_redis() const {
        return {counters_.count, counters_.sale, counters_.version};
    }
    static LogRecord sighted(SaleNo sale, std::uint64_t n, const StockSighting& seen) {
        LogRecord record = order(sale, n);
        record.sighting = seen;
        return record;
    }
    // `direct`: a batch of one, in no log.
    Result<ApplyReport> write(const LogRecord& record, StockGuard guard) {
        const LogPosition nowhere(1);
        return store_->apply(nowhere, nowhere, std::span(&record, 1), guard);
    }
    // The same through a log.
    Result<ApplyReport> write_log(const std::vector<LogRecord>& records) {
        const auto binding = store_->log_binding();
        const LogPosition from = binding->next.at(kOnlyPartition);
        return store_->apply(from, from.plus(records.size()), records, StockGuard::version);
    }
    [[nodiscard]] std::int64_t orders(OrderStatus status) {
        return books_of(*store_, "s").orders[static_cast<std::size_t>(status)];
    }
    [[nodiscard]] std::int64_t confirmed() { return orders(OrderStatus::confirmed); }

    std::optional<ScratchStore> file_;
    std::unique_ptr<SqlOrderStore> store_;
    Counters counters_;
    bool is_redis_down_ = false;
};

INSTANTIATE_TEST_SUITE_P(Databases, SightedOrders, testing::ValuesIn(kAllDialects), suffix_of);

// Stage 1.
TEST_P(SightedOrders, TwoWhoSawTheLastUnitBothGetItWhenWhatWasSeenIsWritten) {
    const SaleNo sale = sell(1);
    const StockSighting first = look(sale);
    const StockSighting second = look(sale);
    ASSERT_EQ(first.sold, 0);
    ASSERT_TRUE(write(sighted(sale, 1, first), StockGuard::overwrite));
    const auto report = write(sighted(sale, 2, second), StockGuard::overwrite);
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->confirmed, 1U);
    EXPECT_EQ(confirmed(), 2) << "oversold";
    EXPECT_EQ(look(sale).sold, 1) << "and the row does not know";
}

// Stage 2.
TEST_P(SightedOrders, OneOfTwoWhoSawTheSameVersionGetsTheUnitAndTheOtherLeavesNothing) {
    const SaleNo sale = sell(2);
    const StockSighting first = look(sale);
    const StockSighting second = look(sale);
    ASSERT_EQ(write(sighted(sale, 1, first), StockGuard::version)->confirmed, 1U);
    const auto report = write(sighted(sale, 2, second), StockGuard::version);
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->confirmed, 0U);
    EXPECT_EQ(report->refused, 1U);
    EXPECT_EQ(confirmed(), 1);
    EXPECT_EQ(orders(OrderStatus::refused), 0) << "nobody was promised anything";
    EXPECT_EQ(look(sale).sold, 1);
    const auto again = write(sighted(sale, 3, look(sale)), StockGuard::version);
    EXPECT_EQ(again->confirmed, 1U) << "whoever looks again may have the next one";
}

// Stages 4 and 5, fault 1: GET sale before another's order, GET version behind it.
TEST_P(SightedOrders, ATornLookSellsTheUnitThatIsGone) {
    const SaleNo sale = sell(1);
    StockSighting torn = look_in_redis(); // count 1, sale 0 …
    ASSERT_EQ(write(sighted(sale, 1, look_in_redis()), StockGuard::version)->confirmed, 1U);
    torn.version = look_in_redis().version; // … and the version behind the last unit
    const auto report = write(sighted(sale, 2, torn), StockGuard::version);
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed, 1U);
    EXPECT_EQ(confirmed(), 2) << "oversold";
    EXPECT_EQ(counters_.sale, 2) << "count == sale is never true again";
    // So everybody who looks from now on gets one, too.
    EXPECT_EQ(write(sighted(sale, 3, look_in_redis()), StockGuard::version)->confirmed, 1U);
    EXPECT_EQ(confirmed(), 3);
    EXPECT_EQ(look(sale).sold, 1) << "the row's CHECK stands";
}

// Stage 5, fault 2.
TEST_P(SightedOrders, OfManyAcceptedUnderOneVersionOneBecomesAnOrder) {
    const SaleNo sale = sell(10);
    std::vector<LogRecord> accepted;
    for (std::uint64_t n = 1; n <= 5; ++n) accepted.push_back(sighted(sale, n, look_in_redis()));
    const auto report = write_log(accepted);
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed, 1U);
    EXPECT_EQ(report->refused, 4U);
    EXPECT_EQ(confirmed(), 1);
    EXPECT_EQ(orders(OrderStatus::refused), 4) << "lost buyers, who can at least ask";
    EXPECT_EQ(status_of(*store_, accepted[4].order), OrderStatus::refused);
    EXPECT_EQ(look(sale).sold, 1) << "nine units left, and nobody to be told";
    // The row's version and Redis' went up together: the sale goes on.
    EXPECT_EQ(look(sale).version, counters_.version);
    const SaleBooks books = books_of(*store_, "s");
    EXPECT_EQ(books.log_accepted_orders, 5);
    EXPECT_EQ(books.log_accepted_units, 5);
    EXPECT_EQ(books.give_backs, 4);
}

TEST_P(SightedOrders, AnOrderThatComesTwiceThroughTheLogIsStoredOnce) {
    const SaleNo sale = sell(10);
    const LogRecord one = sighted(sale, 1, look_in_redis());
    ASSERT_EQ(write_log({one})->confirmed, 1U);
    const auto report = write_log({one});
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->duplicates, 1U);
    EXPECT_EQ(confirmed(), 1);
    EXPECT_EQ(look(sale).version, counters_.version);
}

// Stages 4 and 5, fault 3: the INSERT fails behind the counters.
TEST_P(SightedOrders, ARolledBackTransactionLeavesRedisAheadAndStopsTheSale) {
    const SaleNo sale = sell(10);
    ASSERT_EQ(write(sighted(sale, 1, look_in_redis()), StockGuard::version)->confirmed, 1U);
    const auto failed = write(sighted(sale, 1, look_in_redis()), StockGuard::version);
    ASSERT_FALSE(failed.has_value()) << "the order's id is taken";
    EXPECT_EQ(look(sale).sold, 1) << "rolled back";
    EXPECT_EQ(counters_.sale, 2) << "and not in Redis";
    EXPECT_EQ(counters_.version, look(sale).version + 1);
    for (std::uint64_t n = 2; n < 6; ++n) {
        const auto report = write(sighted(sale, n, look_in_redis()), StockGuard::version);
        ASSERT_TRUE(report.has_value());
        EXPECT_EQ(report->refused, 1U) << "nobody can buy any more";
    }
    EXPECT_EQ(confirmed(), 1);
}

TEST_P(SightedOrders, WithoutRedisATransactionIsRolledBack) {
    const SaleNo sale = sell(10);
    is_redis_down_ = true;
    const auto report = write(sighted(sale, 1, look_in_redis()), StockGuard::version);
    ASSERT_FALSE(report.has_value());
    EXPECT_TRUE(report.error().is(Errc::unavailable)) << report.error().message();
    EXPECT_EQ(confirmed(), 0);
    EXPECT_EQ(look(sale).sold, 0);
}

// Ours: the same five who looked at the same moment, and the guard asks no version of them.
TEST_P(SightedOrders, OurOwnGuardAsksForUnitsAndNotForWhatWasSeen) {
    const SaleNo sale = sell(10);
    std::vector<LogRecord> accepted;
    for (std::uint64_t n = 1; n <= 5; ++n) accepted.push_back(sighted(sale, n, look(sale)));
    const auto report = apply_next(*store_, accepted);
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->confirmed, 5U);
}

TEST_P(SightedOrders, ABarrierOpensItsEpochWithoutALog) {
    const SaleNo sale = sell(10);
    ASSERT_TRUE(write(barrier(sale, 7), StockGuard::version));
    EXPECT_EQ(books_of(*store_, "s").barrier, Epoch(7));
    EXPECT_EQ(store_->log_binding()->next.at(kOnlyPartition), LogPosition(1));
}

TEST_P(SightedOrders, CountsWhatAPurchaseCostsTheDatabase) {
    const SaleNo sale = sell(2);
    const auto spent = [&](const auto& step) {
        const std::uint64_t before = store_->usage().statements;
        step();
        return store_->usage().statements - before;
    };
    StockSighting seen;
    EXPECT_EQ(spent([&] { seen = look(sale); }), 1U);
    const LogRecord first = sighted(sale, 1, seen);
    // BEGIN, UPDATE, INSERT, COMMIT; and of who is too late BEGIN, UPDATE, COMMIT.
    EXPECT_EQ(spent([&] { static_cast<void>(write(first, StockGuard::version)); }), 4U);
    const LogRecord late = sighted(sale, 2, seen);
    EXPECT_EQ(spent([&] { static_cast<void>(write(late, StockGuard::version)); }), 3U);
    EXPECT_GE(store_->usage().in_use_max, 1U);
    EXPECT_GT(store_->usage().in_use_ns, 0);
}

} // namespace
} // namespace doorbuster::sql
