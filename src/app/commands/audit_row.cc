#include "app/commands/audit_row.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "app/commands/json_read.h"

namespace doorbuster {
namespace {

namespace json = boost::json;

std::string orders_text(const std::map<std::string, std::int64_t>& orders) {
    std::string out;
    for (const auto& [status, count] : orders) {
        if (count == 0) continue;
        out += fmt::format("{}{} {}", out.empty() ? "" : ", ", grouped(count), status);
    }
    return out.empty() ? "none" : out;
}

bool is_balanced(const AuditRow& row) { return row.balanced && row.violations.empty(); }

} // namespace

json::object audit_as_json(const AuditRow& row) {
    json::object orders;
    for (const auto& [status, count] : row.orders) orders.emplace(status, count);
    json::array violations;
    for (const std::string& violation : row.violations) violations.emplace_back(violation);
    const json::value inventory =
        row.inventory_remaining ? json::value(*row.inventory_remaining) : json::value(nullptr);
    return {{"sale_id", row.sale_id},
            {"stock", row.stock},
            {"sold", row.sold},
            {"remaining", row.remaining},
            {"orders", std::move(orders)},
            {"log_accepted_units", row.log_accepted_units},
            {"inventory_remaining", inventory},
            {"violations", std::move(violations)},
            {"balanced", row.balanced}};
}

Result<AuditRow> audit_from_json(const json::value& value) {
    JsonReader in(value, "an audit");
    AuditRow row;
    row.sale_id = in.text("sale_id");
    row.stock = in.whole("stock");
    row.sold = in.whole("sold");
    row.remaining = in.whole("remaining");
    row.log_accepted_units = in.whole("log_accepted_units");
    row.inventory_remaining = in.whole_if_any("inventory_remaining");
    row.balanced = in.yes("balanced");
    if (const json::object* orders = in.object("orders")) {
        for (const auto& [status, count] : *orders) {
            if (!count.is_int64()) {
                return fail(Errc::io, "the answer is not an audit: an order count is no number");
            }
            row.orders.emplace(status, count.as_int64());
        }
    }
    if (const json::array* violations = in.array("violations")) {
        for (const json::value& violation : *violations) {
            if (!violation.is_string()) {
                return fail(Errc::io, "the answer is not an audit: a violation is no text");
            }
            row.violations.emplace_back(violation.as_string());
        }
    }
    if (!in.complete()) return fail(Errc::io, in.problem());
    return row;
}

std::string audit_as_text(std::span<const AuditRow> rows, Colour colour) {
    using enum Table::Align;
    Table table({{"SALE"},
                 {"STOCK", right},
                 {"SOLD", right},
                 {"REMAINING", right},
                 {"ORDERS"},
                 {"LOG UNITS", right},
                 {"INVENTORY", right},
                 {"BALANCED"}});
    for (const AuditRow& row : rows) {
        table.add({row.sale_id, grouped(row.stock), grouped(row.sold), grouped(row.remaining),
                   orders_text(row.orders), grouped(row.log_accepted_units),
                   row.inventory_remaining ? grouped(*row.inventory_remaining) : "-",
                   is_balanced(row) ? "yes" : "NO"});
    }
    std::string out = rows.empty() ? "" : table.text(colour);
    for (const AuditRow& row : rows) {
        for (const std::string& violation : row.violations) {
            out +=
                fmt::format("violation in {}: {}\n", printable(row.sale_id), printable(violation));
        }
    }
    const auto bad = std::ranges::count_if(rows, [](const auto& row) { return !is_balanced(row); });
    const std::string_view noun = rows.size() == 1 ? "sale" : "sales";
    if (rows.empty()) {
        out += "There is no sale to audit.\n";
    } else if (bad == 0) {
        out += fmt::format("The books balance: {} {}, no violation.\n", grouped(std::ssize(rows)),
                           noun);
    } else {
        out += fmt::format("The books do NOT balance: {} of {} {}.\n", grouped(bad),
                           grouped(std::ssize(rows)), noun);
    }
    return out;
}

std::string audit_as_json_text(std::span<const AuditRow> rows) {
    json::array out;
    for (const AuditRow& row : rows) out.push_back(audit_as_json(row));
    return json::serialize(out);
}

bool all_balanced(std::span<const AuditRow> rows) { return std::ranges::all_of(rows, is_balanced); }

} // namespace doorbuster
