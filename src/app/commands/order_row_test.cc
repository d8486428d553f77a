#include "app/commands/order_row.h"

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

namespace doorbuster {
namespace {

OrderRow example() {
    OrderRow order;
    order.order_id = "00000001abc";
    order.sale_id = "shoes";
    order.user_id = "ann";
    order.quantity = 2;
    order.status = "confirmed";
    order.created_at = "2026-11-27T09:00:00.000Z";
    order.version = 1;
    return order;
}

TEST(OrderRow, WritesALineOfCsv) {
    OrderRow order = example();
    EXPECT_EQ(csv_header(), "order_id,sale_id,user_id,quantity,status,created_at,expires_at,"
                            "paid_at,payment_ref\r\n");
    EXPECT_EQ(order_as_csv(order),
              "00000001abc,shoes,ann,2,confirmed,2026-11-27T09:00:00.000Z,,,\r\n");
    order.user_id = "Smith, \"Ann\"";
    order.payment_ref = "=1+1";
    EXPECT_EQ(order_as_csv(order), "00000001abc,shoes,\"Smith, \"\"Ann\"\"\",2,confirmed,"
                                   "2026-11-27T09:00:00.000Z,,,'=1+1\r\n");
}

TEST(OrderRow, GuardsCellsThatASpreadsheetWouldRun) {
    EXPECT_EQ(csv_cell("=cmd"), "'=cmd");
    EXPECT_EQ(csv_cell("+1"), "'+1");
    EXPECT_EQ(csv_cell("-1"), "'-1");
    EXPECT_EQ(csv_cell("@x"), "'@x");
    EXPECT_EQ(csv_cell("\tx"), "'\tx");
    EXPECT_EQ(csv_cell("\rx"), "\"'\rx\"");
    EXPECT_EQ(csv_cell("=a,\"b\""), "\"'=a,\"\"b\"\"\"");
    EXPECT_EQ(csv_cell("a=b"), "a=b");
    EXPECT_EQ(csv_cell("a\nb"), "\"a\nb\"");
    EXPECT_EQ(csv_cell(""), "");
}

TEST(OrderRow, ReadsBackTheJsonItWrites) {
    OrderRow order = example();
    EXPECT_EQ(order_from_json(boost::json::parse(order_as_json(order))), order);
    order.expires_at = "2026-11-27T09:15:00.000Z";
    order.paid_at = "2026-11-27T09:01:00.000Z";
    order.payment_ref = "ref \"1\"";
    EXPECT_EQ(order_from_json(boost::json::parse(order_as_json(order))), order);
    EXPECT_EQ(order_as_json(order).find('\n'), std::string::npos);
}

TEST(OrderRow, RefusesJsonThatIsNoOrder) {
    EXPECT_EQ(order_from_json(boost::json::parse("[]")).error().context,
              "the answer is not an order");
    auto value = boost::json::parse(order_as_json(example()));
    value.as_object()["quantity"] = "2";
    EXPECT_EQ(order_from_json(value).error().context,
              "the answer is not an order: its quantity is not a whole number");
    value.as_object().erase("user_id");
    EXPECT_FALSE(order_from_json(value).has_value());
}

} // namespace
} // namespace doorbuster
