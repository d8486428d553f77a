// Whether one sale's books balance, as `audit` reports it. Values, used by one command's thread.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/table.h"
#include "base/result.h"

namespace doorbuster {

struct AuditRow {
    std::string sale_id;
    std::int64_t stock = 0;
    std::int64_t sold = 0;                           // units of queued, confirmed and paid orders
    std::int64_t remaining = 0;                      // stock - sold
    std::map<std::string, std::int64_t> orders = {}; // status to count
    std::int64_t log_accepted_units = 0;
    std::optional<std::int64_t> inventory_remaining = {}; // none: no live inventory was asked
    std::vector<std::string> violations = {};
    bool balanced = false;

    friend bool operator==(const AuditRow&, const AuditRow&) = default;
};

[[nodiscard]] boost::json::object audit_as_json(const AuditRow& row);
// Errc::io when it is not an audit.
[[nodiscard]] Result<AuditRow> audit_from_json(const boost::json::value& value);

// The report for people: a table, the violations, and a line that sums up.
[[nodiscard]] std::string audit_as_text(std::span<const AuditRow> rows, Colour colour);
// The report for programs: a list.
[[nodiscard]] std::string audit_as_json_text(std::span<const AuditRow> rows);
[[nodiscard]] bool all_balanced(std::span<const AuditRow> rows);

} // namespace doorbuster
