// An order as a list or an export writes it, and its forms: JSON, a line of NDJSON, a line of CSV.
// Values, used by one command's thread.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace doorbuster {

struct OrderRow {
    std::string order_id;
    std::string sale_id;
    std::string user_id;
    std::int64_t quantity = 0;
    std::string status;
    std::string created_at; // RFC 3339, as all times here
    std::optional<std::string> expires_at = {};
    std::optional<std::string> paid_at = {};
    std::int64_t version = 0;
    std::optional<std::string> payment_ref = {};

    friend bool operator==(const OrderRow&, const OrderRow&) = default;
};

[[nodiscard]] std::string order_as_json(const OrderRow& order);
// Errc::io when it is not an order.
[[nodiscard]] Result<OrderRow> order_from_json(const boost::json::value& value);

// RFC 4180, each line with its CR LF; columns as the contract names them.
[[nodiscard]] std::string csv_header();
[[nodiscard]] std::string order_as_csv(const OrderRow& order);
// One cell: quoted where needed; what a spreadsheet would run gets a leading "'".
[[nodiscard]] std::string csv_cell(std::string_view text);

} // namespace doorbuster
