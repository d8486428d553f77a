#include "adapters/sql/session.h"

namespace doorbuster::sql {
namespace {

Errc kind_of(const soci::soci_error& failure) {
    if (const auto* sqlite = dynamic_cast<const soci::sqlite3_soci_error*>(&failure)) {
        switch (sqlite->result() & 0xff) { // https://www.sqlite.org/rescode.html
        case SQLITE_FULL:
        case SQLITE_BUSY:
        case SQLITE_LOCKED: return Errc::unavailable;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return Errc::corrupt;
        case SQLITE_CONSTRAINT: return Errc::conflict;
        default: return Errc::io;
        }
    }
    return Errc::io;
}

} // namespace

Error error_of(const soci::soci_error& failure, const std::string& doing) {
    return Error{make_error_code(kind_of(failure)), doing + ": " + failure.what()};
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
