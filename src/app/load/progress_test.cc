#include "app/load/progress.h"

#include <gtest/gtest.h>

namespace doorbuster {
namespace {

LoadProgress at(double seconds) {
    return {.share_done = 0.5, .attempts = 100, .accepted = 7, .errors = 0, .seconds = seconds};
}

TEST(ProgressLine, IsALineEveryFiveSecondsWithoutATerminal) {
    ProgressLine line(false, false);
    EXPECT_EQ(line.render(at(0.1)), "");
    EXPECT_EQ(line.render(at(4.9)), "");
    EXPECT_EQ(line.render(at(5.0)), " 50%  100 attempts, 7 accepted, 0 errors, 20/s, 5.0 s\n");
    EXPECT_EQ(line.render(at(5.1)), "");
    EXPECT_NE(line.render(at(21)), ""); // one line, however long nobody asked
    EXPECT_EQ(line.render(at(24.9)), "");
    EXPECT_NE(line.render(at(25)), "");
}

TEST(ProgressLine, ShowsOtherWorkToo) {
    ProgressLine line(false, false);
    EXPECT_EQ(line.render(0.25, 5.0, "5 orders"), " 25%  5 orders\n");
}

TEST(ProgressLine, IsABarOnATerminal) {
    ProgressLine line(true, false);
    const std::string text = line.render(at(1));
    EXPECT_NE(text.find("[###############...............]  50%"), std::string::npos);
    EXPECT_EQ(text.find("\033[32m"), std::string::npos);
    EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(ProgressLine, IsColouredOnlyWhereThatIsWanted) {
    ProgressLine line(true, true);
    EXPECT_NE(line.render(at(1)).find("\033[32m"), std::string::npos);
}

} // namespace
} // namespace doorbuster
