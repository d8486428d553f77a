#include "adapters/sqlite/database.h"

#include <sqlite3.h>

#include <cerrno>

#include "base/assert.h"

namespace doorbuster::sqlite {
namespace {

constexpr int kBusyWaitMsMax = 5000; // another connection of ours holds the file for less than that

Error error_of(sqlite3* database, int code) {
    Errc kind = Errc::io;
    // A full quota, and no room for the -wal or -shm file, are a full disk by another name.
    const int reason = sqlite3_system_errno(database);
    const bool has_no_room = code == SQLITE_IOERR_SHMSIZE ||
                             (code == SQLITE_IOERR_WRITE && (reason == EDQUOT || reason == ENOSPC));
    if (has_no_room) kind = Errc::unavailable;
    switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_BUSY: kind = Errc::unavailable; break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: kind = Errc::corrupt; break;
    default: break;
    }
    const char* path = sqlite3_db_filename(database, "main");
    return Error{make_error_code(kind), std::string(path != nullptr ? path : "") + ": " +
                                            sqlite3_errmsg(database) + " [SQLite " +
                                            std::to_string(code) + "]"};
}

int remember_wal_pages(void* counter, sqlite3* /*database*/, const char* /*name*/, int pages) {
    *static_cast<int*>(counter) = pages;
    return SQLITE_OK;
}

} // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
void Database::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

void Statement::bind(int index, std::int64_t value) {
    DB_ASSERT(sqlite3_bind_int64(statement_.get(), index, value) == SQLITE_OK);
}

void Statement::bind(int index, std::string_view text) {
    DB_ASSERT(sqlite3_bind_text(statement_.get(), index, text.data(), static_cast<int>(text.size()),
                                SQLITE_STATIC) == SQLITE_OK);
}

void Statement::bind_blob(int index, std::string_view bytes) {
    DB_ASSERT(sqlite3_bind_blob64(statement_.get(), index, bytes.data(), bytes.size(),
                                  SQLITE_STATIC) == SQLITE_OK);
}

Result<bool> Statement::step() {
    const int code = sqlite3_step(statement_.get());
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) {
        reset();
        return false;
    }
    Error error = error_of(database_, sqlite3_extended_errcode(database_));
    reset();
    return tl::make_unexpected(std::move(error));
}

Result<void> Statement::run() {
    auto row = step();
    if (!row) return tl::make_unexpected(std::move(row.error()));
    if (*row) reset();
    return {};
}

void Statement::reset() {
    sqlite3_reset(statement_.get());
    sqlite3_clear_bindings(statement_.get());
}

std::int64_t Statement::integer(int column) const {
    return sqlite3_column_int64(statement_.get(), column);
}

std::string_view Statement::text(int column) const {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
    const int size = sqlite3_column_bytes(statement_.get(), column);
    return {bytes == nullptr ? "" : bytes, static_cast<std::size_t>(size)};
}

Result<Database> Database::open(const std::string& path, OpenMode mode) {
    const int flags = mode == OpenMode::read_only ? SQLITE_OPEN_READONLY
                                                  : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    sqlite3* raw = nullptr;
    // NOMUTEX: a connection belongs to one thread at a time.
    const int code = sqlite3_open_v2(path.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX, nullptr);
    Database database;
    database.database_.reset(raw);
    database.path_ = path;
    if (code != SQLITE_OK) {
        return fail(Errc::io, "opening " + path + ": " +
                                  (raw != nullptr ? sqlite3_errmsg(raw) : "out of memory"));
    }
    sqlite3_extended_result_codes(raw, 1);
    // A start that is refused must leave the files as they were.
    sqlite3_db_config(raw, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_busy_timeout(raw, kBusyWaitMsMax);
    return database;
}

Result<void> Database::execute(const char* sql) {
    const int code = sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr);
    if (code == SQLITE_OK) return {};
    return tl::make_unexpected(
        error_of(database_.get(), sqlite3_extended_errcode(database_.get())));
}

Result<Statement> Database::prepare(std::string_view sql) {
    sqlite3_stmt* raw = nullptr;
    const int code = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    if (code != SQLITE_OK) {
        return tl::make_unexpected(
            error_of(database_.get(), sqlite3_extended_errcode(database_.get())));
    }
    Statement statement;
    statement.statement_.reset(raw);
    statement.database_ = database_.get();
    return statement;
}

void Database::tidy_up_on_close() {
    sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
}

void Database::checkpoint_by_hand() {
    // In this order: setting the automatic checkpoint replaces the hook.
    sqlite3_wal_autocheckpoint(database_.get(), 0);
    sqlite3_wal_hook(database_.get(), remember_wal_pages, wal_pages_.get());
}

Result<void> Database::checkpoint() {
    const int code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE,
                                               nullptr, nullptr);
    if (code == SQLITE_OK || code == SQLITE_BUSY) return {};
    return tl::make_unexpected(
        error_of(database_.get(), sqlite3_extended_errcode(database_.get())));
}

} // namespace doorbuster::sqlite
