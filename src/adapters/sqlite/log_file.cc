#include "adapters/sqlite/log_file.h"

#include <zlib.h>

#include <iterator>

namespace doorbuster::sqlite {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE log_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE record_groups ("
    "  first   INTEGER PRIMARY KEY,"
    "  records INTEGER NOT NULL,"
    "  crc     INTEGER NOT NULL," // of first, records and body
    "  body    BLOB    NOT NULL);";

Result<std::string> read_meta(Database& database, const std::string& path, std::string_view name) {
    auto select = database.prepare("SELECT value FROM log_meta WHERE name = ?1");
    if (!select) return tl::make_unexpected(std::move(select.error()));
    select->bind(1, name);
    auto row = select->step();
    if (!row) return tl::make_unexpected(std::move(row.error()));
    if (!*row)
        return fail(Errc::corrupt, path + " has lost its entry '" + std::string(name) +
                                       "'. Restore log.db and log.db-wal from a copy");
    return std::string(select->text(0));
}

} // namespace

std::string log_path(const std::string& folder) { return folder + "/log.db"; }

Result<Database> open_log_file(const std::string& path, OpenMode mode) {
    auto database = Database::open(path, mode);
    if (!database || mode == OpenMode::read_only) return database;
    auto ready = database->execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;");
    if (!ready) return tl::make_unexpected(std::move(ready.error()));
    database->checkpoint_by_hand();
    return database;
}

Result<bool> has_log_tables(Database& database) {
    auto tables = database.prepare("SELECT count(*) FROM sqlite_master WHERE name = 'log_meta'");
    if (!tables) return tl::make_unexpected(std::move(tables.error()));
    auto row = tables->step();
    if (!row) return tl::make_unexpected(std::move(row.error()));
    return tables->integer(0) > 0;
}

Result<void> create_log_tables(Database& database, const std::string& log_id) {
    const std::string create =
        std::string("BEGIN;") + kSchema + "INSERT INTO log_meta VALUES ('format', '" +
        std::to_string(kLogFormat) + "'), ('log_id', '" + log_id + "'); COMMIT;";
    return database.execute(create.c_str());
}

Result<std::string> check_log_file(Database& database, const std::string& path) {
    auto format = read_meta(database, path, "format");
    if (!format) return format;
    if (*format != std::to_string(kLogFormat)) {
        return fail(Errc::too_new, path + " has format version " + *format + ", this one reads " +
                                       std::to_string(kLogFormat) +
                                       ". Start the version that wrote it");
    }
    return read_meta(database, path, "log_id");
}

std::int64_t group_checksum(std::uint64_t first, std::uint64_t records, std::string_view body) {
    const std::uint64_t head[2] = {first, records};
    uLong crc = crc32(0, reinterpret_cast<const Bytef*>(head), sizeof head);
    crc = crc32(crc, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
    return static_cast<std::int64_t>(crc);
}

Result<LogBatch> read_group(Database& database, const std::string& path, std::uint64_t first) {
    auto select = database.prepare("SELECT records, crc, body FROM record_groups WHERE first = ?1");
    if (!select) return tl::make_unexpected(std::move(select.error()));
    select->bind(1, static_cast<std::int64_t>(first));
    auto row = select->step();
    if (!row) return tl::make_unexpected(std::move(row.error()));
    if (!*row) {
        return fail(Errc::corrupt, path + " has no records at position " + std::to_string(first));
    }
    const auto count = static_cast<std::uint64_t>(select->integer(0));
    const std::string_view body = select->text(2);
    if (select->integer(1) != group_checksum(first, count, body)) {
        return fail(Errc::corrupt, path + ": the checksum of the records at position " +
                                       std::to_string(first) +
                                       " is wrong. Restore log.db from a copy");
    }
    auto records = parse_records(body, count);
    if (!records) return tl::make_unexpected(std::move(records.error()));
    return LogBatch{kOnlyPartition, std::move(*records), LogPosition(first),
                    LogPosition(first + count)};
}

Result<LogSnapshot> LogSnapshot::open(const std::string& folder) {
    LogSnapshot snapshot;
    snapshot.path_ = log_path(folder);
    auto database = open_log_file(snapshot.path_, OpenMode::read_only);
    if (!database) return tl::make_unexpected(std::move(database.error()));
    snapshot.database_ = std::move(*database);
    if (auto begun = snapshot.database_.execute("BEGIN"); !begun) {
        return tl::make_unexpected(std::move(begun.error()));
    }
    auto id = check_log_file(snapshot.database_, snapshot.path_); // the first read fixes the moment
    if (!id) return tl::make_unexpected(std::move(id.error()));
    snapshot.id_ = std::move(*id);
    return snapshot;
}

Result<void> LogSnapshot::read_groups(LogPosition from, const Take& take) {
    auto last = database_.prepare("SELECT max(first) FROM record_groups");
    if (!last) return tl::make_unexpected(std::move(last.error()));
    if (auto row = last->step(); !row) return tl::make_unexpected(std::move(row.error()));
    const auto last_first = static_cast<std::uint64_t>(last->integer(0));
    last->reset();
    for (std::uint64_t at = from.get(); at <= last_first;) {
        auto group = read_group(database_, path_, at);
        if (!group) return tl::make_unexpected(std::move(group.error()));
        at = group->next.get();
        if (auto taken = take(*group); !taken) return taken;
    }
    return {};
}

Result<std::vector<LogRecord>> LogSnapshot::read_from(LogPosition from) {
    std::vector<LogRecord> records;
    auto read = read_groups(from, [&records](LogBatch& group) -> Result<void> {
        std::move(group.records.begin(), group.records.end(), std::back_inserter(records));
        return {};
    });
    if (!read) return tl::make_unexpected(std::move(read.error()));
    return records;
}

} // namespace doorbuster::sqlite
