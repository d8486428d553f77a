// Dead letters, and what an operator does with them.
#include <array>
#include <gtest/gtest.h>

#include "adapters/sql/store_fixture.h"
#include "engine/audit.h"

namespace doorbuster::sql {
namespace {

using namespace fixture;

class DeadLetters : public StoreTest {
protected:
    void SetUp() override {
        StoreTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        file_ = std::make_unique<ScratchStore>(GetParam());
        store_ = file_->open_bound({"", 2, StoreMode::serve, &clock_, true});
        sale_ = add_sale(*store_, "s", 5);
    }
    // Of nothing: the table takes no such order. The operator repairs the letter by hand.
    LogRecord poison(std::uint64_t n, Units repaired = 2) {
        const LogRecord record = order(sale_, n, 0);
        EXPECT_EQ(apply_next(*store_, {record})->dead_letters, 1U);
        const std::string units = std::to_string(repaired);
        file_->run_sql("UPDATE dead_letters SET quantity = " + units + " WHERE order_id = '" +
                       record.order.text() + "'");
        file_->run_sql("UPDATE sales SET log_accepted_units = log_accepted_units + " + units);
        return record;
    }
    [[nodiscard]] std::vector<std::string> violations() {
        const auto books = store_->books({});
        std::vector<std::string> all;
        for (const SaleAudit& row : judge(*books, {}, {})) {
            all.insert(all.end(), row.violations.begin(), row.violations.end());
        }
        return all;
    }

    ManualClock clock_{kNow};
    std::unique_ptr<ScratchStore> file_;
    std::unique_ptr<SqlOrderStore> store_;
    SaleNo sale_;
};
INSTANTIATE_TEST_SUITE_P(In, DeadLetters, testing::ValuesIn(kAllDialects), suffix_of);

TEST_P(DeadLetters, AreListedWithTheirCause) {
    LogRecord unreadable;
    unreadable.kind = LogRecordKind::unreadable;
    unreadable.user = "log record of kind 77";
    unreadable.key = std::string("\x4d\x00\xff", 3);
    const auto report =
        apply_next(*store_, {order(sale_, 1), unreadable, order(SaleNo(99), 2, 3), unreadable});
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed, 1U);
    EXPECT_EQ(report->dead_letters, 3U);
    const auto letters = store_->dead_letters({}, 10);
    ASSERT_TRUE(letters.has_value()) << letters.error().message();
    ASSERT_EQ(letters->size(), 3U);
    for (const std::size_t i : {0U, 1U}) {
        const DeadLetter& letter = (*letters)[i];
        EXPECT_EQ(letter.sale, SaleNo(0));
        EXPECT_EQ(letter.cause, "log record of kind 77");
        EXPECT_EQ(letter.raw, "4d00ff");
        EXPECT_EQ(letter.at, kNow);
    }
    EXPECT_NE((*letters)[0].order, (*letters)[1].order);
    const DeadLetter& unknown = (*letters)[2];
    EXPECT_EQ(unknown.order, order(SaleNo(99), 2).order);
    EXPECT_EQ(unknown.user, "user2");
    EXPECT_EQ(unknown.key, "key2");
    EXPECT_EQ(unknown.quantity, 3);
    EXPECT_FALSE(unknown.cause.empty());
    EXPECT_FALSE(unknown.dropped_at.has_value());
    EXPECT_EQ(store_->dead_letters({}, 2)->size(), 2U);
    EXPECT_EQ(store_->dead_letters((*letters)[1].order, 10)->size(), 1U);
    EXPECT_EQ(books_of(*store_, "s").dead_letters, 0) << "they are of no sale";
    EXPECT_TRUE(violations().empty());
}

TEST_P(DeadLetters, BecomeOrdersWhenTheyAreReplayed) {
    const LogRecord record = poison(2);
    EXPECT_EQ(books_of(*store_, "s").dead_letters, 1);
    EXPECT_EQ(books_of(*store_, "s").dead_letter_units, 2);
    const auto stored = store_->replay_dead_letter(record.order);
    ASSERT_TRUE(stored.has_value()) << stored.error().message();
    EXPECT_EQ(stored->status, OrderStatus::confirmed);
    EXPECT_EQ(stored->user, record.user);
    EXPECT_EQ(stored->key, record.key);
    EXPECT_EQ(store_->find_sale("s")->sold, 2);
    EXPECT_EQ(books_of(*store_, "s").dead_letters, 0);
    EXPECT_EQ(books_of(*store_, "s").log_accepted_orders, 1);
    EXPECT_TRUE(store_->dead_letters({}, 10)->empty());
    EXPECT_TRUE(violations().empty());
    EXPECT_TRUE(store_->replay_dead_letter(record.order).error().is(Errc::not_found));
    EXPECT_EQ(apply_next(*store_, {record})->duplicates, 1U);
}

TEST_P(DeadLetters, StayWhenTheyCannotBeStoredStill) {
    const LogRecord still_nothing = poison(1, 0);
    const auto nothing = store_->replay_dead_letter(still_nothing.order);
    ASSERT_FALSE(nothing.has_value());
    EXPECT_TRUE(nothing.error().is(Errc::wrong_state)) << nothing.error().message();
    const LogRecord too_many = poison(2, 6);
    EXPECT_TRUE(store_->replay_dead_letter(too_many.order).error().is(Errc::wrong_state));
    ASSERT_TRUE(apply_next(*store_, {order(SaleNo(99), 3)}));
    const auto of_nobody = store_->replay_dead_letter(order(SaleNo(99), 3).order);
    EXPECT_TRUE(of_nobody.error().is(Errc::wrong_state));
    EXPECT_EQ(store_->dead_letters({}, 10)->size(), 3U);
    EXPECT_EQ(store_->find_sale("s")->sold, 0);
    EXPECT_EQ(books_of(*store_, "s").dead_letters, 2);
}

TEST_P(DeadLetters, HoldNoUnitsWhenTheyAreDropped) {
    const LogRecord record = poison(2);
    const auto given_back = store_->drop_dead_letter(record.order, "nobody's order");
    ASSERT_TRUE(given_back.has_value()) << given_back.error().message();
    EXPECT_EQ(given_back->orders, std::vector<OrderId>{record.order});
    EXPECT_EQ(books_of(*store_, "s").dead_letters, 0);
    EXPECT_EQ(books_of(*store_, "s").give_backs, 1);
    Snapshot snapshot;
    ASSERT_TRUE(store_->read_snapshot({}, kNow, snapshot));
    EXPECT_TRUE(snapshot.letters.empty());
    EXPECT_EQ(snapshot.given_back, std::vector<Units>{2});
    EXPECT_EQ(books_of(*store_, "s").dropped_letters, 1);
    EXPECT_EQ(books_of(*store_, "s").dropped_letter_units, 2);
    EXPECT_TRUE(violations().empty());
    EXPECT_EQ(status_of(*store_, record.order), OrderStatus::refused);
    const auto letters = store_->dead_letters({}, 10);
    ASSERT_EQ(letters->size(), 1U) << "it is remembered";
    EXPECT_EQ((*letters)[0].dropped_at, kNow);
    EXPECT_EQ((*letters)[0].drop_cause, "nobody's order");
    EXPECT_TRUE(store_->replay_dead_letter(record.order).error().is(Errc::wrong_state));
    EXPECT_TRUE(store_->drop_dead_letter(record.order, "again")->orders.empty());
    EXPECT_EQ((*store_->dead_letters({}, 10))[0].drop_cause, "nobody's order");
    EXPECT_EQ(apply_next(*store_, {record})->duplicates, 1U) << "it does not come back";
    EXPECT_TRUE(store_->drop_dead_letter(order(sale_, 9).order, "").error().is(Errc::not_found));
}

// A sale with letters looks more closely, and goes on.
TEST_P(DeadLetters, DoNotStopTheOrdersBehindThem) {
    static_cast<void>(poison(1, 1));
    const auto report = apply_next(*store_, {order(sale_, 2), order(sale_, 1, 0), order(sale_, 3)});
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->confirmed, 2U);
    EXPECT_EQ(report->duplicates, 1U);
    EXPECT_TRUE(violations().empty());
}

} // namespace
} // namespace doorbuster::sql
