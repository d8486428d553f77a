// Running a piece of work in a transaction, again where that may help: a deadlock's victim, a lost
// connection. Blocks its thread, for a bounded time.
#pragma once

#include <type_traits>
#include <utility>

#include "adapters/sql/transaction.h"

namespace doorbuster::sql {

// What the work is told, and tells.
struct Attempt {
    int number = 1;
    // The connection broke while an attempt before this one committed: its work may be done. This
    // one finds out, with locks that wait for whatever is left of that transaction.
    bool is_commit_unknown = false;
    std::size_t rows_written = 0; // said by the work: for the copying of SQLite's log
};

inline constexpr int kAttemptsMax = 6;
// Sleeps before the next attempt: 10 ms, doubled each time, with jitter.
void back_off(int attempts);

// `work(session, attempt)` returns a Result; its transaction is committed if that holds a value.
// With a database that others share it runs again when the connection was lost or it was a victim,
// at most kAttemptsMax times in all; a connection that cannot be made is Errc::unavailable at once.
template <class Work>
std::invoke_result_t<Work&, Session&, Attempt&> transact(Session& session, SharedWrites& writes,
                                                         const char* doing, Transaction::Kind kind,
                                                         Work work) {
    using Returned = std::invoke_result_t<Work&, Session&, Attempt&>;
    Attempt attempt;
    for (;; ++attempt.number) {
        bool is_committing = false;
        try {
            session.open();
        } catch (const soci::soci_error& failure) {
            return tl::make_unexpected(error_of(failure, session.url(), doing));
        }
        try {
            attempt.rows_written = 0;
            Returned result = [&]() -> Returned {
                Transaction transaction(session, writes, kind);
                Returned returned = work(session, attempt);
                if (!returned) return returned;
                is_committing = true;
                transaction.commit();
                return returned;
            }();
            if (result && !session.is_shared() && attempt.rows_written > 0) {
                writes.wrote(session.soci(), attempt.rows_written);
            }
            return result;
        } catch (const soci::soci_error& failure) {
            const bool is_lost = session.close_if_lost(failure) || !session.is_open();
            if (is_lost && is_committing) attempt.is_commit_unknown = true;
            if ((!is_lost && !is_victim(failure)) || attempt.number == kAttemptsMax) {
                Error error = error_of(failure, session.url(), doing);
                if (is_lost) error.code = make_error_code(Errc::unavailable);
                return tl::make_unexpected(std::move(error));
            }
        }
        back_off(attempt.number);
    }
}

} // namespace doorbuster::sql
