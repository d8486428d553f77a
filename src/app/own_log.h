// Does the order log in a file belong to the order store? Checked before anything of either is
// changed, by the thread that opens them.
#pragma once

#include <string>

#include "adapters/sql/order_store.h"
#include "adapters/sqlite/order_log.h"
#include "base/result.h"

namespace doorbuster {

// A SQLite store without its log, or a log without its store, is a mistake that must change
// nothing: Errc::foreign_log.
[[nodiscard]] Result<void> check_own_files(const std::string& folder,
                                           const std::string& store_path);
// Rule 2 of design.md section 4: the store names its log, and its position lies in it. Returns the
// position; a new store takes the name of a new log. Errc::foreign_log.
[[nodiscard]] Result<LogPosition> bind_own_log(sql::SqlOrderStore& store,
                                               sqlite::SqliteOrderLog& log);

// The name that a store has in place of a log's where purchases are written straight to it: so that
// no log is ever put beside it, and it beside none.
[[nodiscard]] bool is_direct_log(const std::string& log_id);
// Gives a new store such a name. Errc::foreign_log: it takes its orders from a log.
[[nodiscard]] Result<void> bind_direct_log(sql::SqlOrderStore& store, const std::string& random);

} // namespace doorbuster
