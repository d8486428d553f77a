#include "adapters/sql/transaction.h"

#include <utility>

#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {

Transaction::Transaction(Session& session, SharedWrites& writes, Kind kind)
    : session_(session), is_open_(kind != Kind::none) {
    if (kind == Kind::none) return;
    if (kind == Kind::read || session.is_shared()) {
        begin(kind);
        return;
    }
    writes.take_turn();
    try {
        begin(kind);
    } catch (...) {
        writes.give_turn_back();
        throw;
    }
    turn_ = &writes;
}

void Transaction::begin(Kind kind) {
    if (kind == Kind::write) {
        session_.command(session_.text(text::begin_write));
        return;
    }
    if (session_.dialect() == Dialect::mysql) session_.run(text::isolate_read);
    session_.command(session_.text(text::begin_read));
}

Transaction::~Transaction() {
    if (is_open_ && session_.is_open()) {
        try {
            session_.command("ROLLBACK");
        } catch (const soci::soci_error& failure) {
            // SQLite: the statement that failed has rolled back already. The others: what cannot
            // even roll back is not used again.
            if (session_.is_shared()) session_.close();
        }
    }
    if (turn_ != nullptr) turn_->give_turn_back();
}

void Transaction::commit() {
    if (!is_open_) return;
    is_committing_ = true;
    session_.command("COMMIT");
    is_open_ = false;
    if (turn_ != nullptr) std::exchange(turn_, nullptr)->give_turn_back();
}

} // namespace doorbuster::sql
