// A row of the table `dead_letters`, as it is written.
#pragma once

#include <string>
#include <string_view>

#include "adapters/sql/session.h"
#include "domain/log_record.h"

namespace doorbuster::sql {

// The same text if every database takes it; else with %XX in place of the bytes that none does.
[[nodiscard]] std::string storable_text(std::string_view text);

struct DeadLetterRow {
    DeadLetterRow(const LogRecord& record, std::string_view why, Integer now);
    // Of a record that is none: it is named after its place in the log.
    void make_unreadable(LogPlace place, std::string_view bytes);
    void insert(Session& session) const;

    std::string order_id, user, key, cause, raw;
    Integer sale_no = 0, quantity = 0, is_counted = 0, set_aside_at = 0;
};

} // namespace doorbuster::sql
