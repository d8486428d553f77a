#include "adapters/http/problem.h"

#include <gtest/gtest.h>
#include <set>
#include <string>

namespace doorbuster::http {
namespace {

std::set<std::int64_t> waits(RefusalWriter& writer, Duration wait) {
    std::set<std::int64_t> seen;
    for (int i = 0; i < 1'000; ++i) {
        const std::string line = writer.retry_after(wait);
        EXPECT_TRUE(line.starts_with("Retry-After: ") && line.ends_with("\r\n")) << line;
        seen.insert(std::stoll(line.substr(13)));
    }
    return seen;
}

TEST(RetryAfter, IsTheWaitRoundedUpPlusTwoSecondsAtMost) {
    using Seconds = std::set<std::int64_t>;
    RefusalWriter writer(429);
    EXPECT_EQ(waits(writer, Duration(0)), (Seconds{1, 2, 3}));
    EXPECT_EQ(waits(writer, Duration(1)), (Seconds{1, 2, 3}));
    EXPECT_EQ(waits(writer, Duration(1'000)), (Seconds{1, 2, 3}));
    EXPECT_EQ(waits(writer, Duration(1'001)), (Seconds{2, 3, 4}));
    // An hour before the start: nobody comes minutes after it.
    EXPECT_EQ(waits(writer, std::chrono::hours(1)), (Seconds{3'600, 3'601, 3'602}));
}

TEST(InvalidRequest, NamesTheFieldAndReadsAsASentence) {
    const auto body = [](const char* field, const char* detail) {
        const InvalidField wrong{field, detail};
        return problem(wrong).body;
    };
    const std::string header = body("Content-Length", "must be there once");
    EXPECT_NE(header.find(R"("detail":"Content-Length must be there once")"), std::string::npos);
    EXPECT_NE(header.find(R"("field":"Content-Length")"), std::string::npos);
    for (const char* part : {"request", "body", "query"}) {
        const std::string text = body(part, "is odd");
        EXPECT_NE(text.find(R"("detail":"The )" + std::string(part) + " is odd\""),
                  std::string::npos)
            << text;
        EXPECT_NE(text.find(R"("field":")" + std::string(part) + '"'), std::string::npos) << text;
    }
}

} // namespace
} // namespace doorbuster::http
