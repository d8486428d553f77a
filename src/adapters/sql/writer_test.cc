// Storing batches of orders.
#include <future>
#include <gtest/gtest.h>

#include "adapters/sql/store_fixture.h"
#include "engine/audit.h"

namespace doorbuster::sql {
namespace {

using fixture::add_sale;
using fixture::apply_next;
using fixture::barrier;
using fixture::books_of;
using fixture::kNow;
using fixture::order;
using fixture::ScratchStore;
using fixture::status_of;
using fixture::StoreTest;

constexpr StockGuard kGuard = StockGuard::version_and_stock;

std::vector<std::string> violations_of(SqlOrderStore& store) {
    std::vector<std::string> all;
    const auto books = store.books({});
    for (const SaleAudit& row : judge(*books, {}, {})) {
        all.insert(all.end(), row.violations.begin(), row.violations.end());
    }
    return all;
}

class StoringOrders : public StoreTest {};
INSTANTIATE_TEST_SUITE_P(In, StoringOrders, testing::ValuesIn(fixture::kAllDialects),
                         fixture::suffix_of);

TEST_P(StoringOrders, KeepsEverythingThatTheLogSays) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 10);
    LogRecord record = order(sale, 4, 3);
    record.user = "\xe4\xbd\xa0 'a'";
    const auto report = apply_next(*store, {record, order(sale, 5)});
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed, 2U);
    ASSERT_EQ(report->sales.size(), 1U);
    EXPECT_EQ(report->sales[0].no, sale);
    EXPECT_EQ(report->sales[0].confirmed, 2U);
    const auto stored = store->find_order(record.order);
    ASSERT_TRUE(stored.has_value());
    EXPECT_EQ(stored->id, record.order);
    EXPECT_EQ(stored->user, record.user);
    EXPECT_EQ(stored->key, "key4");
    EXPECT_EQ(stored->quantity, 3);
    EXPECT_EQ(stored->status, OrderStatus::confirmed);
    EXPECT_EQ(stored->version, 1);
    EXPECT_FALSE(stored->expires_at || stored->paid_at || stored->payment_ref);
    EXPECT_EQ(store->find_order(order(sale, 5).order)->key, "");
    EXPECT_EQ(store->find_sale("s")->sold, 4);
    EXPECT_EQ(store->log_binding()->next.at(kOnlyPartition), LogPosition(3));
    EXPECT_TRUE(violations_of(*store).empty());
}

TEST_P(StoringOrders, MovesThePositionWithTheOrdersOrNotAtAll) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const auto paused = file.open(); // another process that thinks it is the writer
    const SaleNo sale = add_sale(*store, "s", 10);
    const std::vector<LogRecord> batch = {order(sale, 1), order(sale, 2)};
    ASSERT_TRUE(store->apply(LogPosition(1), LogPosition(3), batch, kGuard).has_value());
    for (SqlOrderStore* late : {store.get(), paused.get()}) {
        const auto again = late->apply(LogPosition(1), LogPosition(3), batch, kGuard);
        ASSERT_FALSE(again.has_value());
        EXPECT_TRUE(again.error().is(Errc::fenced));
    }
    const std::vector<LogRecord> other = {order(sale, 9)};
    const auto ahead = paused->apply(LogPosition(5), LogPosition(6), other, kGuard);
    ASSERT_FALSE(ahead.has_value());
    EXPECT_TRUE(ahead.error().is(Errc::fenced));
    EXPECT_EQ(status_of(*store, order(sale, 9).order), std::nullopt);
    EXPECT_EQ(store->find_sale("s")->sold, 2);
    EXPECT_EQ(store->log_binding()->next.at(kOnlyPartition), LogPosition(3));
    EXPECT_TRUE(violations_of(*store).empty());
    // The paused one may take over where the store really is.
    EXPECT_TRUE(paused->apply(LogPosition(3), LogPosition(4), other, kGuard).has_value());
    EXPECT_TRUE(
        store->apply(LogPosition(3), LogPosition(4), other, kGuard).error().is(Errc::fenced));
}

TEST_P(StoringOrders, TakesNoOrdersBeforeItsLogIsNamed) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    const SaleNo sale = add_sale(*store, "s", 10);
    EXPECT_TRUE(apply_next(*store, {order(sale, 1)}).error().is(Errc::fenced));
    EXPECT_EQ(store->find_sale("s")->sold, 0);
}

TEST_P(StoringOrders, CountsARecordOnceHoweverOftenItComes) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 10);
    const auto inside = apply_next(*store, {order(sale, 1, 2), order(sale, 2), order(sale, 1, 2)});
    EXPECT_EQ(inside->confirmed, 2U);
    EXPECT_EQ(inside->duplicates, 1U);
    const auto across = apply_next(*store, {order(sale, 3), order(sale, 1, 2), order(sale, 2)});
    EXPECT_EQ(across->confirmed, 1U);
    EXPECT_EQ(across->duplicates, 2U);
    const auto only = apply_next(*store, {order(sale, 3)});
    EXPECT_EQ(only->confirmed, 0U);
    EXPECT_EQ(only->duplicates, 1U);
    EXPECT_TRUE(only->sales.empty());
    EXPECT_EQ(store->find_sale("s")->sold, 4);
    EXPECT_EQ(books_of(*store, "s").log_accepted_orders, 3);
    EXPECT_EQ(books_of(*store, "s").log_accepted_units, 4);
    EXPECT_TRUE(violations_of(*store).empty());
}

TEST_P(StoringOrders, PassesOverOrdersOfClosedEpochs) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 10);
    const SaleNo other = add_sale(*store, "other", 10);
    const auto report =
        apply_next(*store, {order(sale, 1, 1, 0), barrier(sale, 2), order(sale, 2, 1, 0),
                            order(sale, 3, 1, 1), order(sale, 4, 1, 2), order(sale, 5, 1, 3),
                            barrier(sale, 1), order(sale, 6, 1, 2), order(other, 7)});
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->confirmed, 4U);
    EXPECT_EQ(report->voided, 3U);
    for (const std::uint64_t kept : {1, 4, 6}) {
        EXPECT_EQ(status_of(*store, order(sale, kept).order), OrderStatus::confirmed) << kept;
    }
    for (const std::uint64_t voided : {2, 3, 5}) {
        EXPECT_EQ(status_of(*store, order(sale, voided).order), std::nullopt) << voided;
    }
    EXPECT_EQ(books_of(*store, "s").barrier, Epoch(2));
    EXPECT_EQ(books_of(*store, "s").log_accepted_orders, 3);
    EXPECT_EQ(books_of(*store, "s").voided_orders, 3);
    const auto violations = violations_of(*store);
    ASSERT_EQ(violations.size(), 1U) << "the void orders are told, nothing else is wrong";
    EXPECT_NE(violations[0].find("3 orders of the log were void"), std::string::npos);
}

TEST_P(StoringOrders, RemembersTheBarrierAcrossBatchesAndRestarts) {
    const ScratchStore file(GetParam());
    SaleNo sale;
    {
        const auto store = file.open_bound();
        sale = add_sale(*store, "s", 10);
        ASSERT_TRUE(apply_next(*store, {barrier(sale, 1)}).has_value());
        EXPECT_EQ(apply_next(*store, {order(sale, 1, 1, 0)})->voided, 1U);
    }
    {
        const auto store = file.open();
        EXPECT_EQ(apply_next(*store, {order(sale, 2, 1, 0)})->voided, 1U);
        EXPECT_EQ(apply_next(*store, {order(sale, 3, 1, 1)})->confirmed, 1U);
        // A batch that is stored order by order keeps its barrier too.
        EXPECT_EQ(apply_next(*store, {order(sale, 3, 1, 1), barrier(sale, 2)})->duplicates, 1U);
    }
    const auto store = file.open();
    EXPECT_EQ(books_of(*store, "s").barrier, Epoch(2));
    EXPECT_EQ(apply_next(*store, {order(sale, 4, 1, 1)})->voided, 1U);
    EXPECT_EQ(store->find_sale("s")->sold, 1);
}

TEST_P(StoringOrders, RefusesWhatIsAboveTheStockAndSaysSo) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 5);
    const SaleNo other = add_sale(*store, "other", 1);
    const auto report = apply_next(*store, {order(sale, 1, 2), order(sale, 2, 2), order(sale, 3, 2),
                                            order(other, 1), order(sale, 4, 1), order(sale, 5, 1)});
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->confirmed, 4U);
    EXPECT_EQ(report->refused, 2U);
    EXPECT_EQ(report->conflicts, 1U); // the guard sent the batch back once
    ASSERT_EQ(report->sales.size(), 2U);
    EXPECT_EQ(report->sales[0].confirmed, 3U);
    EXPECT_EQ(report->sales[0].refused, 2U);
    EXPECT_EQ(status_of(*store, order(sale, 3).order), OrderStatus::refused);
    EXPECT_EQ(status_of(*store, order(sale, 4).order), OrderStatus::confirmed);
    EXPECT_EQ(status_of(*store, order(sale, 5).order), OrderStatus::refused);
    EXPECT_EQ(store->find_sale("s")->sold, 5);
    const SaleBooks books = books_of(*store, "s");
    EXPECT_EQ(books.orders[static_cast<std::size_t>(OrderStatus::refused)], 2);
    EXPECT_EQ(books.units[static_cast<std::size_t>(OrderStatus::refused)], 3);
    EXPECT_EQ(books.log_accepted_orders, 5);
    const auto violations = violations_of(*store);
    ASSERT_EQ(violations.size(), 1U) << "the refusals, and nothing else is wrong";
    EXPECT_NE(violations[0].find("refused 2 orders"), std::string::npos);
    // The same record again is still a duplicate, not another refusal.
    EXPECT_EQ(apply_next(*store, {order(sale, 3, 2)})->duplicates, 1U);
}

TEST_P(StoringOrders, NeverLetsTheStockBelowWhatIsSold) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 5);
    ASSERT_TRUE(apply_next(*store, {order(sale, 1, 4)}).has_value());
    const auto lower = [](StoredSale& stored) -> Result<void> {
        stored.terms.stock = 3;
        return {};
    };
    EXPECT_FALSE(store->change_sale("s", lower, {}, {"tester", "edited"}).has_value());
    EXPECT_EQ(store->find_sale("s")->terms.stock, 5);
}

TEST_P(StoringOrders, PutsOrdersOfAnUnknownSaleAside) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 5);
    const auto report =
        apply_next(*store, {order(sale, 1), order(SaleNo(99), 2, 3), order(sale, 3)});
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed, 2U);
    EXPECT_EQ(report->dead_letters, 1U);
    EXPECT_EQ(status_of(*store, order(SaleNo(99), 2).order), OrderStatus::queued)
        << "promised, until an operator has seen to it";
    EXPECT_EQ(store->log_binding()->next.at(kOnlyPartition), LogPosition(4)) << "it stops nobody";
    EXPECT_TRUE(violations_of(*store).empty());
    EXPECT_EQ(apply_next(*store, {barrier(SaleNo(98), 1), order(sale, 4)})->confirmed, 1U);
}

TEST_P(StoringOrders, PutsAPoisonousOrderAsideAndKeepsItsUnits) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 5);
    const LogRecord poison = order(sale, 2, 0); // the table takes no order of nothing
    const auto report = apply_next(*store, {order(sale, 1), poison, order(sale, 3)});
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed, 2U);
    EXPECT_EQ(report->dead_letters, 1U);
    EXPECT_EQ(books_of(*store, "s").dead_letters, 1);
    EXPECT_EQ(books_of(*store, "s").log_accepted_orders, 3);
    EXPECT_TRUE(violations_of(*store).empty());
    // Again, it is a duplicate like any other.
    const auto again = apply_next(*store, {poison, order(sale, 4), poison});
    EXPECT_EQ(again->confirmed, 1U);
    EXPECT_EQ(again->dead_letters, 0U);
    EXPECT_EQ(again->duplicates, 2U);
    EXPECT_EQ(books_of(*store, "s").dead_letters, 1);
    EXPECT_TRUE(violations_of(*store).empty());
}

TEST_P(StoringOrders, AddsUpOverManySales) {
    constexpr std::size_t kSales = 50;
    constexpr std::size_t kOrders = 5'000;
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    std::vector<SaleNo> sales;
    for (std::size_t i = 0; i < kSales; ++i) {
        sales.push_back(add_sale(*store, "s" + std::to_string(i), 1'000));
    }
    std::vector<LogRecord> batch;
    std::vector<Units> units(kSales);
    for (std::size_t n = 0; n < kOrders; ++n) {
        const Units quantity = static_cast<Units>(n % 3 + 1);
        batch.push_back(order(sales[n * 7 % kSales], n, quantity));
        units[n * 7 % kSales] += quantity;
    }
    const auto report = apply_next(*store, batch);
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed, kOrders);
    EXPECT_EQ(report->sales.size(), kSales);
    std::size_t confirmed = 0;
    for (const ApplyReport::Sale& sale : report->sales) confirmed += sale.confirmed;
    EXPECT_EQ(confirmed, kOrders);
    const auto books = store->books({});
    ASSERT_EQ(books->sales.size(), kSales);
    EXPECT_EQ(books->next.at(kOnlyPartition), LogPosition(kOrders + 1));
    for (std::size_t i = 0; i < kSales; ++i) EXPECT_EQ(books->sales[i].sale.sold, units[i]);
    EXPECT_TRUE(violations_of(*store).empty());
    // All of it once more, with one that is new among them.
    batch.push_back(order(sales[0], kOrders));
    const auto again = apply_next(*store, batch);
    EXPECT_EQ(again->duplicates, kOrders);
    EXPECT_EQ(again->confirmed, 1U);
    EXPECT_TRUE(violations_of(*store).empty());
}

TEST_P(StoringOrders, ShowsReadersOneMomentAtATime) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    const SaleNo sale = add_sale(*store, "s", 100'000);
    std::atomic<bool> is_done{false};
    std::vector<std::future<std::size_t>> readers;
    for (int i = 0; i < 2; ++i) {
        readers.push_back(std::async(std::launch::async, [&store, &is_done] {
            std::size_t unbalanced = 0;
            do {
                unbalanced += violations_of(*store).size();
                const auto books = store->books("s");
                const auto confirmed =
                    books->sales[0].orders[static_cast<std::size_t>(OrderStatus::confirmed)];
                if (books->next.at(kOnlyPartition).get() !=
                    static_cast<std::uint64_t>(confirmed) + 1)
                    ++unbalanced;
            } while (!is_done);
            return unbalanced;
        }));
    }
    std::uint64_t n = 0;
    for (int batch = 0; batch < 30; ++batch) {
        std::vector<LogRecord> records;
        for (int i = 0; i < 40; ++i) records.push_back(order(sale, ++n));
        EXPECT_TRUE(apply_next(*store, records).has_value());
    }
    is_done = true;
    for (auto& reader : readers) EXPECT_EQ(reader.get(), 0U);
}

} // namespace
} // namespace doorbuster::sql
