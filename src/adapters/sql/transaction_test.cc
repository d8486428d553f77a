// What the store's writing sessions share: their turns, and the size of the write-ahead log.
#include "adapters/sql/transaction.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "adapters/sql/store_fixture.h"
#include "runtime/clock.h"

namespace doorbuster::sql {
namespace {

using fixture::apply_next;
using fixture::kNow;
using fixture::order;
using fixture::ScratchStore;

// As behind a mass expiry: somebody who gives the turn back and wants the next one at once.
TEST(SharedWrites, ServesWhoeverCameFirst) {
    constexpr int kTurns = 40;
    constexpr std::chrono::microseconds kTurn{200};
    using Steady = std::chrono::steady_clock;
    SharedWrites writes;
    std::atomic<std::uint64_t> turns{0};
    std::atomic<bool> is_asking{false};
    std::atomic<bool> is_over{false};
    std::thread greedy([&] {
        while (!is_over) {
            writes.take_turn();
            ++turns;
            while (!is_asking && !is_over) std::this_thread::yield();
            const auto until = Steady::now() + kTurn; // the other one gets into the line
            while (Steady::now() < until) std::this_thread::yield();
            writes.give_turn_back();
        }
    });
    int overtaken = 0;
    std::uint64_t before = 0;
    for (int i = 0; i < kTurns; ++i) {
        while (turns == before) std::this_thread::yield();
        before = turns;
        is_asking = true;
        writes.take_turn();
        if (turns != before) ++overtaken;
        before = turns;
        is_asking = false;
        writes.give_turn_back();
    }
    is_over = true;
    greedy.join();
    EXPECT_LE(overtaken, kTurns / 4) << "unless we were put aside just before the line";
}

TEST(SharedWrites, GetsItsTurnBackHoweverATransactionEnds) {
    const ScratchStore file;
    SessionOptions options;
    options.busy_wait_s = 0;
    Session session(*parse_store_url(file.url()), options);
    Session other(*parse_store_url(file.url()), options);
    session.open();
    other.open();
    session.soci() << "PRAGMA journal_mode=WAL";
    session.soci() << "CREATE TABLE t (a INTEGER)";
    SharedWrites writes;
    { const Transaction rolled_back(session, writes, Transaction::Kind::write); }
    {
        Transaction committed(session, writes, Transaction::Kind::write);
        session.soci() << "INSERT INTO t VALUES (1)";
        committed.commit();
        // At once, not at the end of the scope.
        const Transaction next(other, writes, Transaction::Kind::write);
    }
    { // Another process is writing: the transaction does not even begin.
        other.soci() << "BEGIN IMMEDIATE";
        EXPECT_THROW(Transaction(session, writes, Transaction::Kind::write), soci::soci_error);
        other.soci() << "ROLLBACK";
    }
    {
        const Transaction writer(session, writes, Transaction::Kind::write);
        const Transaction reader(other, writes, Transaction::Kind::read); // takes no turn
        int rows = 0;
        other.soci() << "SELECT count(*) FROM t", soci::into(rows);
        EXPECT_EQ(rows, 1);
    }
    writes.take_turn();
    writes.give_turn_back();
}

// Whatever changes orders in bulk copies the write-ahead log into the file now and then.
class WriteAheadLogTest : public testing::Test {
protected:
    static constexpr std::uint64_t kOrders = 40'000;
    static constexpr std::size_t kBatch = 1'000;

    void SetUp() override {
        store_ = file_.open_bound({"", 2, StoreMode::serve, &clock_, true});
        SaleTerms terms = fixture::terms("s", static_cast<Units>(kOrders));
        terms.payment_timeout = Duration(60'000);
        sale_ = store_->create_sale(terms, "s", "tester")->first.terms.no;
        for (std::uint64_t n = 0; n < kOrders;) {
            std::vector<LogRecord> records;
            for (std::size_t i = 0; i < kBatch; ++i) records.push_back(order(sale_, ++n));
            ASSERT_TRUE(apply_next(*store_, records));
            look();
        }
    }
    void look() {
        largest_ = std::max(largest_, std::filesystem::file_size(file_.path() + "-wal"));
    }

    const ScratchStore file_;
    ManualClock clock_{kNow};
    std::unique_ptr<SqlOrderStore> store_;
    SaleNo sale_;
    std::uintmax_t largest_ = 0; // bytes
};

TEST_F(WriteAheadLogTest, DoesNotGrowWithEveryExpiry) {
    clock_.advance(Duration(60'000));
    std::vector<GiveBack> given_back;
    std::uint64_t expired = 0;
    while (expired < kOrders) {
        auto report = store_->expire_due(kBatch);
        ASSERT_TRUE(report.has_value()) << report.error().message();
        ASSERT_EQ(report->given_back.size(), 1U);
        expired += report->given_back[0].orders.size();
        ASSERT_TRUE(store_->give_backs_done(report->given_back));
        look();
    }
    EXPECT_EQ(expired, kOrders);
    EXPECT_EQ(store_->find_sale("s")->sold, 0);
    EXPECT_LT(largest_, 64U << 20U);
}

// Payments come in any order: each of them writes a page of its own or two, so that 32,768 are more
// bytes than as many orders were.
TEST_F(WriteAheadLogTest, DoesNotGrowWithEveryPayment) {
    std::vector<std::uint64_t> numbers(kOrders);
    for (std::uint64_t i = 0; i < kOrders; ++i) numbers[i] = i + 1;
    std::mt19937_64 random(7);
    std::ranges::shuffle(numbers, random);
    for (std::size_t at = 0; at < numbers.size(); at += kBatch) {
        std::vector<OrderChange> changes;
        for (std::size_t i = at; i < at + kBatch; ++i) {
            changes.push_back({order(sale_, numbers[i]).order, OrderAction::pay, "payment"});
        }
        const auto report = store_->change_orders(changes);
        ASSERT_TRUE(report.has_value()) << report.error().message();
        look();
    }
    EXPECT_LT(largest_, 64U << 20U);
}

} // namespace
} // namespace doorbuster::sql
