// Several processes on one store: here, stores of their own on threads of their own.
#include <array>
#include <atomic>
#include <future>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <thread>

#include "adapters/sql/outbox.h"
#include "adapters/sql/session.h"
#include "adapters/sql/store_fixture.h"
#include "engine/audit.h"

namespace doorbuster::sql {
namespace {

using namespace fixture;

constexpr StockGuard kGuard = StockGuard::version_and_stock;

class SharedStore : public StoreTest {
protected:
    void SetUp() override {
        StoreTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        file_ = std::make_unique<ScratchStore>(GetParam());
        for (auto& store : stores_) {
            store = file_->open({"", 3, StoreMode::serve, &clock_, true});
            ASSERT_TRUE(store->bind_log("log-1")) << "the same log is nobody's conflict";
        }
    }
    // A sale with a payment to come, and its orders 1 to `orders`.
    SaleNo fill(std::uint64_t orders) {
        SaleTerms sale = terms("s", static_cast<Units>(orders));
        sale.payment_timeout = Duration(1'000);
        const SaleNo no = stores_[0]->create_sale(sale, "s", "test")->first.terms.no;
        std::vector<LogRecord> records;
        for (std::uint64_t n = 1; n <= orders; ++n) records.push_back(order(no, n));
        EXPECT_TRUE(apply_next(*stores_[0], records));
        return no;
    }
    [[nodiscard]] bool balances() {
        const auto books = stores_[0]->books({});
        for (const SaleAudit& row : judge(*books, {}, {})) {
            for (const std::string& violation : row.violations) ADD_FAILURE() << violation;
            if (!row.violations.empty()) return false;
        }
        return true;
    }
    // Runs f(store) for both at once.
    template <class F> void both(F f) {
        std::array<std::thread, 2> threads;
        for (std::size_t i = 0; i < 2; ++i) {
            threads[i] = std::thread([this, i, &f] { f(*stores_[i], i); });
        }
        for (std::thread& thread : threads) thread.join();
    }

    ManualClock clock_{kNow};
    std::unique_ptr<ScratchStore> file_;
    std::array<std::unique_ptr<SqlOrderStore>, 2> stores_;
};
INSTANTIATE_TEST_SUITE_P(In, SharedStore, testing::ValuesIn(kServers), suffix_of);

class NewStore : public StoreTest {};
INSTANTIATE_TEST_SUITE_P(In, NewStore, testing::ValuesIn(kServers), suffix_of);

TEST_P(NewStore, IsMadeOnceByManyThatStartAtTheSameTime) {
    const ScratchStore file(GetParam());
    std::vector<std::future<std::string>> starts;
    for (int i = 0; i < 6; ++i) {
        starts.push_back(std::async(std::launch::async, [&file]() -> std::string {
            auto store = SqlOrderStore::open({file.url(), 1, StoreMode::serve});
            if (!store) return store.error().message();
            if (auto bound = (*store)->bind_log("log-1"); !bound) return bound.error().message();
            const auto sale = (*store)->create_sale(terms("s", 5), "s", "test");
            return sale ? "" : sale.error().message();
        }));
    }
    for (auto& start : starts) EXPECT_EQ(start.get(), "");
    EXPECT_EQ(file.number("SELECT count(*) FROM doorbuster_schema"), 1);
    EXPECT_EQ(file.number("SELECT count(*) FROM sales"), 1);
    EXPECT_EQ(file.number("SELECT count(*) FROM sale_journal"), 1);
}

TEST_P(NewStore, BelongsToOneOfTheLogsThatWantItAtTheSameTime) {
    const ScratchStore file(GetParam());
    const auto store = file.open();
    std::vector<std::future<bool>> calls;
    for (int i = 0; i < 4; ++i) {
        calls.push_back(std::async(std::launch::async, [&store, i] {
            return store->bind_log("log-" + std::to_string(i)).has_value();
        }));
    }
    int bound = 0;
    for (auto& call : calls) bound += call.get() ? 1 : 0;
    EXPECT_EQ(bound, 1);
    EXPECT_EQ(file.number("SELECT count(*) FROM order_log"), 1);
}

// Two writers that each believe the partition to be theirs, as behind a rebalance.
TEST_P(SharedStore, AppliesEachBatchOnceHoweverManyWritersComeWithIt) {
    constexpr std::uint64_t kBatches = 40;
    constexpr std::uint64_t kBatch = 20;
    const SaleNo sale = add_sale(*stores_[0], "s", 10'000);
    std::array<std::atomic<std::uint64_t>, kBatches> applied{};
    std::atomic<bool> is_odd{false};
    both([&](SqlOrderStore& store, std::size_t) {
        for (std::uint64_t batch = 0; batch < kBatches; ++batch) {
            std::vector<LogRecord> records;
            for (std::uint64_t i = 1; i <= kBatch; ++i) {
                records.push_back(order(sale, batch * kBatch + i));
            }
            const LogPosition from(batch * kBatch + 1);
            const auto report =
                store.apply({LogPartition(5), from}, from.plus(kBatch), records, kGuard);
            if (report && report->confirmed == kBatch) ++applied[batch];
            else if (!report && !report.error().is(Errc::fenced)) is_odd = true;
            // Whoever is ahead waits for nobody: the other is fenced until it has caught up.
        }
    });
    EXPECT_FALSE(is_odd);
    for (const auto& times : applied) EXPECT_EQ(times, 1U);
    EXPECT_EQ(stores_[1]->log_binding()->next.at(LogPartition(5)),
              LogPosition(kBatches * kBatch + 1));
    EXPECT_EQ(stores_[1]->log_binding()->next.at(LogPartition(4)), LogPosition(1));
    EXPECT_EQ(stores_[1]->find_sale("s")->sold, static_cast<Units>(kBatches * kBatch));
    EXPECT_TRUE(balances());
}

TEST_P(SharedStore, TakesPartitionsApartWithSalesInEach) {
    std::array<SaleNo, 2> sales;
    for (std::size_t i = 0; i < 2; ++i) {
        SaleTerms sale = terms("s" + std::to_string(i), 1'000);
        sale.partition = LogPartition(static_cast<std::uint32_t>(i));
        sales[i] = stores_[0]->create_sale(sale, sale.id, "test")->first.terms.no;
        EXPECT_EQ(stores_[1]->find_sale(sale.id)->terms.partition, sale.partition);
    }
    both([&](SqlOrderStore& store, std::size_t i) {
        const LogPartition partition(static_cast<std::uint32_t>(i));
        for (std::uint64_t n = 1; n <= 200; n += 10) {
            std::vector<LogRecord> records;
            for (std::uint64_t k = n; k < n + 10; ++k) records.push_back(order(sales[i], k));
            const auto report =
                store.apply({partition, LogPosition(n)}, LogPosition(n + 10), records, kGuard);
            EXPECT_TRUE(report.has_value()) << report.error().message();
        }
    });
    for (const std::uint32_t i : {0U, 1U}) {
        EXPECT_EQ(stores_[0]->log_binding()->next.at(LogPartition(i)), LogPosition(201));
    }
    EXPECT_TRUE(balances());
}

// Stock moves on other nodes while the writer is at it: that is no reason to refuse anybody.
TEST_P(SharedStore, StoresBatchesWhileOthersGiveUnitsBack) {
    constexpr std::uint64_t kOrders = 400;
    const SaleNo sale = fill(kOrders);
    std::atomic<std::size_t> conflicts{0};
    both([&](SqlOrderStore& store, std::size_t i) {
        if (i == 0) {
            for (std::uint64_t n = 1; n <= kOrders; ++n) {
                const OrderChange cancel{order(sale, n).order, OrderAction::cancel, ""};
                EXPECT_TRUE(store.change_orders(std::span(&cancel, 1)).has_value());
            }
            return;
        }
        for (std::uint64_t batch = 0; batch < 40; ++batch) {
            // Nobody's hold: as many as the stock has room for by now.
            const auto terms = store.find_sale("s");
            if (terms->terms.stock - terms->sold < 5) continue;
            std::vector<LogRecord> records;
            for (std::uint64_t k = 1; k <= 5; ++k) {
                records.push_back(order(sale, 10'000 + batch * 5 + k));
            }
            const auto report = apply_next(store, records);
            ASSERT_TRUE(report.has_value()) << report.error().message();
            EXPECT_EQ(report->confirmed, 5U);
            conflicts += report->conflicts;
        }
    });
    EXPECT_EQ(conflicts, 0U);
    EXPECT_TRUE(balances());
}

TEST_P(SharedStore, ExpiresEachOrderOnce) {
    constexpr std::uint64_t kOrders = 1'500;
    static_cast<void>(fill(kOrders));
    clock_.advance(Duration(1'000));
    std::array<std::vector<OrderId>, 2> expired;
    both([&](SqlOrderStore& store, std::size_t i) {
        for (;;) {
            const auto report = store.expire_due(50);
            ASSERT_TRUE(report.has_value()) << report.error().message();
            for (const GiveBack& given : report->given_back) {
                expired[i].insert(expired[i].end(), given.orders.begin(), given.orders.end());
            }
            if (!report->next_due) return;
        }
    });
    std::set<OrderId> all(expired[0].begin(), expired[0].end());
    all.insert(expired[1].begin(), expired[1].end());
    EXPECT_EQ(all.size(), kOrders);
    EXPECT_EQ(expired[0].size() + expired[1].size(), kOrders) << "some were given back twice";
    EXPECT_EQ(stores_[0]->find_sale("s")->sold, 0);
    EXPECT_EQ(books_of(*stores_[0], "s").give_backs, static_cast<std::int64_t>(kOrders));
    EXPECT_TRUE(balances());
}

TEST_P(SharedStore, EndsAnOrderOnceWhenItIsCancelledPaidAndOverdueAtTheSameTime) {
    constexpr std::uint64_t kOrders = 300;
    const SaleNo sale = fill(kOrders);
    clock_.advance(Duration(999)); // due in a moment
    std::atomic<std::uint64_t> ended{0}, paid{0};
    both([&](SqlOrderStore& store, std::size_t i) {
        for (std::uint64_t n = 1; n <= kOrders; ++n) {
            const OrderAction action = i == 0 ? OrderAction::cancel : OrderAction::pay;
            const OrderChange change{order(sale, n).order, action, "p"};
            const auto report = store.change_orders(std::span(&change, 1));
            ASSERT_TRUE(report.has_value()) << report.error().message();
            if (n == kOrders / 2) clock_.advance(Duration(1));
            for (const GiveBack& given : report->given_back) ended += given.orders.size();
            const bool is_paid = report->changes[0].verdict == ChangeVerdict::done && i == 1;
            if (is_paid) ++paid;
            if (n % 25 != 0) continue;
            const auto expired = store.expire_due(10);
            ASSERT_TRUE(expired.has_value()) << expired.error().message();
            for (const GiveBack& given : expired->given_back) ended += given.orders.size();
        }
    });
    EXPECT_EQ(ended + paid, kOrders);
    EXPECT_EQ(stores_[0]->find_sale("s")->sold, static_cast<Units>(paid.load()));
    EXPECT_EQ(books_of(*stores_[0], "s").give_backs, static_cast<std::int64_t>(ended.load()));
    EXPECT_TRUE(balances());
}

// Somebody at an SQL prompt locks the sale, then the order; the store goes the other way round.
TEST_P(SharedStore, GoesOnWhenItIsTheVictimOfADeadlock) {
    const SaleNo sale = fill(5);
    const std::string id = order(sale, 1).order.text();
    Session other(*parse_store_url(file_->url()), SessionOptions());
    other.open();
    other.soci() << (GetParam() == Dialect::mysql ? "START TRANSACTION" : "BEGIN");
    // MySQL rolls back whoever has written less.
    for (int i = 0; i < 50; ++i) {
        other.soci() << "INSERT INTO sale_changes VALUES (99, 'key" + std::to_string(i) + "', '')";
    }
    other.soci() << "UPDATE sales SET title = 'locked' WHERE no = " + std::to_string(sale.get());
    auto cancelled = std::async(std::launch::async, [&] {
        const OrderChange cancel{order(sale, 1).order, OrderAction::cancel, ""};
        return stores_[0]->change_orders(std::span(&cancel, 1));
    });
    // Until it has the order and waits for the sale.
    const std::string waiting =
        GetParam() == Dialect::mysql
            ? "SELECT count(*) FROM information_schema.innodb_trx t JOIN "
              "information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE "
              "t.trx_state = 'LOCK WAIT' AND p.db = database()"
            : "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN "
              "pg_namespace n ON n.oid = c.relnamespace JOIN pg_locks w ON w.pid = l.pid AND NOT "
              "w.granted WHERE n.nspname = current_schema() AND c.relname = 'sales'";
    ASSERT_TRUE(eventually([&] { return file_->number(waiting) > 0; }));
    bool is_victim = true; // the store
    try {
        other.soci() << "UPDATE orders SET user_id = user_id WHERE id = '" + id + "'";
        other.soci() << "COMMIT";
    } catch (const soci::soci_error&) {
        is_victim = false;
        other.soci() << "ROLLBACK";
    }
    const auto report = cancelled.get();
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->changes[0].verdict, ChangeVerdict::done);
    EXPECT_EQ(stores_[0]->find_sale("s")->sold, 4);
    EXPECT_TRUE(is_victim) << "then this has tested nothing";
}

// The server throws the store's sessions out, one of them in the middle of a batch.
TEST_P(SharedStore, GoesOnWhenItsConnectionsAreKilled) {
    const SaleNo sale = fill(5);
    Session other(*parse_store_url(file_->url()), SessionOptions());
    other.open();
    const std::string no = std::to_string(sale.get());
    other.soci() << (GetParam() == Dialect::mysql ? "START TRANSACTION" : "BEGIN");
    other.soci() << "UPDATE sales SET stock = stock + 10 WHERE no = " + no;
    auto applied = std::async(std::launch::async, [&] {
        return apply_next(*stores_[1], {order(sale, 11), order(sale, 12)});
    });
    const bool is_mysql = GetParam() == Dialect::mysql;
    // Those that wait for our lock.
    const std::string victims =
        is_mysql ? "SELECT t.trx_mysql_thread_id FROM information_schema.innodb_trx t JOIN "
                   "information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE "
                   "t.trx_state = 'LOCK WAIT' AND p.db = database()"
                 : "SELECT w.pid FROM pg_locks w WHERE NOT w.granted AND pg_backend_pid() = ANY "
                   "(pg_blocking_pids(w.pid))";
    Integer victim = 0;
    ASSERT_TRUE(eventually([&] {
        other.soci() << victims, soci::into(victim);
        return victim != 0;
    }));
    if (is_mysql) other.soci() << "KILL " + std::to_string(victim);
    else file_->run_sql("SELECT pg_terminate_backend(" + std::to_string(victim) + ")");
    other.soci() << "COMMIT";
    const auto report = applied.get();
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed, 2U);
    EXPECT_EQ(stores_[0]->find_sale("s")->sold, 7);
    EXPECT_TRUE(balances());
}

TEST_P(SharedStore, NumbersTheEventsOfAllItsWritersExactly) {
    constexpr std::uint64_t kOrders = 300;
    const SaleNo sale = fill(kOrders);
    auto opened = SqlEventOutbox::open(*stores_[0]);
    ASSERT_TRUE(opened.has_value());
    SqlEventOutbox& outbox = **opened;
    ASSERT_TRUE(*outbox.try_lead());
    std::atomic<int> running{2};
    std::vector<OutboxEvent> seen;
    auto reader = std::async(std::launch::async, [&] {
        std::int64_t done = 0;
        for (bool is_last = false;;) {
            const auto last = outbox.last_seq();
            ASSERT_TRUE(last.has_value()) << last.error().message();
            const auto events = outbox.read(0, done, 50);
            ASSERT_TRUE(events.has_value()) << events.error().message();
            for (const OutboxEvent& event : *events) {
                EXPECT_GT(event.seq, done);
                done = event.seq;
                seen.push_back(event);
            }
            if (events->empty() && is_last) return;
            is_last = events->empty() && running == 0;
        }
    });
    both([&](SqlOrderStore& store, std::size_t i) {
        for (std::uint64_t n = 1; n <= kOrders; ++n) {
            if (n % 2 != i) continue;
            const OrderAction action = n % 3 == 0 ? OrderAction::pay : OrderAction::cancel;
            const OrderChange change{order(sale, n).order, action, "p"};
            EXPECT_TRUE(store.change_orders(std::span(&change, 1)).has_value());
        }
        --running;
    });
    reader.get();
    EXPECT_EQ(seen.size(), 2 * kOrders) << "each order was confirmed, then paid or cancelled";
    std::map<OrderId, std::int64_t> versions;
    for (const OutboxEvent& event : seen) {
        EXPECT_EQ(event.order.version, ++versions[event.order.id]) << "an order's, in its order";
    }
}

TEST_P(SharedStore, HasOneThatSendsItsWebhooks) {
    auto first = SqlEventOutbox::open(*stores_[0]);
    auto second = SqlEventOutbox::open(*stores_[1]);
    ASSERT_TRUE(first && second);
    EXPECT_TRUE(*(*first)->try_lead());
    EXPECT_TRUE(*(*first)->try_lead()) << "still";
    EXPECT_FALSE(*(*second)->try_lead());
    const std::string url = "https://shop.example/";
    const auto shop = (*first)->register_endpoints(std::span(&url, 1), kNow, TimePoint());
    ASSERT_TRUE(shop.has_value());
    const DeliveryProgress progress{shop->front(), {}, {}};
    EXPECT_TRUE((*first)->save(std::span(&progress, 1)).has_value());
    EXPECT_TRUE((*second)->save(std::span(&progress, 1)).error().is(Errc::fenced));
    // An operator asks the other process.
    ReplayRequest everything;
    everything.since = kNow - Duration(1);
    ASSERT_TRUE((*second)->replay(shop->front().no, everything, kNow).has_value());
    EXPECT_TRUE((*first)->save(std::span(&progress, 1)).error().is(Errc::conflict));
    first->reset();
    EXPECT_TRUE(eventually([&] { return (*second)->try_lead().value_or(false); }))
        << "the lead ends with its connection";
}

// Times of orders are the database's, whatever the machines of its users believe.
TEST_P(NewStore, DecidesByTheDatabasesClock) {
    const ScratchStore file(GetParam());
    const auto store = file.open_bound();
    SaleTerms sale = terms("s", 10);
    sale.payment_timeout = Duration(60'000);
    const SaleNo no = store->create_sale(sale, "s", "test")->first.terms.no;
    const char* now = GetParam() == Dialect::mysql
                          ? "SELECT CAST(unix_timestamp(sysdate(3)) * 1000 AS SIGNED)"
                          : "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
    const std::int64_t before = file.number(now);
    ASSERT_TRUE(apply_next(*store, {order(no, 1)}));
    const std::int64_t after = file.number(now);
    const auto stored = store->find_order(order(no, 1).order);
    const std::int64_t expires_at = stored->expires_at->time_since_epoch().count();
    EXPECT_GE(expires_at, before + 60'000 - 1);
    EXPECT_LE(expires_at, after + 60'000 + 1);
}

} // namespace
} // namespace doorbuster::sql
