#include "app/commands/audit_row.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

namespace doorbuster {
namespace {

AuditRow example() {
    AuditRow row;
    row.sale_id = "shoes";
    row.stock = 1'000;
    row.sold = 998;
    row.remaining = 2;
    row.orders = {{"confirmed", 990}, {"queued", 8}, {"paid", 0}};
    row.log_accepted_units = 998;
    row.inventory_remaining = 2;
    row.balanced = true;
    return row;
}

TEST(AuditRow, HasTheFieldsOfTheContract) {
    AuditRow row = example();
    EXPECT_EQ(audit_as_json_text({&row, 1}),
              R"([{"sale_id":"shoes","stock":1000,"sold":998,"remaining":2,)"
              R"("orders":{"confirmed":990,"paid":0,"queued":8},"log_accepted_units":998,)"
              R"("inventory_remaining":2,"violations":[],"balanced":true}])");
    row.inventory_remaining.reset();
    EXPECT_TRUE(audit_as_json(row).at("inventory_remaining").is_null());
    EXPECT_EQ(audit_as_json_text({}), "[]");
}

TEST(AuditRow, ReadsBackTheJsonItWrites) {
    AuditRow row = example();
    EXPECT_EQ(audit_from_json(audit_as_json(row)), row);
    row.inventory_remaining.reset();
    row.violations = {"oversold by 1"};
    row.balanced = false;
    EXPECT_EQ(audit_from_json(audit_as_json(row)), row);
    EXPECT_FALSE(audit_from_json(boost::json::parse("{}")).has_value());
}

TEST(AuditRow, IsATableForPeople) {
    AuditRow row = example();
    EXPECT_EQ(audit_as_text({&row, 1}, Colour::off),
              "SALE   STOCK  SOLD  REMAINING  ORDERS                   LOG UNITS  INVENTORY  "
              "BALANCED\n"
              "shoes  1,000   998          2  990 confirmed, 8 queued        998          2  yes\n"
              "The books balance: 1 sale, no violation.\n");
    EXPECT_TRUE(all_balanced({&row, 1}));
    EXPECT_EQ(audit_as_text({}, Colour::off), "There is no sale to audit.\n");
}

TEST(AuditRow, NamesEveryViolation) {
    AuditRow row = example();
    row.violations = {"sold 1001 of 1000"};
    const std::string text = audit_as_text({&row, 1}, Colour::off);
    EXPECT_NE(text.find("violation in shoes: sold 1001 of 1000\n"), std::string::npos);
    EXPECT_NE(text.find("The books do NOT balance: 1 of 1 sale.\n"), std::string::npos);
    EXPECT_FALSE(all_balanced({&row, 1})); // whatever `balanced` says
    row.violations.clear();
    row.balanced = false;
    EXPECT_FALSE(all_balanced({&row, 1}));
}

} // namespace
} // namespace doorbuster
