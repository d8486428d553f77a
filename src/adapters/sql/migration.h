// The version of the store's tables, and bringing them to this program's.
#pragma once

#include "adapters/sql/session.h"
#include "adapters/sql/turns.h"
#include "base/result.h"

namespace doorbuster::sql {

// Makes the tables of a new store and upgrades those of an older one, under a lock: of processes
// that start at the same moment one does it, the others wait. A store that is only read stays as it
// is: Errc::not_found when it is none, Errc::wrong_state for an older one. Errc::too_new. Throws
// what SOCI throws.
[[nodiscard]] Result<void> bring_up_to_date(Session& session, SharedWrites& writes,
                                            bool is_read_only);

} // namespace doorbuster::sql
