// A session with the store's database, whatever its dialect: connecting, again when the connection
// is lost, and running statements of queries.sql. One thread at a time. Throws soci::soci_error,
// which guarded() (failure.h) turns into an Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "adapters/sql/dialect.h"
#include "adapters/sql/failure.h"
#include "adapters/sql/store_url.h"
#include "adapters/sql/usage_meter.h"
#include "domain/time.h"
#include "runtime/clock.h"

namespace doorbuster::sql {

// SOCI binds `long long`, not `long`.
using Integer = long long;

struct SessionOptions {
    bool is_read_only = false;
    // SQLite: how long a statement waits for another process's, and whether a commit survives a
    // power cut. A batch of the writer holds the lock for far less.
    int busy_wait_s = 5;
    bool is_synced = true;
    UsageMeter* meter = nullptr; // outlives the session; null: nobody counts
};

class Session {
public:
    Session(StoreUrl url, SessionOptions options)
        : url_(std::move(url)), options_(std::move(options)) {}
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    [[nodiscard]] Dialect dialect() const { return url_.dialect; }
    [[nodiscard]] bool is_shared() const { return url_.dialect != Dialect::sqlite; }
    [[nodiscard]] const StoreUrl& url() const { return url_; }
    [[nodiscard]] soci::session& soci() { return session_; }

    [[nodiscard]] bool is_open() const { return is_open_; }
    // Connects unless it is connected.
    void open();
    void close() noexcept;
    // Counts connections: what a server keeps for a connection is gone when this has moved.
    [[nodiscard]] std::uint64_t connection() const { return connection_; }
    // To be called when a statement failed: closes a connection that is lost, so that open() makes
    // a new one. True if it was.
    bool close_if_lost(const soci::soci_error& failure) noexcept;
    // Runs a statement; how many rows it wrote. The rest are soci::use() and, for the first row of
    // what it returns, soci::into().
    template <class... Exchanges> Integer run(const Query& query, Exchanges&&... exchanges) {
        soci::statement statement(session_);
        execute(statement, text(query), std::forward<Exchanges>(exchanges)...);
        return statement.get_affected_rows();
    }
    // The same for a row that is read; false: there is none.
    template <class... Exchanges> bool read(const Query& query, Exchanges&&... exchanges) {
        soci::statement statement(session_);
        return execute(statement, text(query), std::forward<Exchanges>(exchanges)...);
    }
    // Calls on_row for every row, which stands in what was bound with soci::into().
    template <class OnRow, class... Exchanges>
    void each(const std::string& sql, OnRow on_row, Exchanges&&... exchanges) {
        soci::statement statement(session_);
        for (bool more = execute(statement, sql, std::forward<Exchanges>(exchanges)...); more;
             more = statement.fetch()) {
            on_row();
        }
    }
    template <class OnRow, class... Exchanges>
    void each(const Query& query, OnRow on_row, Exchanges&&... exchanges) {
        each(text(query), std::move(on_row), std::forward<Exchanges>(exchanges)...);
    }

    // The query in this session's dialect.
    [[nodiscard]] std::string text(const Query& query) const { return query.of(dialect()); }
    // Says that so many statements were sent: what runs them past this class does.
    void sent(std::uint64_t statements) {
        if (options_.meter != nullptr) options_.meter->sent(statements);
    }
    // Runs a text without parameters.
    void command(const std::string& sql) {
        sent(1);
        session_ << sql;
    }
    // Binds what is exchanged, runs the statement, fetches the first row.
    template <class... Exchanges>
    bool execute(soci::statement& statement, const std::string& sql, Exchanges&&... exchanges) {
        (statement.exchange(std::forward<Exchanges>(exchanges)), ...);
        return execute_bound(statement, sql);
    }
    // The same with what was exchanged before.
    bool execute_bound(soci::statement& statement, const std::string& sql);

    // The moment that the store decides by: the given clock's, else the database's.
    [[nodiscard]] TimePoint now(const Clock* clock);

private:
    void open_sqlite();
    void open_postgresql();
    void open_mysql();

    StoreUrl url_;
    SessionOptions options_;
    soci::session session_;
    bool is_open_ = false;
    std::uint64_t connection_ = 0;
};

// May closing the last session copy the write-ahead log into the file and delete it? Not while the
// files are only being looked at: a start that is refused must leave them as they were. SQLite.
enum class OnClose { keep_log, tidy_up };
void set_on_close(Session& session, OnClose what);

// A nullable column as SOCI wants it: a value and an indicator.
template <class T> struct Nullable {
    T value{};
    soci::indicator indicator = soci::i_null;

    Nullable() = default;
    explicit Nullable(const std::optional<T>& from) {
        if (!from) return;
        value = *from;
        indicator = soci::i_ok;
    }
    [[nodiscard]] std::optional<T> get() const {
        if (indicator != soci::i_ok) return std::nullopt;
        return value;
    }
};

[[nodiscard]] inline Integer to_ms(TimePoint time) { return time.time_since_epoch().count(); }
[[nodiscard]] inline TimePoint from_ms(Integer ms) { return TimePoint(Duration(ms)); }
[[nodiscard]] inline std::optional<Integer> to_ms(const std::optional<TimePoint>& time) {
    if (!time) return std::nullopt;
    return to_ms(*time);
}
[[nodiscard]] inline std::optional<TimePoint> from_ms(const std::optional<Integer>& ms) {
    if (!ms) return std::nullopt;
    return from_ms(*ms);
}

} // namespace doorbuster::sql
