// The store's sessions, shared by the threads that block on it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "adapters/sql/transact.h"

namespace doorbuster::sql {

// Any thread.
class Pool {
public:
    Pool(StoreUrl url, const SessionOptions& options, std::size_t size);

    [[nodiscard]] const StoreUrl& url() const { return url_; }
    [[nodiscard]] SharedWrites& writes() { return writes_; }
    // Of all sessions that the store has, its writer's too.
    [[nodiscard]] UsageMeter& meter() { return meter_; }
    [[nodiscard]] const UsageMeter& meter() const { return meter_; }
    // Opens all sessions; afterwards a session that has lost its connection opens when it is used.
    void open();
    // While nobody uses them.
    [[nodiscard]] std::vector<std::unique_ptr<Session>>& sessions() { return sessions_; }
    [[nodiscard]] std::size_t in_use() const;
    // Connected, and used by nobody.
    [[nodiscard]] std::size_t idle() const;

private:
    friend class Lease;
    [[nodiscard]] Session* take();
    void give_back(Session* session);

    StoreUrl url_;
    UsageMeter meter_;
    SharedWrites writes_;
    std::vector<std::unique_ptr<Session>> sessions_;
    mutable std::mutex mutex_; // guards the rest
    std::condition_variable returned_;
    std::vector<Session*> free_;
};

// One session, until the end of the scope. Waits a while for one, then throws a StoreFailure with
// Errc::unavailable; there are as many blocking threads as sessions, so that few wait long.
class Lease {
public:
    explicit Lease(Pool& pool) : pool_(pool), session_(pool.take()), at_work_(pool.meter()) {}
    ~Lease() { pool_.give_back(session_); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    [[nodiscard]] Session& operator*() { return *session_; }

private:
    Pool& pool_;
    Session* session_;
    AtWork at_work_; // not while it waits for a session
};

// transact() with a session of the pool.
template <class F>
std::invoke_result_t<F&, Session&, Attempt&> transact(Pool& pool, const char* doing,
                                                      Transaction::Kind kind, F f) {
    using Returned = std::invoke_result_t<F&, Session&, Attempt&>;
    return guarded(pool.url(), doing, [&]() -> Returned {
        Lease lease(pool);
        return transact(*lease, pool.writes(), doing, kind, std::move(f));
    });
}

} // namespace doorbuster::sql
