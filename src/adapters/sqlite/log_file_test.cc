// What a log does with a file that is not as it left it, and reading a log from outside.
#include "adapters/sqlite/log_file.h"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/sqlite/log_fixture.h"
#include "adapters/sqlite/watermark.h"

namespace doorbuster::sqlite {
namespace {

using fixture::barrier;
using fixture::error_of_open;
using fixture::LiveLog;
using fixture::options_for;
using fixture::order;
using fixture::OtherConnection;
using fixture::TemporaryFolder;
using testing::HasSubstr;

// Records 1 to `count`, each a group.
void write_log(const std::string& folder, std::uint64_t count) {
    LiveLog log(options_for(folder));
    for (std::uint64_t n = 1; n <= count; ++n) {
        log.add(order(n));
        log.commit();
    }
}

void set_watermark(const std::string& folder, std::uint64_t position) {
    auto watermark = Watermark::open(folder + "/log.mark");
    ASSERT_TRUE(watermark.has_value());
    ASSERT_TRUE(watermark->set(LogPosition(position)).has_value());
}

LogPosition watermark_of(const std::string& folder) {
    const auto watermark = Watermark::open(folder + "/log.mark");
    return watermark ? watermark->position() : LogPosition(999'999);
}

TEST(LogFile, OpensOnlyWhenEverythingAcknowledgedIsThere) {
    const TemporaryFolder folder;
    write_log(folder.path(), 3);
    EXPECT_EQ(watermark_of(folder.path()), LogPosition(3));
    set_watermark(folder.path(), 4);
    const Error error = error_of_open(options_for(folder.path()));
    EXPECT_TRUE(error.is(Errc::lost_tail)) << error.message();
    EXPECT_THAT(error.message(), HasSubstr("ends at position 3"));
    EXPECT_THAT(error.message(), HasSubstr("up to 4"));
    EXPECT_EQ(watermark_of(folder.path()), LogPosition(4)) << "a refused start changes nothing";
    set_watermark(folder.path(), 3);
    const LiveLog log(options_for(folder.path()));
}

TEST(LogFile, MayBeAheadOfItsWatermark) {
    const TemporaryFolder folder;
    write_log(folder.path(), 3);
    set_watermark(folder.path(), 1); // a power cut: the mark is never synced
    LiveLog log(options_for(folder.path()));
    EXPECT_EQ(log->end(), LogPosition(4));
}

TEST(LogFile, TakesADamagedWatermarkForNone) {
    const TemporaryFolder folder;
    write_log(folder.path(), 3);
    std::ofstream(folder.path() + "/log.mark", std::ios::binary)
        << "\xff\xff\xff\xff\xff\xff\xff\xff"
           "1234";
    EXPECT_EQ(watermark_of(folder.path()), LogPosition(0));
    LiveLog log(options_for(folder.path()));
    EXPECT_EQ(log->end(), LogPosition(4));
}

TEST(LogFile, NoticesAnOlderCopyOfItself) {
    const TemporaryFolder folder;
    const TemporaryFolder copy;
    write_log(folder.path(), 3);
    const auto files = [](const std::string& from, const std::string& to) {
        for (const char* name : {"/log.db", "/log.db-wal"}) {
            std::filesystem::remove(to + name);
            if (std::filesystem::exists(from + name)) {
                std::filesystem::copy_file(from + name, to + name);
            }
        }
        std::filesystem::remove(to + "/log.db-shm");
    };
    files(folder.path(), copy.path());
    {
        LiveLog log(options_for(folder.path()));
        log.add(order(4));
    }
    files(copy.path(), folder.path());
    EXPECT_TRUE(error_of_open(options_for(folder.path())).is(Errc::lost_tail));
}

TEST(LogFile, IsNotMadeAnewWhereOneWasPromised) {
    const TemporaryFolder folder;
    write_log(folder.path(), 2);
    for (const char* name : {"/log.db", "/log.db-wal", "/log.db-shm"}) {
        std::filesystem::remove(folder.path() + name);
    }
    EXPECT_TRUE(error_of_open(options_for(folder.path())).is(Errc::lost_tail));
    EXPECT_FALSE(std::filesystem::exists(folder.path() + "/log.db"));

    const TemporaryFolder fresh; // no watermark, but the store knows a log
    OrderLogOptions options = options_for(fresh.path());
    options.is_expected = true;
    EXPECT_TRUE(error_of_open(options).is(Errc::lost_tail));
    EXPECT_FALSE(std::filesystem::exists(fresh.path() + "/log.db"));
}

TEST(LogFile, SaysWhichRecordsAreDamaged) {
    const TemporaryFolder folder;
    write_log(folder.path(), 3);
    OtherConnection other(folder.path());
    other.run("UPDATE record_groups SET body = zeroblob(length(body)) WHERE first = 2");
    {
        LiveLog log(options_for(folder.path()));
        EXPECT_TRUE(log->read_batch(LogPosition(1), 1, Duration(0)).has_value());
        EXPECT_TRUE(log->read_batch(LogPosition(3), 1, Duration(0)).has_value());
        const auto damaged = log->read_batch(LogPosition(1), 100, Duration(0));
        ASSERT_FALSE(damaged.has_value());
        EXPECT_TRUE(damaged.error().is(Errc::corrupt));
        EXPECT_THAT(damaged.error().message(), HasSubstr("position 2"));
    }
    // The last group says where the log ends: without it nothing starts.
    other.run("UPDATE record_groups SET records = 2 WHERE first = 3");
    const Error error = error_of_open(options_for(folder.path()));
    EXPECT_TRUE(error.is(Errc::corrupt)) << error.message();
    EXPECT_THAT(error.message(), HasSubstr("position 3"));
}

TEST(LogFile, NoticesAMissingGroup) {
    const TemporaryFolder folder;
    write_log(folder.path(), 3);
    OtherConnection(folder.path()).run("DELETE FROM record_groups WHERE first = 2");
    LiveLog log(options_for(folder.path()));
    const auto batch = log->read_batch(LogPosition(1), 100, Duration(0));
    ASSERT_FALSE(batch.has_value());
    EXPECT_TRUE(batch.error().is(Errc::corrupt));
    EXPECT_THAT(batch.error().message(), HasSubstr("position 2"));
}

TEST(LogFile, IsLeftAloneWhenItsFormatIsNewer) {
    const TemporaryFolder folder;
    write_log(folder.path(), 1);
    OtherConnection(folder.path()).run("UPDATE log_meta SET value = '2' WHERE name = 'format'");
    EXPECT_TRUE(error_of_open(options_for(folder.path())).is(Errc::too_new));
    const auto snapshot = LogSnapshot::open(folder.path());
    ASSERT_FALSE(snapshot.has_value());
    EXPECT_TRUE(snapshot.error().is(Errc::too_new));
}

TEST(LogFile, IsNotTakenForALogWhenItIsNone) {
    const TemporaryFolder folder;
    std::ofstream(folder.path() + "/log.db") << std::string(8192, 'x');
    EXPECT_TRUE(error_of_open(options_for(folder.path())).is(Errc::corrupt));
}

TEST(LogSnapshot, StaysAtOneMomentWhileTheLogGoesOn) {
    const TemporaryFolder folder;
    LiveLog log(options_for(folder.path()));
    for (std::uint64_t n = 1; n <= 5; ++n) {
        log.add(order(n, "u", "k"));
        log.commit();
    }
    auto early = LogSnapshot::open(folder.path());
    ASSERT_TRUE(early.has_value()) << early.error().message();
    for (std::uint64_t n = 6; n <= 9; ++n) {
        log.add(order(n));
        log.commit();
    }
    log.add(barrier(4));
    log.commit();

    EXPECT_EQ(early->id(), log->id());
    const auto all = early->read_from(LogPosition(1));
    ASSERT_TRUE(all.has_value());
    ASSERT_EQ(all->size(), 5U);
    EXPECT_EQ(all->back().order, order(5).order);
    EXPECT_EQ(all->back().key, "k");
    EXPECT_EQ(early->read_from(LogPosition(4))->size(), 2U);
    EXPECT_TRUE(early->read_from(LogPosition(6))->empty());

    auto late = LogSnapshot::open(folder.path());
    ASSERT_TRUE(late.has_value());
    const auto rest = late->read_from(LogPosition(6));
    ASSERT_EQ(rest->size(), 5U);
    EXPECT_EQ(rest->back().kind, LogRecordKind::barrier);
}

TEST(LogSnapshot, NeedsALog) {
    const TemporaryFolder folder;
    EXPECT_FALSE(LogSnapshot::open(folder.path()).has_value());
    EXPECT_FALSE(std::filesystem::exists(folder.path() + "/log.db"));
}

} // namespace
} // namespace doorbuster::sqlite
