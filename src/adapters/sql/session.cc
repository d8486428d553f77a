#include "adapters/sql/session.h"

#include <algorithm>

namespace doorbuster::sql {

Errc kind_of(const soci::soci_error& failure) {
    if (const auto* sqlite = dynamic_cast<const soci::sqlite3_soci_error*>(&failure)) {
        switch (sqlite->result() & 0xff) { // https://www.sqlite.org/rescode.html
        case SQLITE_FULL:
        case SQLITE_BUSY:
        case SQLITE_LOCKED: return Errc::unavailable;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return Errc::corrupt;
        case SQLITE_CONSTRAINT: return Errc::conflict;
        default: return sqlite->result() == SQLITE_IOERR_SHMSIZE ? Errc::unavailable : Errc::io;
        }
    }
    return Errc::io;
}

Error error_of(const soci::soci_error& failure, const std::string& store, const char* doing) {
    // SOCI appends the whole statement and its values, which may name buyers.
    std::string what = failure.what();
    what.resize(std::min(what.size(), what.find(" while ")));
    return Error{make_error_code(kind_of(failure)), store + ": " + doing + ": " + what};
}

void set_on_close(soci::session& session, OnClose what) {
    auto* backend = static_cast<soci::sqlite3_session_backend*>(session.get_backend());
    const int keep = what == OnClose::keep_log ? 1 : 0;
    sqlite_api::sqlite3_db_config(backend->conn_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep, nullptr);
}

void SharedWrites::take_turn() {
    std::unique_lock lock(mutex_);
    const std::uint64_t mine = next_++;
    moved_.wait(lock, [&] { return serving_ == mine; });
}

void SharedWrites::give_turn_back() {
    {
        const std::lock_guard lock(mutex_);
        ++serving_;
    }
    moved_.notify_all();
}

void SharedWrites::wrote(soci::session& session, std::size_t rows) {
    if (rows_since_checkpoint_.fetch_add(rows) + rows < kCheckpointRows) return;
    if (rows_since_checkpoint_.exchange(0) < kCheckpointRows) return; // somebody else does it
    copy_log(session); // most of it, while others write
    // Then, alone, what they wrote meanwhile: SQLite begins its log anew only when all is copied.
    take_turn();
    try {
        copy_log(session);
    } catch (...) {
        give_turn_back();
        throw;
    }
    give_turn_back();
}

void SharedWrites::copy_log(soci::session& session) {
    int busy = 0;
    int pages = 0;
    int copied = 0;
    try {
        session << "PRAGMA wal_checkpoint(PASSIVE)", soci::into(busy), soci::into(pages),
            soci::into(copied);
    } catch (const soci::soci_error& failure) {
        // No room to copy into the file: the write-ahead log keeps the rows, later is fine.
        if (kind_of(failure) != Errc::unavailable) throw;
    }
}

Transaction::Transaction(soci::session& session, SharedWrites& writes, Kind kind)
    : session_(session) {
    if (kind == Kind::read) {
        session_ << "BEGIN";
        return;
    }
    writes.take_turn();
    try {
        session_ << "BEGIN IMMEDIATE";
    } catch (...) {
        writes.give_turn_back();
        throw;
    }
    turn_ = &writes;
}

Transaction::~Transaction() {
    if (is_open_) {
        try {
            session_ << "ROLLBACK";
        } catch (const soci::soci_error&) {
            // The statement that failed has rolled back already.
        }
    }
    if (turn_ != nullptr) turn_->give_turn_back();
}

void Transaction::commit() {
    session_ << "COMMIT";
    is_open_ = false;
    if (turn_ != nullptr) std::exchange(turn_, nullptr)->give_turn_back();
}

} // namespace doorbuster::sql
