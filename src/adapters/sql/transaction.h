// A transaction on a session. Rolls back unless it was committed.
#pragma once

#include "adapters/sql/session.h"
#include "adapters/sql/turns.h"

namespace doorbuster::sql {

class Transaction {
public:
    enum class Kind {
        none,  // each statement by itself
        read,  // one moment, seen by every statement
        write, // SQLite: takes the write lock at once, in turn: no upgrade that can fail
    };

    Transaction(Session& session, SharedWrites& writes, Kind kind);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    void commit();
    // Has the database been told to commit? What fails from then on may be done or not.
    [[nodiscard]] bool is_committing() const { return is_committing_; }

private:
    void begin(Kind kind);

    Session& session_;
    SharedWrites* turn_ = nullptr; // whose turn we hold
    bool is_open_ = true;
    bool is_committing_ = false;
};

} // namespace doorbuster::sql
