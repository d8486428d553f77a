// The tests that every OrderLog passes. A test program of an adapter includes this once and
// instantiates both suites: OrderLogContract with every log it can make, OrderLogOutage with those
// that it can cut off from what they write to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "domain/ids.h"
#include "ports/log_feed.h"
#include "ports/order_log.h"
#include "runtime/core.h"
#include "runtime/task_fixture.h"

namespace doorbuster::fixture {

// A log under test, and what stands around it. Nothing else appends to it.
class OrderLogSubject {
public:
    virtual ~OrderLogSubject() = default;

    virtual Cores& cores() = 0; // two or more that run
    virtual OrderLog& log() = 0;
    // A writer's view of the same log, from its beginning on. One at a time.
    virtual LogFeed& feed() = 0;
    // The store has everything that is durable, and the log was told so.
    virtual void store_everything() = 0;
    // What is appended from now on can be written nowhere, and again. Only OrderLogOutage asks.
    virtual void cut_off() {}
    virtual void come_back() {}
};

// Null: what it needs is not on this machine. The test is skipped, but fails where CI=true.
using MakeOrderLog = std::unique_ptr<OrderLogSubject> (*)(std::uint64_t lag_max);

class OrderLogContract : public testing::TestWithParam<MakeOrderLog> {
protected:
    static constexpr std::uint64_t kMuch = 1'000'000;
    static constexpr std::uint64_t kLittle = 10;
    static constexpr SaleNo kSale{7};
    static constexpr Epoch kEpoch{1};

    void SetUp() override { open(kMuch); }

    void open(std::uint64_t lag_max) {
        subject_.reset();
        subject_ = GetParam()(lag_max);
        if (!subject_) {
            const char* const ci = std::getenv("CI");
            if (ci != nullptr && std::string(ci) == "true") FAIL() << "its service is missing";
            GTEST_SKIP() << "its service is missing";
        }
        LogRecordView barrier; // a sale's orders count behind its barrier
        barrier.kind = LogRecordKind::barrier;
        barrier.sale = kSale;
        barrier.epoch = kEpoch;
        const auto opened = log().enqueue(barrier);
        ASSERT_TRUE(opened);
        ASSERT_TRUE(is_answered(*opened));
        subject_->store_everything();
    }

    Cores& cores() { return subject_->cores(); }
    OrderLog& log() { return subject_->log(); }

    [[nodiscard]] static OrderId id_of(std::uint64_t n) {
        return {kSale, TimePoint(Duration(1'000)), 0, n};
    }
    [[nodiscard]] static LogRecordView order(std::uint64_t n, std::string_view user = "user") {
        LogRecordView record;
        record.sale = kSale;
        record.epoch = kEpoch;
        record.order = id_of(n);
        record.quantity = static_cast<Units>(n % 5 + 1);
        record.user = user;
        record.key = "key";
        return record;
    }
    [[nodiscard]] LogPosition append(std::uint64_t n) {
        const auto position = log().enqueue(order(n));
        EXPECT_TRUE(position);
        return position.value_or(LogPosition(0));
    }
    // durable()'s answer: true for a yes.
    [[nodiscard]] bool is_answered(LogPosition position, std::size_t core = 0) {
        return run_on(cores().at(core), log().durable(position)).has_value();
    }
    // The orders that a writer reads, until it has read `count` of them.
    [[nodiscard]] std::vector<LogRecord> written(std::size_t count) {
        std::vector<LogRecord> orders;
        EXPECT_TRUE(eventually([&] {
            auto batch = subject_->feed().next(100, Duration(20));
            EXPECT_TRUE(batch) << batch.error().message();
            if (!batch) return true;
            for (LogRecord& record : batch->records) {
                if (record.kind == LogRecordKind::order) orders.push_back(std::move(record));
            }
            return orders.size() >= count;
        }));
        return orders;
    }

    std::unique_ptr<OrderLogSubject> subject_;
};

// Appends `count` orders on the calling core, waits for each, and counts the yeses that came back
// to this core and were durable.
inline Task<std::uint64_t> append_and_wait(Core& core, OrderLog& log,
                                           std::vector<LogRecordView> records) {
    std::uint64_t yes = 0;
    for (const LogRecordView& record : records) {
        const auto position = log.enqueue(record);
        if (!position) continue;
        const auto durable = co_await log.durable(*position);
        if (durable && core.is_here() && log.is_durable(*position)) ++yes;
    }
    co_return yes;
}

TEST_P(OrderLogContract, AWriterReadsWhatWasAppendedInItsOrder) {
    constexpr std::uint64_t kCount = 300;
    std::vector<LogPosition> positions;
    for (std::uint64_t n = 1; n <= kCount; ++n) positions.push_back(append(n));
    EXPECT_TRUE(std::ranges::is_sorted(positions));
    EXPECT_EQ(log().last_enqueued(kOnlyPartition), positions.back());
    EXPECT_TRUE(is_answered(positions.back()));
    const auto read = written(kCount);
    ASSERT_EQ(read.size(), kCount);
    for (std::uint64_t n = 1; n <= kCount; ++n) {
        const LogRecordView sent = order(n);
        EXPECT_EQ(read[n - 1].order, sent.order);
        EXPECT_EQ(read[n - 1].sale, sent.sale);
        EXPECT_EQ(read[n - 1].epoch, sent.epoch);
        EXPECT_EQ(read[n - 1].quantity, sent.quantity);
        EXPECT_EQ(read[n - 1].user, sent.user);
        EXPECT_EQ(read[n - 1].key, sent.key);
    }
}

TEST_P(OrderLogContract, AYesCoversEverythingBeforeIt) {
    std::vector<LogPosition> positions;
    for (std::uint64_t n = 1; n <= 50; ++n) positions.push_back(append(n));
    ASSERT_TRUE(is_answered(positions.back()));
    for (const LogPosition position : positions) EXPECT_TRUE(log().is_durable(position));
    EXPECT_TRUE(is_answered(positions.front(), 1)) << "asked late, on another core";
}

TEST_P(OrderLogContract, AnswersEachCoreThereAndOnlyWhatAWriterReads) {
    constexpr std::uint64_t kLoops = 8;
    constexpr std::uint64_t kEach = 40;
    std::vector<std::future<std::uint64_t>> loops;
    for (std::uint64_t loop = 0; loop < kLoops; ++loop) {
        std::vector<LogRecordView> records;
        for (std::uint64_t i = 0; i < kEach; ++i) records.push_back(order(loop * 1'000 + i));
        Core& core = cores().at(loop % 2);
        loops.push_back(start_on(core, append_and_wait(core, log(), std::move(records))));
    }
    std::uint64_t yes = 0;
    for (auto& loop : loops) yes += finish(loop);
    EXPECT_EQ(yes, kLoops * kEach);
    std::map<OrderId, int> times;
    for (const LogRecord& record : written(yes)) ++times[record.order];
    EXPECT_EQ(times.size(), yes);
    for (const auto& [id, count] : times) EXPECT_EQ(count, 1) << id.text();
}

TEST_P(OrderLogContract, WritesIntoRoomThatWasTaken) {
    ASSERT_TRUE(log().take_room(kOnlyPartition));
    ASSERT_TRUE(log().take_room(kOnlyPartition));
    log().return_room(kOnlyPartition);
    const LogPosition position = log().append(order(1));
    EXPECT_TRUE(is_answered(position));
    EXPECT_EQ(written(1).at(0).order, id_of(1));
}

TEST_P(OrderLogContract, HasNoRoomWhileTheStoreIsTooFarBehind) {
    open(kLittle);
    if (HasFatalFailure() || IsSkipped()) return;
    std::uint64_t taken = 0;
    EXPECT_TRUE(eventually([&] {
        const auto position = log().enqueue(order(taken + 1));
        if (!position) return log().lag_records() >= kLittle;
        ++taken;
        EXPECT_TRUE(is_answered(*position));
        return false;
    }));
    EXPECT_GE(taken, kLittle - 1); // the barrier may count, too
    EXPECT_LE(taken, kLittle + 1);
    EXPECT_FALSE(log().take_room(kOnlyPartition));
    LogRecordView barrier;
    barrier.kind = LogRecordKind::barrier;
    barrier.sale = kSale;
    barrier.epoch = Epoch(2);
    const auto passed = log().enqueue(barrier);
    ASSERT_TRUE(passed) << "a rebuild waits for it";
    EXPECT_TRUE(is_answered(*passed));
    subject_->store_everything();
    EXPECT_TRUE(eventually([&] { return log().lag_records() == 0; }));
    EXPECT_TRUE(log().take_room(kOnlyPartition));
    log().return_room(kOnlyPartition);
}

TEST_P(OrderLogContract, FindsAnOrderUntilTheStoreHasIt) {
    LogPosition last;
    for (std::uint64_t n = 1; n <= 20; ++n) last = append(n);
    ASSERT_TRUE(is_answered(last));
    for (std::uint64_t n = 1; n <= 20; ++n) {
        const auto found = log().find(id_of(n));
        ASSERT_TRUE(found) << found.error().message();
        ASSERT_TRUE(found->has_value()) << n;
        EXPECT_EQ((*found)->order, id_of(n));
        EXPECT_EQ((*found)->user, "user");
    }
    const auto stranger = log().find(id_of(21));
    ASSERT_TRUE(stranger) << stranger.error().message();
    EXPECT_FALSE(stranger->has_value());
    subject_->store_everything();
    EXPECT_TRUE(log().find(id_of(1))) << "no error, whatever it finds";
}

using OrderLogOutage = OrderLogContract;

TEST_P(OrderLogOutage, NothingIsDurableUntilItCanBeWrittenAndThenAllOfIt) {
    const LogPosition before = append(1);
    ASSERT_TRUE(is_answered(before));
    subject_->cut_off();
    std::vector<LogPosition> cut;
    for (std::uint64_t n = 2; n <= 20; ++n) {
        if (const auto position = log().enqueue(order(n))) cut.push_back(*position);
    }
    ASSERT_FALSE(cut.empty());
    EXPECT_FALSE(is_answered(cut.back())) << "the buyer hears 503, not for ever";
    for (const LogPosition position : cut) EXPECT_FALSE(log().is_durable(position));
    EXPECT_TRUE(log().is_durable(before));
    subject_->come_back();
    EXPECT_TRUE(eventually([&] { return log().is_durable(cut.back()); }))
        << "what was taken is written without another word";
    const auto read = written(1 + cut.size());
    ASSERT_EQ(read.size(), 1 + cut.size());
    for (std::uint64_t n = 1; n <= read.size(); ++n) EXPECT_EQ(read[n - 1].order, id_of(n));
}

TEST_P(OrderLogOutage, TakesOnlySoMuchMeanwhile) {
    constexpr std::uint64_t kFarTooMuch = 200'000;
    subject_->cut_off();
    std::uint64_t taken = 0;
    while (taken < kFarTooMuch && log().enqueue(order(taken + 1))) ++taken;
    EXPECT_LT(taken, kFarTooMuch);
    subject_->come_back();
    EXPECT_TRUE(eventually([&] {
        if (!log().take_room(kOnlyPartition)) return false;
        log().return_room(kOnlyPartition);
        return true;
    }));
    EXPECT_EQ(written(taken).size(), taken);
}

} // namespace doorbuster::fixture
