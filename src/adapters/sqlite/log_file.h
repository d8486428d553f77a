// The order log's file: its tables, and reading them. Shared by the running log and by commands
// that read a data folder from outside. A Database belongs to one thread at a time.
//
// A row of record_groups is one commit: its records, their CRC-32, the position of the first.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/sqlite/database.h"
#include "base/result.h"
#include "domain/ids.h"
#include "domain/log_record.h"
#include "ports/order_log.h"

namespace doorbuster::sqlite {

inline constexpr int kLogFormat = 1; // of the file; a newer one is refused

[[nodiscard]] std::string log_path(const std::string& folder);
[[nodiscard]] Result<Database> open_log_file(const std::string& path, OpenMode mode);
// False for a file without tables: new, or a crash came before its first commit.
[[nodiscard]] Result<bool> has_log_tables(Database& database);
[[nodiscard]] Result<void> create_log_tables(Database& database, const std::string& log_id);
// The log's id. Errc::too_new when this version cannot read the file.
[[nodiscard]] Result<std::string> check_log_file(Database& database, const std::string& path);

[[nodiscard]] std::int64_t group_checksum(std::uint64_t first, std::uint64_t records,
                                          std::string_view body);
// The group that begins at `first`. Errc::corrupt when it is missing or damaged.
[[nodiscard]] Result<LogBatch> read_group(Database& database, const std::string& path,
                                          std::uint64_t first);

// A log as it stood at one moment, read from outside while a server may be running.
class LogSnapshot {
public:
    [[nodiscard]] static Result<LogSnapshot> open(const std::string& folder);

    [[nodiscard]] const std::string& id() const { return id_; }
    // The records from `from` to the end, commit by commit; none when the log ends before it. Ends
    // with the first error that `take` returns.
    using Take = std::function<Result<void>(LogBatch& group)>;
    [[nodiscard]] Result<void> read_groups(LogPosition from, const Take& take);
    // All of them at once.
    [[nodiscard]] Result<std::vector<LogRecord>> read_from(LogPosition from);

private:
    std::string path_;
    std::string id_;
    Database database_; // with a read transaction open
};

} // namespace doorbuster::sqlite
