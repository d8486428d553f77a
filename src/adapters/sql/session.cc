#include "adapters/sql/session.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {
namespace {

// As store_url.cc asks of PostgreSQL's library: a machine that is gone is noticed in 25 s.
void find_out_when_dead(int socket) {
    const auto set = [socket](int level, int option, int value) {
        static_cast<void>(::setsockopt(socket, level, option, &value, sizeof value)); // not of unix
    };
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
    set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set(IPPROTO_TCP, TCP_KEEPCNT, 3);
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, 25'000);
}

} // namespace

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
    static const int is_ready = mysql_library_init(0, nullptr, nullptr); // once, by one thread
    if (is_ready != 0) throw StoreFailure(Errc::unavailable, "the client library does not start");
    session_.open(soci::mysql, url_.connect);
    auto* backend = static_cast<soci::mysql_session_backend*>(session_.get_backend());
    find_out_when_dead(static_cast<int>(mysql_get_socket(backend->conn_)));
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
        is_lost = is_lost || PQstatus(backend->conn_) != CONNECTION_OK;
    }
    if (is_lost) close();
    return is_lost;
}

bool Session::execute_bound(soci::statement& statement, const std::string& sql) {
    sent(1);
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
