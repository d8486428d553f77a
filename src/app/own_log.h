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

} // namespace doorbuster
