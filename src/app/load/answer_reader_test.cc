#include "app/load/answer_reader.h"

#include <algorithm>
#include <gtest/gtest.h>

namespace doorbuster::load {
namespace {

using Progress = AnswerReader::Progress;

void feed(AnswerReader& reader, std::string_view bytes) {
    while (!bytes.empty()) {
        const auto space = reader.space();
        ASSERT_FALSE(space.empty());
        const std::size_t n = std::min(space.size(), bytes.size());
        std::copy_n(bytes.begin(), n, space.begin());
        reader.received(n);
        bytes.remove_prefix(n);
    }
}

constexpr std::string_view kAccepted = "HTTP/1.1 202 Accepted\r\n"
                                       "content-type: application/json\r\n"
                                       "Location: /v1/orders/abc\r\n"
                                       "Idempotency-Replayed:  true \r\n"
                                       "Content-Length: 2\r\n\r\n{}";

TEST(AnswerReader, FindsAnAnswerHoweverItsBytesArrive) {
    AnswerReader reader;
    Answer answer;
    for (std::size_t i = 0; i + 1 < kAccepted.size(); ++i) {
        feed(reader, kAccepted.substr(i, 1));
        ASSERT_EQ(reader.next(answer), Progress::more);
    }
    feed(reader, kAccepted.substr(kAccepted.size() - 1));
    ASSERT_EQ(reader.next(answer), Progress::answer);
    EXPECT_EQ(answer.status, 202);
    EXPECT_EQ(answer.content_type, "application/json");
    EXPECT_EQ(answer.location, "/v1/orders/abc");
    EXPECT_EQ(answer.replayed, "true");
    EXPECT_EQ(answer.body, "{}");
    EXPECT_TRUE(answer.keep_alive);
    EXPECT_TRUE(reader.drop());
    EXPECT_FALSE(reader.has_bytes());
}

TEST(AnswerReader, ReadsTheRefusalsHeaders) {
    AnswerReader reader;
    Answer answer;
    feed(reader,
         "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nRateLimit-Policy: \"a\";q=1\r\n"
         "RateLimit: \"a\";r=0\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    ASSERT_EQ(reader.next(answer), Progress::answer);
    EXPECT_EQ(answer.retry_after, "3");
    EXPECT_EQ(answer.rate_limit, "\"a\";r=0");
    EXPECT_EQ(answer.rate_limit_policy, "\"a\";q=1");
    EXPECT_FALSE(answer.keep_alive);
}

TEST(AnswerReader, SaysWhenBytesFollowThatNobodyAskedFor) {
    AnswerReader reader;
    Answer answer;
    feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP");
    ASSERT_EQ(reader.next(answer), Progress::answer);
    EXPECT_EQ(answer.body, "x");
    EXPECT_FALSE(reader.drop());
}

TEST(AnswerReader, SkipsInterimAnswers) {
    AnswerReader reader;
    Answer answer;
    feed(reader, "HTTP/1.1 100 Continue\r\n\r\n");
    ASSERT_EQ(reader.next(answer), Progress::more);
    feed(reader, kAccepted);
    ASSERT_EQ(reader.next(answer), Progress::answer);
    EXPECT_EQ(answer.status, 202);
    EXPECT_TRUE(reader.drop());
}

TEST(AnswerReader, JoinsChunks) {
    AnswerReader reader;
    Answer answer;
    feed(reader,
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\nA\r\n0123456789");
    ASSERT_EQ(reader.next(answer), Progress::more);
    feed(reader, "\r\n0\r\nTrailer: x\r\n\r\n");
    ASSERT_EQ(reader.next(answer), Progress::answer);
    EXPECT_EQ(answer.body, "abc0123456789");
    EXPECT_TRUE(reader.drop());
}

TEST(AnswerReader, TakesTheCloseAsTheEndOnlyWhereNoLengthIsGiven) {
    AnswerReader reader;
    Answer answer;
    feed(reader, "HTTP/1.0 200 OK\r\n\r\nall of it");
    ASSERT_EQ(reader.next(answer), Progress::more);
    ASSERT_EQ(reader.ended(answer), Progress::answer);
    EXPECT_EQ(answer.body, "all of it");
    EXPECT_FALSE(answer.keep_alive);

    reader.reset();
    feed(reader, kAccepted.substr(0, kAccepted.size() - 1));
    EXPECT_EQ(reader.ended(answer), Progress::broken);
}

TEST(AnswerReader, GrowsToItsBoundAndNoFurther) {
    AnswerReader reader;
    Answer answer;
    const std::string body(50'000, 'x');
    feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + body);
    ASSERT_EQ(reader.next(answer), Progress::answer);
    EXPECT_EQ(answer.body, body);

    reader.reset();
    feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n");
    EXPECT_EQ(reader.next(answer), Progress::broken);
}

TEST(AnswerReader, RefusesWhatCouldBeReadInTwoWays) {
    for (const char* text : {
             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
             "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
             "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
             "HTTP/1.1 20 OK\r\n\r\n",
             "HTTP/1.1 2000 OK\r\n\r\n",
             "HTTP/2 200\r\n\r\n",
             "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
             "hello\r\n\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
         }) {
        AnswerReader reader;
        Answer answer;
        feed(reader, text);
        EXPECT_EQ(reader.next(answer), Progress::broken) << text;
        EXPECT_FALSE(reader.why().empty());
    }
}

} // namespace
} // namespace doorbuster::load
