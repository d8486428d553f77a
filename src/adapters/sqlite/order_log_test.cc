#include "adapters/sqlite/order_log.h"

#include <algorithm>
#include <array>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <thread>
#include <unistd.h>

#include "adapters/sqlite/log_fixture.h"

namespace doorbuster::sqlite {
namespace {

using fixture::barrier;
using fixture::kPatience;
using fixture::LiveLog;
using fixture::options_for;
using fixture::order;
using fixture::OtherConnection;
using fixture::TemporaryFolder;
using testing::HasSubstr;

TEST(OrderLog, KeepsEveryRecordInOrderWhoeverEnqueuedIt) {
    constexpr std::size_t kThreads = 4;
    constexpr std::uint64_t kEach = 1'500;
    const TemporaryFolder folder;
    LiveLog log(options_for(folder.path()));
    std::array<std::vector<LogPosition>, kThreads> positions;
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
        threads.emplace_back([&log, &mine = positions[t], t] {
            const std::string user = "user" + std::to_string(t);
            for (std::uint64_t n = 0; n < kEach; ++n) {
                mine.push_back(log->enqueue(order(t * kEach + n, user, "k")).value());
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    log.commit();

    EXPECT_EQ(log->last_enqueued(kOnlyPartition), LogPosition(kThreads * kEach));
    EXPECT_EQ(log->end(), LogPosition(kThreads * kEach + 1));
    const std::vector<LogRecord> records = log.read_all(LogPosition(1));
    ASSERT_EQ(records.size(), kThreads * kEach);
    for (std::size_t t = 0; t < kThreads; ++t) {
        EXPECT_TRUE(std::ranges::is_sorted(positions[t]));
        for (std::uint64_t n = 0; n < kEach; ++n) {
            const LogRecord& read = records[positions[t][n].get() - 1];
            const LogRecordView sent = order(t * kEach + n);
            ASSERT_EQ(read.order, sent.order);
            ASSERT_EQ(read.user, "user" + std::to_string(t));
            ASSERT_EQ(read.key, "k");
            ASSERT_EQ(read.quantity, sent.quantity);
            ASSERT_EQ(read.sale, sent.sale);
            ASSERT_EQ(read.epoch, sent.epoch);
        }
    }
}

TEST(OrderLog, ResumesEveryWaiterOnItsOwnCore) {
    const TemporaryFolder folder;
    LiveLog log(options_for(folder.path()));
    std::vector<std::future<bool>> waits;
    for (std::uint64_t n = 1; n <= 200; ++n) {
        const LogPosition position = log.add(order(n));
        waits.push_back(log.when_durable(position, n % 2));
        // An older position waits behind newer ones.
        waits.push_back(log.when_durable(LogPosition(n / 2), (n + 1) % 2));
    }
    for (std::future<bool>& wait : waits) {
        ASSERT_EQ(wait.wait_for(kPatience), std::future_status::ready);
        EXPECT_TRUE(wait.get());
    }
    EXPECT_TRUE(log->is_durable(LogPosition(200)));
    EXPECT_FALSE(log->is_durable(LogPosition(201)));
}

TEST(OrderLog, TellsNobodyThatARecordIsDurableBeforeItIs) {
    const TemporaryFolder folder;
    ManualClock clock{TimePoint(Duration(1'000'000))};
    LiveLog log(options_for(folder.path()), clock);
    OtherConnection other(folder.path());
    other.run("BEGIN IMMEDIATE"); // nobody else can commit
    const LogPosition position = log->enqueue(order(1)).value();
    auto durable = log.when_durable(position);
    // The wait may begin after any of these.
    for (int i = 0; i < 600; ++i) {
        clock.advance(std::chrono::seconds(6));
        if (durable.wait_for(std::chrono::milliseconds(100)) == std::future_status::ready) break;
    }
    ASSERT_EQ(durable.wait_for(kPatience), std::future_status::ready);
    EXPECT_FALSE(durable.get()) << "the buyer hears 503";
    EXPECT_FALSE(log->is_durable(position));
    EXPECT_EQ(log->end(), LogPosition(1));
    EXPECT_EQ(log->find(order(1).order)->has_value(), false);

    other.run("ROLLBACK");
    log.commit();
    EXPECT_TRUE(log->is_durable(position)) << "the record was in the queue all the time";
    EXPECT_TRUE(log->find(order(1).order)->has_value());
}

TEST(OrderLog, FindsItsEndAgain) {
    const TemporaryFolder folder;
    std::string id;
    {
        LiveLog log(options_for(folder.path()));
        EXPECT_TRUE(log->is_new());
        EXPECT_EQ(log->end(), LogPosition(1));
        EXPECT_EQ(log->last_enqueued(kOnlyPartition), LogPosition(0));
        id = log->id();
        for (std::uint64_t n = 1; n <= 10; ++n) {
            log.add(order(n));
            if (n % 3 == 0) log.commit();
        }
    }
    LiveLog log(options_for(folder.path()));
    EXPECT_FALSE(log->is_new());
    EXPECT_EQ(log->id(), id);
    EXPECT_EQ(log->first(), LogPosition(1));
    EXPECT_EQ(log->end(), LogPosition(11));
    EXPECT_EQ(log->last_enqueued(kOnlyPartition), LogPosition(10));
    EXPECT_TRUE(log->is_durable(LogPosition(10)));
    EXPECT_EQ(log->lag_records(), 10U) << "until the store's position is known";
    log->stored(LogPosition(8));
    EXPECT_EQ(log->lag_records(), 3U);
    EXPECT_EQ(log.add(order(11)), LogPosition(11));
    log.commit();
    const auto records = log.read_all(LogPosition(1));
    ASSERT_EQ(records.size(), 11U);
    for (std::uint64_t n = 1; n <= 11; ++n) EXPECT_EQ(records[n - 1].order, order(n).order);
}

TEST(OrderLog, CommitsWhatIsEnqueuedWhenItStops) {
    const TemporaryFolder folder;
    {
        LiveLog log(options_for(folder.path()));
        for (std::uint64_t n = 1; n <= 100; ++n) log.add(order(n));
        log->stop();
        EXPECT_TRUE(log->is_durable(LogPosition(100)));
        EXPECT_EQ(log->enqueue(order(101)), std::nullopt) << "nothing is taken that nobody writes";
        log->stop(); // again: nothing
    }
    LiveLog log(options_for(folder.path()));
    EXPECT_EQ(log->end(), LogPosition(101));
}

TEST(OrderLog, ReadsFromAnyGroupInAboutTheSizeAskedFor) {
    const TemporaryFolder folder;
    LiveLog log(options_for(folder.path()));
    for (std::uint64_t n = 1; n <= 9; ++n) {
        log.add(order(n));
        if (n % 3 == 0) log.commit();
    }
    // Each commit above is at least one group; begin where the reader itself says one begins.
    const auto first = log->read_batch(LogPosition(1), 1, Duration(0));
    ASSERT_TRUE(first.has_value());
    ASSERT_GE(first->records.size(), 1U);
    ASSERT_LE(first->records.size(), 3U) << "a group is read whole, no other with it";
    const auto rest = log->read_batch(first->next, 100, Duration(0));
    ASSERT_TRUE(rest.has_value());
    EXPECT_EQ(rest->first, first->next);
    EXPECT_EQ(rest->next, LogPosition(10));
    EXPECT_EQ(rest->records.front().order, order(first->next.get()).order);

    const auto nothing = log->read_batch(LogPosition(10), 100, Duration(0));
    ASSERT_TRUE(nothing.has_value());
    EXPECT_TRUE(nothing->records.empty());
    EXPECT_EQ(nothing->next, LogPosition(10));
    const auto beyond = log->read_batch(LogPosition(11), 100, Duration(0));
    ASSERT_FALSE(beyond.has_value());
    EXPECT_TRUE(beyond.error().is(Errc::foreign_log));
    const auto before = log->read_batch(LogPosition(0), 100, Duration(0));
    ASSERT_FALSE(before.has_value());
    EXPECT_TRUE(before.error().is(Errc::foreign_log));
}

TEST(OrderLog, WakesTheReaderWhenSomethingIsThere) {
    const TemporaryFolder folder;
    LiveLog log(options_for(folder.path()));
    auto reading = std::async(std::launch::async, [&log] {
        return log->read_batch(LogPosition(1), 100, Duration(kPatience * 10));
    });
    log.add(order(1));
    ASSERT_EQ(reading.wait_for(kPatience), std::future_status::ready);
    EXPECT_EQ(reading.get()->records.size(), 1U);
    // And when it stops.
    reading = std::async(std::launch::async, [&log] {
        return log->read_batch(LogPosition(2), 100, Duration(kPatience * 10));
    });
    log->stop();
    ASSERT_EQ(reading.wait_for(kPatience), std::future_status::ready);
    EXPECT_TRUE(reading.get()->records.empty());
}

TEST(OrderLog, RefusesOrdersWhileTheStoreIsTooFarBehind) {
    const TemporaryFolder folder;
    LiveLog log(options_for(folder.path(), 3));
    for (std::uint64_t n = 1; n <= 3; ++n) EXPECT_TRUE(log->enqueue(order(n)).has_value());
    log.commit();
    EXPECT_EQ(log->lag_records(), 3U);
    EXPECT_EQ(log->enqueue(order(4)), std::nullopt);
    EXPECT_EQ(log->last_enqueued(kOnlyPartition), LogPosition(3)) << "nothing was taken";
    EXPECT_EQ(log->enqueue(barrier(9)), LogPosition(4)) << "a rebuild waits for its barrier";
    log.commit();
    log->stored(LogPosition(3));
    EXPECT_EQ(log->lag_records(), 2U);
    EXPECT_EQ(log->enqueue(order(5)), LogPosition(5));
    EXPECT_EQ(log->enqueue(order(6)), std::nullopt);
    log.commit();
    const auto records = log.read_all(LogPosition(1));
    ASSERT_EQ(records.size(), 5U);
    EXPECT_EQ(records[3].kind, LogRecordKind::barrier);
    EXPECT_EQ(records[3].epoch, Epoch(9));
    EXPECT_EQ(records[3].sale, SaleNo(7));
}

TEST(OrderLog, FindsAnOrderUntilItIsInTheStore) {
    const TemporaryFolder folder;
    LiveLog log(options_for(folder.path()));
    for (std::uint64_t n = 1; n <= 20; ++n) {
        log.add(order(n, "buyer", "key"));
        if (n % 4 == 0) log.commit();
    }
    for (std::uint64_t n = 1; n <= 20; ++n) {
        const auto found = log->find(order(n).order);
        ASSERT_TRUE(found.has_value());
        ASSERT_TRUE(found->has_value()) << n;
        EXPECT_EQ((*found)->order, order(n).order);
        EXPECT_EQ((*found)->user, "buyer");
        EXPECT_EQ((*found)->key, "key");
        EXPECT_EQ((*found)->quantity, order(n).quantity);
    }
    const auto stranger = log->find(OrderId(SaleNo(7), TimePoint(Duration(1'001)), 9, 9));
    ASSERT_TRUE(stranger.has_value());
    EXPECT_FALSE(stranger->has_value());
    log->stored(LogPosition(21));
    EXPECT_TRUE(log->find(order(1).order).has_value()) << "no error, whatever it finds";
}

// Enough records for a prune: 65,536 and more, all stored.
void fill_and_store(LiveLog& log, std::uint64_t count) {
    const std::uint64_t from = log->last_enqueued(kOnlyPartition).get();
    for (std::uint64_t n = 1; n <= count; ++n) log.add(order(from + n));
    log.commit();
    log->stored(log->end());
}

bool holds_group(const std::string& folder, std::uint64_t first) {
    auto database = open_log_file(log_path(folder), OpenMode::read_only);
    return database && read_group(*database, log_path(folder), first).has_value();
}

TEST(OrderLog, PrunesWhatIsStoredAndNothingElse) {
    const TemporaryFolder folder;
    std::uint64_t end = 0;
    {
        LiveLog log(options_for(folder.path()));
        fill_and_store(log, 70'000);
        EXPECT_TRUE(holds_group(folder.path(), 1));
        log.add(order(70'001)); // the commit that prunes
        log.commit();
        EXPECT_FALSE(holds_group(folder.path(), 1));
        EXPECT_TRUE(holds_group(folder.path(), 70'001)) << "it is not stored";
        log.add(order(70'002));
        log.commit();
        end = log->end().get();
        EXPECT_EQ(log.read_all(LogPosition(70'001)).size(), 2U);
    }
    {
        LiveLog log(options_for(folder.path()));
        EXPECT_EQ(log->first(), LogPosition(70'001));
        EXPECT_EQ(log->end(), LogPosition(end));
        const auto pruned = log->read_batch(LogPosition(1), 10, Duration(0));
        ASSERT_FALSE(pruned.has_value());
        EXPECT_TRUE(pruned.error().is(Errc::foreign_log));
        fill_and_store(log, 70'000);
        log.add(barrier(1));
        log.commit();
        log->stored(log->end());
        end = log->end().get();
    }
    // Everything is stored; the last group tells where the log goes on.
    LiveLog log(options_for(folder.path()));
    EXPECT_EQ(log->first(), LogPosition(end - 1));
    EXPECT_EQ(log->end(), LogPosition(end));
    EXPECT_EQ(log.add(order(1)), LogPosition(end));
}

TEST(OrderLog, PrunesNothingThatIsPinned) {
    const TemporaryFolder folder;
    LiveLog log(options_for(folder.path()));
    auto pin = log->pin();
    auto second = log->pin();
    fill_and_store(log, 70'000);
    log.add(order(70'001));
    log.commit();
    EXPECT_TRUE(holds_group(folder.path(), 1));
    pin.reset();
    log.add(order(70'002));
    log.commit();
    EXPECT_TRUE(holds_group(folder.path(), 1));
    EXPECT_EQ(log.read_all(LogPosition(1)).size(), 70'002U);
    second.reset();
    log.add(order(70'003));
    log.commit();
    EXPECT_FALSE(holds_group(folder.path(), 1));
    EXPECT_EQ(log.read_all(LogPosition(70'001)).size(), 3U);
}

TEST(OrderLog, CopiesItsWriteAheadLogIntoTheFile) {
    const TemporaryFolder folder;
    LiveLog log(options_for(folder.path()));
    for (std::uint64_t n = 1; n <= 200'000; ++n) log.add(order(n));
    log.commit(); // some 14 MB
    EXPECT_GT(std::filesystem::file_size(log_path(folder.path())), 4'000'000U);
    EXPECT_LT(std::filesystem::file_size(log_path(folder.path()) + "-wal"), 14'000'000U);
}

TEST(OrderLogDeathTest, EndsTheProcessWhenTheFileCannotBeWritten) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(
        {
            const TemporaryFolder folder;
            Cores cores(1);
            const SystemClock clock;
            auto log = SqliteOrderLog::open(
                options_for(folder.path()), cores, clock, [&folder](const Error& error) {
                    std::fprintf(stderr, "fatal: %s\n", error.message().c_str());
                    std::filesystem::remove_all(folder.path());
                    ::_exit(7);
                });
            OtherConnection(folder.path()).run("DROP TABLE record_groups");
            static_cast<void>((*log)->enqueue(order(1)));
            (*log)->stop(); // the log's thread ends the process first
        },
        testing::ExitedWithCode(7), "fatal: .*record_groups");
}

} // namespace
} // namespace doorbuster::sqlite
