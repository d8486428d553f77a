#include "app/stages/metrics_page.h"

#include <gtest/gtest.h>

namespace doorbuster::stages {
namespace {

constexpr const char* kPage = R"(# HELP a What it is.
# TYPE a counter
a{sale="x",status="confirmed"} 3
a{sale="x",status="refused"} 4
a{sale="y",status="confirmed"} 5
b 2.5
broken
c{le="+Inf"} nothing
)";

TEST(MetricsPage, SumsWhatHasTheseLabels) {
    const MetricsPage page = MetricsPage::parse(kPage);
    EXPECT_EQ(page.sum("a"), 12);
    EXPECT_EQ(page.sum("a", R"(sale="x")"), 7);
    EXPECT_EQ(page.sum("a", R"(sale="x")", R"(status="refused")"), 4);
    EXPECT_EQ(page.sum("b"), 2.5);
}

TEST(MetricsPage, IsZeroWhereNothingIs) {
    const MetricsPage page = MetricsPage::parse(kPage);
    EXPECT_EQ(page.sum("broken"), 0);
    EXPECT_EQ(page.sum("c"), 0);
    EXPECT_EQ(MetricsPage::parse("").sum("a"), 0);
}

} // namespace
} // namespace doorbuster::stages
