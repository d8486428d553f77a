#include <gtest/gtest.h>

#include "adapters/http/api.h"

namespace doorbuster::http {
namespace {

std::string field_of_the_error(std::string_view query) {
    const auto parsed = parse_query(query, {"limit", "user_id"});
    return parsed ? "no error" : parsed.error().field;
}

TEST(Query, IsDecoded) {
    const auto parsed = parse_query("limit=%31%30&&user_id=%C3%BC+b%2B", {"limit", "user_id"});
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->at("limit"), "10");
    EXPECT_EQ(parsed->at("user_id"), "\xc3\xbc b+");
}

TEST(Query, NamesAnUnknownOrRepeatedParameter) {
    EXPECT_EQ(field_of_the_error("limits=1"), "limits");
    EXPECT_EQ(field_of_the_error("limit=1&limit=1"), "limit");
    EXPECT_EQ(field_of_the_error("limit=%3"), "query");
}

TEST(Query, NeverEchoesBytesThatAreNotText) {
    EXPECT_EQ(field_of_the_error("%ff=1"), "query");
    EXPECT_EQ(field_of_the_error("a%00b=1"), "query");
    EXPECT_EQ(field_of_the_error("=1"), "query");
}

} // namespace
} // namespace doorbuster::http
