// What the writing sessions of one SQLite store share: whose turn it is, and the copying of the
// write-ahead log. The other databases see to both themselves. Any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "adapters/sql/failure.h"

namespace doorbuster::sql {

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

} // namespace doorbuster::sql
