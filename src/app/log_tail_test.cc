// The orders that an export finds in the log alone.
#include "app/log_tail.h"

#include <gtest/gtest.h>
#include <string>

#include "adapters/sqlite/log_file.h"
#include "app/scratch_folder.h"

namespace doorbuster {
namespace {

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
const SaleNo kSale(1);

OrderId id_of(SaleNo sale, std::uint64_t n) { return {sale, kNoon + Duration(n), 0, n}; }

LogRecord order(std::uint64_t n, SaleNo sale = kSale, std::uint64_t epoch = 1) {
    LogRecord record;
    record.sale = sale;
    record.epoch = Epoch(epoch);
    record.order = id_of(sale, n);
    record.quantity = 1;
    record.user = "user" + std::to_string(n);
    return record;
}

LogRecord of_kind(LogRecordKind kind, std::uint64_t n, std::uint64_t epoch) {
    LogRecord record = order(n, kSale, epoch);
    record.kind = kind;
    return record;
}

class LogTailTest : public testing::Test {
protected:
    // A commit of the log.
    void write(const std::vector<LogRecord>& records) {
        auto file = sqlite::open_log_file(path(), sqlite::OpenMode::read_write_create);
        ASSERT_TRUE(file) << file.error().message();
        if (!*sqlite::has_log_tables(*file)) {
            ASSERT_TRUE(sqlite::create_log_tables(*file, "log-1"));
        }
        std::string body;
        for (const LogRecord& record : records) {
            append_record(body, {record.kind,
                                 record.sale,
                                 record.epoch,
                                 record.order,
                                 record.quantity,
                                 record.user,
                                 record.key,
                                 {}});
        }
        auto insert = file->prepare(
            "INSERT INTO record_groups (first, records, crc, body) VALUES (?1, ?2, ?3, ?4)");
        ASSERT_TRUE(insert) << insert.error().message();
        insert->bind(1, static_cast<std::int64_t>(next_));
        insert->bind(2, static_cast<std::int64_t>(records.size()));
        insert->bind(3, sqlite::group_checksum(next_, records.size(), body));
        insert->bind_blob(4, body);
        ASSERT_TRUE(insert->run());
        next_ += records.size();
    }
    [[nodiscard]] LogTail read(std::size_t part_max, std::uint64_t from = 1) {
        auto log = sqlite::LogSnapshot::open(folder_.path());
        EXPECT_TRUE(log) << log.error().message();
        auto books = std::make_unique<SnapshotLog>(std::move(*log));
        const LogPosition end = books->ends()->front();
        const LogTail::Stretch all{{kOnlyPartition, LogPosition(from)}, end, kSale, Epoch(1)};
        auto tail = LogTail::read(std::move(books), all, part_max);
        EXPECT_TRUE(tail) << tail.error().message();
        return std::move(*tail);
    }
    static std::vector<std::string> users(LogTail& tail) {
        std::vector<std::string> all;
        EXPECT_TRUE(tail.give([&all](LogRecord&& record) -> Result<void> {
            all.push_back(record.user);
            return {};
        }));
        return all;
    }
    [[nodiscard]] std::string path() const { return sqlite::log_path(folder_.path()); }

    ScratchFolder folder_ = std::move(*ScratchFolder::make());
    std::uint64_t next_ = 1;
};

using Users = std::vector<std::string>;

TEST_F(LogTailTest, GivesASalesOrdersOldestFirstWhateverThePart) {
    write({order(3), order(1), order(7, SaleNo(2)), order(5)});
    write({order(2), of_kind(LogRecordKind::withdraw, 9, 1), order(6), order(4)});
    for (const std::size_t part : {1U, 2U, 5U, 6U, 100U}) {
        LogTail tail = read(part);
        EXPECT_EQ(users(tail), (Users{"user1", "user2", "user3", "user4", "user5", "user6"}))
            << part;
    }
    LogTail later = read(2, 5);
    EXPECT_EQ(users(later), (Users{"user2", "user4", "user6"}));
}

TEST_F(LogTailTest, LeavesOutWhatTheStoreHas) {
    write({order(1), order(2), order(3), order(4), order(5)});
    for (const std::size_t part : {2U, 100U}) {
        LogTail tail = read(part);
        for (const std::uint64_t n : {2, 5, 77}) tail.leave_out(id_of(kSale, n));
        EXPECT_EQ(users(tail), (Users{"user1", "user3", "user4"})) << part;
    }
}

TEST_F(LogTailTest, LeavesOutWhatIsVoid) {
    write({order(1), of_kind(LogRecordKind::barrier, 0, 2), order(2), order(3, kSale, 2)});
    LogTail tail = read(1);
    EXPECT_EQ(users(tail), (Users{"user1", "user3"}));
}

TEST_F(LogTailTest, EndsWithTheFirstErrorOfItsTaker) {
    write({order(1), order(2), order(3)});
    LogTail tail = read(2);
    int taken = 0;
    const auto given = tail.give([&taken](LogRecord&&) -> Result<void> {
        if (++taken == 2) return fail(Errc::io, "full");
        return {};
    });
    ASSERT_FALSE(given);
    EXPECT_EQ(given.error().context, "full");
    EXPECT_EQ(taken, 2);
}

} // namespace
} // namespace doorbuster
