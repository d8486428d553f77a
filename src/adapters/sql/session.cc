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

Transaction::Transaction(soci::session& session, Kind kind) : session_(session) {
    session_ << (kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN");
}

Transaction::~Transaction() {
    if (!is_open_) return;
    try {
        session_ << "ROLLBACK";
    } catch (const soci::soci_error&) {
        // The statement that failed has rolled back already.
    }
}

void Transaction::commit() {
    session_ << "COMMIT";
    is_open_ = false;
}

} // namespace doorbuster::sql
