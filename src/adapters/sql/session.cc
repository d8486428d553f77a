#include "adapters/sql/session.h"

#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {

Session::~Session() { close(); }

void Session::open() {
    if (is_open_) return;
    try {
        switch (dialect()) {
        case Dialect::sqlite: open_sqlite(); break;
        case Dialect::postgresql: open_postgresql(); break;
        case Dialect::mysql: open_mysql(); break;
        }
    } catch (const soci::soci_error& failure) {
        const bool is_told = is_shared(); // SQLite's own kinds say more
        const std::string what = failure.get_error_message();
        if (!is_told) throw;
        close();
        throw StoreFailure(Errc::unavailable, what);
    }
    is_open_ = true;
    ++connection_;
}

void Session::open_sqlite() {
    session_.open(soci::sqlite3, "dbname=\"" + url_.path +
                                     "\" timeout=" + std::to_string(options_.busy_wait_s) +
                                     (options_.is_read_only ? " readonly=true" : ""));
    set_on_close(*this, OnClose::keep_log);
    // Not in the connect string: SOCI leaks the connection to a file that is none.
    session_ << (options_.is_synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    // Copying the log is SharedWrites' business.
    if (!options_.is_read_only) session_ << "PRAGMA wal_autocheckpoint=0";
}

void Session::open_postgresql() {
    session_.open(soci::postgresql, url_.connect);
    // The library would print the server's notices.
    auto* backend = static_cast<soci::postgresql_session_backend*>(session_.get_backend());
    PQsetNoticeProcessor(
        backend->conn_, [](void*, const char*) {}, nullptr);
    const std::string read_only = options_.is_read_only ? "on" : "off";
    read(text::set_up_session, soci::use(read_only, "read_only"));
}

void Session::open_mysql() {
    session_.open(soci::mysql, url_.connect);
    std::string version;
    read(text::select_version, soci::into(version));
    const bool is_mariadb = version.find("MariaDB") != std::string::npos;
    run(is_mariadb ? text::set_up_session : text::set_up_session_of_mysql);
    if (options_.is_read_only) run(text::set_up_read_only);
}

void Session::close() noexcept {
    is_open_ = false;
    try {
        session_.close();
    } catch (...) { // NOLINT(bugprone-empty-catch): it is gone either way
    }
}

bool Session::close_if_lost(const soci::soci_error& failure) noexcept {
    if (!is_shared() || !is_open_) return false;
    bool is_lost = is_disconnection(failure);
    if (dialect() == Dialect::postgresql) {
        auto* backend = static_cast<soci::postgresql_session_backend*>(session_.get_backend());
        is_lost = PQstatus(backend->conn_) != CONNECTION_OK;
    }
    if (is_lost) close();
    return is_lost;
}

int Session::socket() const {
    auto& session = const_cast<soci::session&>(session_); // NOLINT: SOCI's getter is not const
    switch (dialect()) {
    case Dialect::sqlite: break;
    case Dialect::postgresql:
        return PQsocket(
            static_cast<soci::postgresql_session_backend*>(session.get_backend())->conn_);
    case Dialect::mysql:
        return static_cast<int>(mysql_get_socket(
            static_cast<soci::mysql_session_backend*>(session.get_backend())->conn_));
    }
    return -1;
}

bool Session::execute_bound(soci::statement& statement, const std::string& sql) {
    statement.alloc();
    statement.prepare(sql, soci::details::st_one_time_query);
    statement.define_and_bind();
    return statement.execute(true);
}

TimePoint Session::now(const Clock* clock) {
    if (clock != nullptr) return clock->now();
    if (!is_shared()) return SystemClock().now();
    Integer now = 0;
    read(text::select_now, soci::into(now));
    return from_ms(now);
}

void set_on_close(Session& session, OnClose what) {
    if (session.is_shared()) return;
    auto* backend = static_cast<soci::sqlite3_session_backend*>(session.soci().get_backend());
    const int keep = what == OnClose::keep_log ? 1 : 0;
    sqlite_api::sqlite3_db_config(backend->conn_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep, nullptr);
}

} // namespace doorbuster::sql
