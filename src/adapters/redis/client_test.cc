#include "adapters/redis/client.h"

#include <gmock/gmock.h>

#include "adapters/redis/redis_fixture.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;
using testing::HasSubstr;
using testing::StartsWith;

Task<int> count_in_order(Client& client, int from, int to, std::vector<int>& seen) {
    int wrong = 0;
    for (int i = from; i < to; ++i) {
        const std::string word = std::to_string(i);
        const std::array<std::string_view, 2> echo{"ECHO", word};
        const auto reply = co_await client.call(echo, {}, Duration(20'000));
        if (!reply || reply->text != word) ++wrong;
        seen.push_back(i);
    }
    co_return wrong;
}

TEST(RedisClient, AnswersThousandsOfPipelinedCallsEachWithItsOwnReply) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    RunningClient client(server.url());
    ASSERT_TRUE(client.comes_up());
    constexpr int kLines = 200;
    constexpr int kCalls = 50;
    std::vector<int> seen; // the core's
    std::vector<std::future<int>> lines;
    for (int line = 0; line < kLines; ++line) {
        lines.push_back(start_on(
            client.core(), count_in_order(*client, line * kCalls, (line + 1) * kCalls, seen)));
    }
    int wrong = 0;
    for (auto& line : lines) wrong += finish(line);
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(kLines * kCalls));
}

} // namespace
} // namespace doorbuster::redis
