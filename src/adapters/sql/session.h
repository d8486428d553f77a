// What every part of the order store needs of SOCI: sessions, transactions, errors as Results.
// Included by this adapter only: SOCI's header wraps sqlite3.h in a namespace of its own.
#pragma once

#include <soci/soci.h>
#include <soci/sqlite3/soci-sqlite3.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/result.h"
#include "domain/time.h"

namespace doorbuster::sql {

// SOCI binds `long long`, not `long`.
using Integer = long long;

// `store` is what people call it: its file.
[[nodiscard]] Error error_of(const soci::soci_error& failure, const std::string& store,
                             const char* doing);
[[nodiscard]] Errc kind_of(const soci::soci_error& failure);

// Runs `f` and turns what SOCI throws into an Error that says what was being done. Nothing of
// SOCI's exceptions leaves the adapter.
template <class F>
std::invoke_result_t<F&> guarded(const std::string& store, const char* doing, F f) {
    try {
        return f();
    } catch (const soci::soci_error& failure) {
        return tl::make_unexpected(error_of(failure, store, doing));
    }
}

// May closing the last session copy the write-ahead log into the file and delete it? Not while the
// files are only being looked at: a start that is refused must leave them as they were.
enum class OnClose { keep_log, tidy_up };
void set_on_close(soci::session& session, OnClose what);

// What the writing sessions of one store share.
class SharedWrites {
public:
    // Whose turn it is: first come, first served. SQLite has one writer at a time, lets the others
    // sleep and forgets who came first; the order writer would starve behind a mass expiry.
    void take_turn();
    void give_turn_back();
    // After a transaction of so many rows, not inside it: copies the write-ahead log into the file
    // when enough has come together. By hand, because SQLite's automatic checkpoint swallows a
    // failed sync.
    void wrote(soci::session& session, std::size_t rows);

private:
    static void copy_log(soci::session& session);

    static constexpr std::size_t kCheckpointRows = 32'768; // some 8 MB of orders

    std::atomic<std::size_t> rows_since_checkpoint_{0};
    std::mutex mutex_; // guards the rest
    std::condition_variable moved_;
    std::uint64_t next_ = 0;
    std::uint64_t serving_ = 0;
};

// Rolls back unless it was committed.
class Transaction {
public:
    enum class Kind { read, write }; // write takes the write lock at once: no upgrade that can fail

    Transaction(soci::session& session, SharedWrites& writes, Kind kind);
    // Of a leased session.
    template <class Lease>
    Transaction(Lease& lease, Kind kind) : Transaction(*lease, lease.writes(), kind) {}
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    void commit();

private:
    soci::session& session_;
    SharedWrites* turn_ = nullptr; // whose turn we hold
    bool is_open_ = true;
};

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
