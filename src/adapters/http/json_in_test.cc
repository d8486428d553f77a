#include "adapters/http/json_in.h"

#include <gtest/gtest.h>

namespace doorbuster::http {
namespace {

std::string field_of_the_error(std::string_view text) {
    const auto parsed = JsonFields::parse(text, {"quantity", "title"});
    return parsed ? "no error" : parsed.error().field;
}

TEST(JsonFields, ReadsOneFlatObject) {
    const auto fields =
        JsonFields::parse(R"({"quantity": 2, "title": "\u00fc"})", {"quantity", "title"});
    ASSERT_TRUE(fields.has_value());
    EXPECT_EQ(fields->integer("quantity", 1, 9).value(), 2);
    EXPECT_EQ(fields->text("title").value(), "\xc3\xbc");
    EXPECT_EQ(fields->size(), 2U);
}

TEST(JsonFields, TakesNoBodyForAnEmptyObject) {
    const auto fields = JsonFields::parse("", {"quantity"});
    ASSERT_TRUE(fields.has_value());
    EXPECT_FALSE(fields->integer("quantity", 1, 9).value().has_value());
}

TEST(JsonFields, NamesTheFieldThatIsWrong) {
    EXPECT_EQ(field_of_the_error(R"({"x": 1})"), "x");
    EXPECT_EQ(field_of_the_error(R"({"quantity": 1, "quantity": 1})"), "quantity");
    EXPECT_EQ(field_of_the_error(R"({"quantity": {}})"), "quantity");
    EXPECT_EQ(field_of_the_error(R"({"quantity": [1]})"), "quantity");
    const auto fields = JsonFields::parse(R"({"quantity": 1.5})", {"quantity"});
    ASSERT_TRUE(fields.has_value());
    EXPECT_EQ(fields->integer("quantity", 1, 9).error().field, "quantity");
}

TEST(JsonFields, NamesTheBodyWhereNoFieldCanBeNamed) {
    for (const char* text :
         {R"({"": 1})", "[]", "1", "{", R"({"quantity": 1} x)", "\xff", R"({"title": "\ud800"})"}) {
        EXPECT_EQ(field_of_the_error(text), "body") << text;
    }
}

} // namespace
} // namespace doorbuster::http
