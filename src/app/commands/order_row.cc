#include "app/commands/order_row.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "app/commands/json_read.h"

namespace doorbuster {
namespace {

namespace json = boost::json;

json::value text_or_null(const std::optional<std::string>& text) {
    return text ? json::value(*text) : json::value(nullptr);
}

} // namespace

std::string order_as_json(const OrderRow& order) {
    return json::serialize(json::object{{"order_id", order.order_id},
                                        {"sale_id", order.sale_id},
                                        {"user_id", order.user_id},
                                        {"quantity", order.quantity},
                                        {"status", order.status},
                                        {"created_at", order.created_at},
                                        {"expires_at", text_or_null(order.expires_at)},
                                        {"paid_at", text_or_null(order.paid_at)},
                                        {"version", order.version},
                                        {"payment_ref", text_or_null(order.payment_ref)}});
}

Result<OrderRow> order_from_json(const json::value& value) {
    JsonReader in(value, "an order");
    OrderRow order;
    order.order_id = in.text("order_id");
    order.sale_id = in.text("sale_id");
    order.user_id = in.text("user_id");
    order.quantity = in.whole("quantity");
    order.status = in.text("status");
    order.created_at = in.text("created_at");
    order.expires_at = in.text_if_any("expires_at");
    order.paid_at = in.text_if_any("paid_at");
    order.version = in.whole("version");
    order.payment_ref = in.text_if_any("payment_ref");
    if (!in.complete()) return fail(Errc::io, in.problem());
    return order;
}

std::string csv_header() {
    return "order_id,sale_id,user_id,quantity,status,created_at,expires_at,paid_at,payment_ref\r\n";
}

std::string order_as_csv(const OrderRow& order) {
    std::string line = csv_cell(order.order_id);
    const auto add = [&](std::string_view text) {
        line += ',';
        line += csv_cell(text);
    };
    add(order.sale_id);
    add(order.user_id);
    add(std::to_string(order.quantity));
    add(order.status);
    add(order.created_at);
    add(order.expires_at.value_or(""));
    add(order.paid_at.value_or(""));
    add(order.payment_ref.value_or(""));
    return line + "\r\n";
}

std::string csv_cell(std::string_view text) {
    std::string cell;
    constexpr std::string_view kRuns = "=+-@\t\r";
    if (!text.empty() && kRuns.find(text.front()) != std::string_view::npos) cell += '\'';
    cell += text;
    if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
    std::string quoted = "\"";
    for (const char c : cell) {
        if (c == '"') quoted += '"';
        quoted += c;
    }
    return quoted + '"';
}

} // namespace doorbuster
