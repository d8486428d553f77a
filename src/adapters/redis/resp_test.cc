#include "adapters/redis/resp.h"

#include <array>
#include <gtest/gtest.h>

#include "adapters/redis/script.h"

namespace doorbuster::redis {
namespace {

TEST(Resp, WritesACommandAsAnArrayOfBulkStrings) {
    std::string out;
    const std::array<std::string_view, 3> command{"SET", "", std::string_view("a\r\n\0b", 5)};
    append_command(out, command);
    EXPECT_EQ(out, std::string("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$5\r\na\r\n\0b\r\n", 30));
}

TEST(Resp, ReadsRepliesFromBytesThatComeOneAtATime) {
    static constexpr std::string_view kBytes = "+OK\r\n:-7\r\n$-1\r\n$3\r\na\r\n\r\n-ERR no\r\n"
                                               "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n*0\r\n+y\r\n*-1\r\n";
    ReplyReader reader;
    std::vector<Reply> replies;
    for (const char byte : kBytes) {
        reader.feed(std::string_view(&byte, 1));
        auto reply = reader.next();
        ASSERT_TRUE(reply);
        if (*reply) replies.push_back(std::move(**reply));
    }
    ASSERT_EQ(replies.size(), 7U);
    EXPECT_TRUE(replies[0].is(Reply::Kind::status));
    EXPECT_EQ(replies[0].text, "OK");
    EXPECT_EQ(replies[1].integer, -7);
    EXPECT_TRUE(replies[2].is(Reply::Kind::nil));
    EXPECT_TRUE(replies[3].is(Reply::Kind::text));
    EXPECT_EQ(replies[3].text, "a\r\n");
    EXPECT_TRUE(replies[4].is_error("ERR"));
    EXPECT_FALSE(replies[4].is_error("ER"));
    ASSERT_TRUE(replies[5].is_array_of(3));
    EXPECT_EQ(replies[5].items[0].integer, 1);
    ASSERT_TRUE(replies[5].items[1].is_array_of(2));
    EXPECT_EQ(replies[5].items[1].items[0].text, "x");
    EXPECT_TRUE(replies[5].items[1].items[1].is_array_of(0));
    EXPECT_EQ(replies[5].items[2].text, "y");
    EXPECT_TRUE(replies[6].is(Reply::Kind::nil));
}

TEST(Resp, ReadsManyRepliesOfOneReadInOrder) {
    ReplyReader reader;
    std::string bytes;
    for (int i = 0; i < 10'000; ++i) bytes += ":" + std::to_string(i) + "\r\n";
    reader.feed(bytes);
    for (int i = 0; i < 10'000; ++i) {
        const auto reply = reader.next();
        ASSERT_TRUE(reply && *reply);
        ASSERT_EQ((*reply)->integer, i);
    }
    const auto none = reader.next();
    EXPECT_TRUE(none && !*none);
}

TEST(Resp, RefusesWhatIsNotTheProtocol) {
    for (const std::string_view bytes :
         {"HTTP/1.1 400 Bad Request\r\n", "*2000000000\r\n", "$-5\r\n", ":x1\r\n"}) {
        ReplyReader reader;
        reader.feed(bytes);
        const auto reply = reader.next();
        ASSERT_FALSE(reply) << bytes;
        EXPECT_TRUE(reply.error().is(Errc::corrupt));
    }
}

TEST(Resp, RefusesAReplyThatNeverEnds) {
    ReplyReader reader;
    reader.feed("$500000000\r\n");
    const std::string part(1UL << 20, 'x');
    bool is_refused = false;
    for (std::size_t fed = 0; fed < 2 * kReplyBytesMax && !is_refused; fed += part.size()) {
        reader.feed(part);
        is_refused = !reader.next();
    }
    EXPECT_TRUE(is_refused);
}

TEST(Script, KnowsItsNameInRedis) {
    const Script script("return 1"); // as SCRIPT LOAD says
    EXPECT_EQ(script.sha1(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
}

} // namespace
} // namespace doorbuster::redis
