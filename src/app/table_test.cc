#include "app/table.h"

#include <gtest/gtest.h>

namespace doorbuster {
namespace {

TEST(Table, AlignsItsColumns) {
    Table table({{"SALE"}, {"STOCK", Table::Align::right}, {"TITLE"}});
    table.add({"demo", "1,000", "Shoes"});
    table.add({"a-longer-one", "7", ""});
    EXPECT_EQ(table.text(Colour::off), "SALE          STOCK  TITLE\n"
                                       "demo          1,000  Shoes\n"
                                       "a-longer-one      7\n");
}

TEST(Table, CountsCellsOfTheTerminalAndNotBytes) {
    EXPECT_EQ(display_width("Größe"), 5U);
    EXPECT_EQ(display_width("限定版"), 6U);
    EXPECT_EQ(display_width("e\u0301"), 1U);
    EXPECT_EQ(display_width("\U0001F45F"), 2U);
    Table table({{""}, {""}});
    table.add({"限定", "x"});
    table.add({"abcd", "y"});
    EXPECT_EQ(table.text(Colour::off), "限定  x\nabcd  y\n");
}

TEST(Table, MakesHarmlessWhatATerminalWouldActOn) {
    EXPECT_EQ(printable("a\x1b[31mb\n"), "a\ufffd[31mb\ufffd");
    EXPECT_EQ(printable("\u202egnp"), "\ufffdgnp");
    EXPECT_EQ(printable("\xff\xc3"), "\ufffd\ufffd");
    EXPECT_EQ(printable("Größe 限定"), "Größe 限定");
}

TEST(Table, HasColoursOnATerminalUnlessTheUserWantsNone) {
    EXPECT_EQ(colour_for(Terminal::yes, {}), Colour::on);
    EXPECT_EQ(colour_for(Terminal::no, {}), Colour::off);
    EXPECT_EQ(colour_for(Terminal::yes, {{"NO_COLOR", "1"}}), Colour::off);
    EXPECT_EQ(colour_for(Terminal::yes, {{"NO_COLOR", ""}}), Colour::on);
    Table table({{"A"}});
    table.add({"b"});
    EXPECT_EQ(table.text(Colour::on), "\x1b[1mA\x1b[0m\nb\n");
}

TEST(Table, GroupsDigits) {
    EXPECT_EQ(grouped(0), "0");
    EXPECT_EQ(grouped(999), "999");
    EXPECT_EQ(grouped(-1'000), "-1,000");
    EXPECT_EQ(grouped(1'234'567), "1,234,567");
}

} // namespace
} // namespace doorbuster
