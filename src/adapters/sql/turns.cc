#include "adapters/sql/turns.h"

namespace doorbuster::sql {

void SharedWrites::take_turn() {
    std::unique_lock lock(mutex_);
    const std::uint64_t mine = next_++;
    moved_.wait(lock, [&] { return serving_ == mine; });
}

void SharedWrites::give_turn_back() {
    {
        const std::lock_guard lock(mutex_);
        ++serving_;
    }
    moved_.notify_all();
}

void SharedWrites::wrote(soci::session& session, std::size_t rows) {
    if (rows_since_checkpoint_.fetch_add(rows) + rows < kCheckpointRows) return;
    if (rows_since_checkpoint_.exchange(0) < kCheckpointRows) return; // somebody else does it
    copy_log(session); // most of it, while others write
    // Then, alone, what they wrote meanwhile: SQLite begins its log anew only when all is copied.
    take_turn();
    try {
        copy_log(session);
    } catch (...) {
        give_turn_back();
        throw;
    }
    give_turn_back();
}

void SharedWrites::copy_log(soci::session& session) {
    int busy = 0;
    int pages = 0;
    int copied = 0;
    try {
        session << "PRAGMA wal_checkpoint(PASSIVE)", soci::into(busy), soci::into(pages),
            soci::into(copied);
    } catch (const soci::soci_error& failure) {
        // No room to copy into the file: the write-ahead log keeps the rows, later is fine.
        if (kind_of(failure) != Errc::unavailable) throw;
    }
}

} // namespace doorbuster::sql
