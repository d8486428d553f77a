#include "adapters/sql/failure.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace doorbuster::sql {
namespace {

Errc kind_of_sqlite(int result) { // https://www.sqlite.org/rescode.html
    switch (result & 0xff) {
    case SQLITE_FULL:
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return Errc::unavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return Errc::corrupt;
    case SQLITE_CONSTRAINT: return Errc::conflict;
    default: return result == SQLITE_IOERR_SHMSIZE ? Errc::unavailable : Errc::io;
    }
}

// https://www.postgresql.org/docs/15/errcodes-appendix.html. What a server says that is not about
// the values is no reason to stop: it is retried, and said.
Errc kind_of_sqlstate(std::string_view state) {
    if (state.starts_with("22") || state.starts_with("23")) return Errc::conflict;
    if (state == "XX001" || state == "XX002") return Errc::corrupt;
    return Errc::unavailable;
}

// https://mariadb.com/kb/en/mariadb-error-codes/
Errc kind_of_mysql(unsigned number) {
    switch (number) {
    case 1048: // a NULL
    case 1062: // a duplicate
    case 1264: // out of range
    case 1292: // not a value of that type
    case 1366: // not in the character set
    case 1406: // too long
    case 3819: // a check, MySQL
    case 4025: // a check, MariaDB
    case 4038: // JSON that is none, MariaDB
    case 3141: // the same, MySQL
        return Errc::conflict;
    case 1034: // a table or its index is broken
    case 1194:
    case 1712: return Errc::corrupt;
    default: return Errc::unavailable;
    }
}

} // namespace

Errc kind_of(const soci::soci_error& failure) {
    if (const auto* ours = dynamic_cast<const StoreFailure*>(&failure)) return ours->kind();
    if (const auto* sqlite = dynamic_cast<const soci::sqlite3_soci_error*>(&failure)) {
        return kind_of_sqlite(sqlite->result());
    }
    if (const auto* postgresql = dynamic_cast<const soci::postgresql_soci_error*>(&failure)) {
        return kind_of_sqlstate(postgresql->sqlstate());
    }
    if (const auto* mysql = dynamic_cast<const soci::mysql_soci_error*>(&failure)) {
        return kind_of_mysql(mysql->err_num_);
    }
    return Errc::io;
}

bool is_victim(const soci::soci_error& failure) {
    if (const auto* postgresql = dynamic_cast<const soci::postgresql_soci_error*>(&failure)) {
        const std::string state = postgresql->sqlstate();
        return state == "40001" || state == "40P01";
    }
    if (const auto* mysql = dynamic_cast<const soci::mysql_soci_error*>(&failure)) {
        return mysql->err_num_ == 1213 || mysql->err_num_ == 1205;
    }
    return false;
}

bool is_disconnection(const soci::soci_error& failure) {
    if (const auto* postgresql = dynamic_cast<const soci::postgresql_soci_error*>(&failure)) {
        // Shutting down, and what was a primary; whether the connection stands, the library knows.
        const std::string state = postgresql->sqlstate();
        return state.starts_with("57P") || state == "25006";
    }
    const auto* mysql = dynamic_cast<const soci::mysql_soci_error*>(&failure);
    if (mysql == nullptr) return false;
    // 1053: the server shuts down; 1290, 1836: it was a primary; 1927: the connection was killed;
    // 20xx: the client's own.
    constexpr std::array<unsigned, 8> kGone = {1053, 1290, 1836, 1927, 2002, 2003, 2006, 2013};
    return std::ranges::find(kGone, mysql->err_num_) != kGone.end();
}

Error error_of(const soci::soci_error& failure, const StoreUrl& store, const char* doing) {
    std::string what = failure.get_error_message();
    what.resize(std::min(what.size(), what.find("\nDETAIL"))); // PostgreSQL shows the row there
    for (std::size_t at = 0; !store.password.empty();) {
        at = what.find(store.password, at);
        if (at == std::string::npos) break;
        what.replace(at, store.password.size(), "***");
        at += 3;
    }
    std::ranges::replace(what, '\n', ' ');
    while (what.ends_with(' ')) what.pop_back();
    return Error{make_error_code(kind_of(failure)), store.name + ": " + doing + ": " + what};
}

} // namespace doorbuster::sql
