#include "adapters/http/request_parser.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace doorbuster::http {
namespace {

// What came of some bytes: the requests in them, and how the reading ended.
struct Outcome {
    std::vector<std::string> requests;
    ParseState state = ParseState::need_header;
    std::uint16_t status = 0;
    std::string detail;
    std::string field;

    friend bool operator==(const Outcome&, const Outcome&) = default;
};

std::string describe(const Request& r) {
    std::string text;
    text.append(r.method_text).append(" path=").append(r.path).append(" query=").append(r.query);
    text.append(" host=").append(r.host).append(r.keep_alive ? " keep" : " close");
    text.append(" user=").append(r.user_id).append(" auth=").append(r.authorization);
    text.append(" key=").append(r.has_idempotency_key ? r.idempotency_key : "none");
    text.append(" origin=").append(r.origin).append(" type=").append(r.content_type);
    text.append(" for=").append(r.forwarded_for).append(" id=").append(r.request_id);
    text.append(" body=").append(r.body);
    return text;
}

// Feeds `bytes` in pieces of `step`; at a new address each time unless that would take long.
Outcome feed(const std::string& bytes, std::size_t step) {
    RequestParser parser;
    Outcome outcome;
    std::vector<char> buffer;
    const auto parse = [&] {
        while (true) {
            std::size_t size = buffer.size();
            outcome.state = parser.parse(buffer.data(), size);
            buffer.resize(size);
            if (outcome.state != ParseState::complete) return;
            Request request;
            parser.fill(request, buffer.data());
            outcome.requests.push_back(describe(request));
            buffer.erase(buffer.begin(), buffer.begin() + static_cast<long>(parser.consumed()));
            parser.reset();
            if (buffer.empty()) return;
        }
    };
    for (std::size_t at = 0; at < bytes.size() && outcome.state != ParseState::failed; at += step) {
        if (bytes.size() < 4096) buffer = std::vector<char>(buffer.begin(), buffer.end());
        const std::string piece = bytes.substr(at, step);
        buffer.insert(buffer.end(), piece.begin(), piece.end());
        EXPECT_LE(step == 1 ? buffer.size() : 0, kRequestBytesMax);
        parse();
    }
    if (outcome.state == ParseState::failed) {
        outcome.status = parser.failure().status;
        outcome.detail = parser.failure().detail;
        outcome.field = parser.failure().field;
    }
    return outcome;
}

Outcome parse(const std::string& bytes) {
    const Outcome whole = feed(bytes, bytes.size());
    for (const std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
        const Outcome pieces = feed(bytes, step);
        EXPECT_EQ(whole.requests, pieces.requests) << "in pieces of " << step;
        EXPECT_EQ(whole.state, pieces.state) << "in pieces of " << step;
        EXPECT_EQ(whole.status, pieces.status) << "in pieces of " << step;
        EXPECT_EQ(whole.detail, pieces.detail) << "in pieces of " << step;
        EXPECT_EQ(whole.field, pieces.field) << "in pieces of " << step;
    }
    return whole;
}

std::string described(const std::string& changes) {
    const Outcome outcome = parse(changes);
    if (outcome.state == ParseState::failed) return std::to_string(outcome.status);
    return outcome.requests.empty() ? "incomplete" : outcome.requests.front();
}

std::string only_body(const Outcome& outcome) {
    if (outcome.requests.size() != 1) return "not one request";
    const std::string& text = outcome.requests.front();
    return text.substr(text.find(" body=") + 6);
}

const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n";
const std::string kPost = "POST /x HTTP/1.1\r\nHost: a\r\n";
const std::string kChunked = kPost + "Transfer-Encoding: chunked\r\n\r\n";

TEST(RequestParser, ReadsARequestWithEveryHeaderThatTheRoutesLookAt) {
    EXPECT_EQ(described("POST /v1/sales/demo/purchases?a=b?c HTTP/1.1\r\n"
                        "host: shop.example:8080\r\nX-USER-ID: \t u 1 \r\n"
                        "Authorization: Bearer t\r\nIdempotency-Key: k1\r\nOrigin: http://o\r\n"
                        "Content-Type: application/json\r\nX-Forwarded-For: 1.1.1.1\r\n"
                        "X-Request-Id: r-1._\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\n"
                        "X-Other: \xc3\xa9\r\nContent-Length: 4\r\n\r\nbody"),
              "POST path=/v1/sales/demo/purchases query=a=b?c host=shop.example:8080 keep "
              "user=u 1 auth=Bearer t key=k1 origin=http://o type=application/json "
              "for=1.1.1.1, 2.2.2.2, 3.3.3.3 id=r-1._ body=body");
}

TEST(RequestParser, ReadsPipelinedRequestsInOrder) {
    const Outcome outcome =
        parse("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" + kChunked + "3\r\nabc\r\n0\r\n\r\n" + kPost +
              "Content-Length: 2\r\n\r\nxyGET /4 HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_EQ(outcome.requests.size(), 4U);
    EXPECT_TRUE(outcome.requests[0].starts_with("GET path=/1 "));
    EXPECT_TRUE(outcome.requests[1].ends_with(" body=abc"));
    EXPECT_TRUE(outcome.requests[2].ends_with(" body=xy"));
    EXPECT_TRUE(outcome.requests[3].starts_with("GET path=/4 "));
}

TEST(RequestParser, FollowsTheKeepAliveRulesOfBothVersions) {
    const auto keeps = [](const std::string& bytes) {
        return described(bytes).find(" keep ") != std::string::npos;
    };
    EXPECT_TRUE(keeps(kGet + "\r\n"));
    EXPECT_FALSE(keeps(kGet + "Connection: close\r\n\r\n"));
    EXPECT_FALSE(keeps(kGet + "Connection: x, Close\r\n\r\n"));
    EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
    EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

TEST(RequestParser, TellsAnEmptyKeyFromNone) {
    EXPECT_NE(described(kGet + "\r\n").find("key=none"), std::string::npos);
    EXPECT_NE(described(kGet + "Idempotency-Key:\r\n\r\n").find("key= "), std::string::npos);
}

TEST(RequestParser, DropsRequestIdsThatMustNotBeEchoed) {
    for (const std::string& id :
         std::vector<std::string>{"", "a b", "a\tb", "x<y", std::string(129, 'a')}) {
        EXPECT_NE(described(kGet + "X-Request-Id: " + id + "\r\n\r\n").find(" id= "),
                  std::string::npos)
            << id;
    }
    EXPECT_NE(described(kGet + "X-Request-Id: a\r\nX-Request-Id: b\r\n\r\n").find(" id= "),
              std::string::npos);
    const std::string longest(128, 'a');
    EXPECT_NE(described(kGet + "X-Request-Id: " + longest + "\r\n\r\n").find("id=" + longest),
              std::string::npos);
}

TEST(RequestParser, FindsTheRequestIdOfARequestThatItDoesNotRead) {
    const auto id_of = [](std::string bytes) {
        RequestParser parser;
        std::size_t size = bytes.size();
        EXPECT_NE(parser.parse(bytes.data(), size), ParseState::complete) << bytes;
        return std::string(parser.request_id_so_far(bytes.data(), size));
    };
    const std::string id = "x-request-ID: \tr-1 \r\n";
    EXPECT_EQ(id_of(kGet + id), "r-1");
    EXPECT_EQ(id_of(kGet + id + "X-User-Id: a\r\nX-User-Id: b\r\n\r\n"), "r-1");
    EXPECT_EQ(id_of(kGet + "X-Long: " + std::string(20'000, 'a') + "\r\n" + id + "\r\n"), "r-1");
    EXPECT_EQ(id_of("GET /" + std::string(9'000, 'a') + " HTTP/1.1\r\n" + id + "\r\n"), "r-1");
    EXPECT_EQ(id_of("\r\nGET nothing HTTP/1.1\r\nHost: a\r\n" + id + "\r\n"), "r-1");
    EXPECT_EQ(id_of("POST /%41%42 HTTP/1.1\r\nHost: a\r\n" + id + "Content-Length: 9\r\n\r\nb"),
              "r-1");
    EXPECT_EQ(id_of("POST / HTTP/1.1\r\nHost: a\r\n" + id +
                    "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n10001\r\n"),
              "r-1");

    EXPECT_EQ(id_of(""), "");
    EXPECT_EQ(id_of(id), ""); // a start line, if anything
    EXPECT_EQ(id_of(kGet + "X-Request-Id"), "");
    EXPECT_EQ(id_of(kGet + "X-Request-Id: r-"), "");
    EXPECT_EQ(id_of(kGet + "X-Request-Id:\r\n"), "");
    EXPECT_EQ(id_of(kGet + "X-Request-Id: a b\r\n"), "");
    EXPECT_EQ(id_of(kGet + id + id), "");
    EXPECT_EQ(id_of("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n" + id), "");
}

TEST(RequestParser, TakesTheHostOfAnAbsoluteTarget) {
    const std::string rest = " HTTP/1.1\r\nHost: other\r\n\r\n";
    EXPECT_TRUE(
        described("GET http://h:1/p?q" + rest).starts_with("GET path=/p query=q host=h:1 "));
    EXPECT_TRUE(described("GET HTTPS://h" + rest).starts_with("GET path=/ query= host=h "));
    EXPECT_TRUE(described("GET http://h?q" + rest).starts_with("GET path=/ query=q host=h "));
}

TEST(RequestParser, SkipsOneEmptyLineInFrontOfARequest) {
    EXPECT_TRUE(described("\r\n" + kGet + "\r\n").starts_with("GET path=/ "));
    EXPECT_EQ(described("\r\n\r\n" + kGet + "\r\n"), "400");
    EXPECT_EQ(described("\n" + kGet + "\r\n"), "400");
}

struct Hostile {
    const char* what;
    std::string bytes;
    std::uint16_t status;
};

TEST(RequestParser, RefusesWhatIsMalformedOrAmbiguous) {
    const std::string nul(1, '\0');
    const std::string end = "\r\n\r\n";
    const std::string chunked = "Transfer-Encoding: chunked\r\n";
    const std::vector<Hostile> all = {
        {"a TLS hello", "\x16\x03\x01" + nul, 400},
        {"no method", " / HTTP/1.1\r\nHost: a" + end, 400},
        {"a method without end", std::string(33, 'A'), 400},
        {"a method that is none", "G(T / HTTP/1.1\r\nHost: a" + end, 400},
        {"two spaces", "GET  / HTTP/1.1\r\nHost: a" + end, 400},
        {"no version", "GET /\r\nHost: a" + end, 400},
        {"HTTP/0.9", "GET / HTTP/0.9\r\nHost: a" + end, 400},
        {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a" + end, 400},
        {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a" + end, 400},
        {"the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
        {"a lower-case version", "GET / http/1.1\r\nHost: a" + end, 400},
        {"something behind the version", "GET / HTTP/1.1 \r\nHost: a" + end, 400},
        {"an endless version", "GET / " + std::string(100, 'H'), 400},
        {"a tab for a space", "GET\t/ HTTP/1.1\r\nHost: a" + end, 400},
        {"NUL in the target", "GET /" + nul + " HTTP/1.1\r\nHost: a" + end, 400},
        {"bytes above ASCII in the target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a" + end, 400},
        {"a fragment", "GET /a#b HTTP/1.1\r\nHost: a" + end, 400},
        {"CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a" + end, 400},
        {"asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: a" + end, 400},
        {"a target without a slash", "GET a HTTP/1.1\r\nHost: a" + end, 400},
        {"another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a" + end, 400},
        {"user information", "GET http://u@a/ HTTP/1.1\r\nHost: a" + end, 400},
        {"an empty authority", "GET http:/// HTTP/1.1\r\nHost: a" + end, 400},
        {"LF alone in the start line", "GET / HTTP/1.1\nHost: a" + end, 400},
        {"LF alone in a header", "GET / HTTP/1.1\r\nHost: a\nX: y" + end, 400},
        {"LF alone at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
        {"CR alone", kGet + "X: a\rb" + end, 400},
        {"CR twice", kGet + "X: a\r\r\n\r\n", 400},
        {"NUL in a value", kGet + "X: a" + nul + "b" + end, 400},
        {"a control character in a value", kGet + "X: a\x01" + end, 400},
        {"DEL in a value", kGet + "X: a\x7f" + end, 400},
        {"a folded line", kGet + "X: a\r\n b" + end, 400},
        {"a folded first line", "GET / HTTP/1.1\r\n Host: a" + end, 400},
        {"a space before the colon", kGet + "X : a" + end, 400},
        {"no colon", kGet + "X" + end, 400},
        {"no name", kGet + ": a" + end, 400},
        {"a name that is none", kGet + "X(: a" + end, 400},
        {"no Host", "GET / HTTP/1.1\r\nX: a" + end, 400},
        {"no Host with an absolute target", "GET http://a/ HTTP/1.1" + end, 400},
        {"two Hosts", kGet + "Host: a" + end, 400},
        {"a Host with a space", "GET / HTTP/1.1\r\nHost: a b" + end, 400},
        {"a Host with a path", "GET / HTTP/1.1\r\nHost: a/b" + end, 400},
        {"two Authorizations", kGet + "Authorization: a\r\nAuthorization: a" + end, 400},
        {"two Content-Types", kGet + "Content-Type: a\r\nContent-Type: a" + end, 400},
        {"two keys", kGet + "Idempotency-Key: a\r\nIDEMPOTENCY-KEY: a" + end, 400},
        {"two users", kGet + "X-User-Id: a\r\nX-User-Id: b" + end, 400},
        {"two Origins", kGet + "Origin: a\r\nOrigin: a" + end, 400},
        {"two equal lengths", kPost + "Content-Length: 1\r\nContent-Length: 1" + end + "a", 400},
        {"a list of lengths", kPost + "Content-Length: 1, 1" + end + "a", 400},
        {"a signed length", kPost + "Content-Length: +1" + end + "a", 400},
        {"a negative length", kPost + "Content-Length: -1" + end, 400},
        {"a hexadecimal length", kPost + "Content-Length: 0x1" + end, 400},
        {"an empty length", kPost + "Content-Length:" + end, 400},
        {"a length past 2^64", kPost + "Content-Length: 18446744073709551617" + end, 400},
        {"length and encoding", kPost + "Content-Length: 1\r\nTransfer-Encoding: chunked" + end,
         400},
        {"encoding and length", kPost + "Transfer-Encoding: chunked\r\nContent-Length: 1" + end,
         400},
        {"another encoding", kPost + "Transfer-Encoding: gzip" + end, 400},
        {"two encodings", kPost + "Transfer-Encoding: gzip, chunked" + end, 400},
        {"chunked twice", kPost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked" + end,
         400},
        {"an encoding with a parameter", kPost + "Transfer-Encoding: chunked;a=b" + end, 400},
        {"no encoding", kPost + "Transfer-Encoding:" + end, 400},
        {"an encoding in HTTP/1.0", "POST / HTTP/1.0\r\n" + chunked + "\r\n0\r\n\r\n", 400},
        {"a body past the limit", kPost + "Content-Length: 65537" + end, 413},
        {"a body far past the limit", kPost + "Content-Length: 18446744073709551615" + end, 413},
        {"a target past the limit", "GET /" + std::string(kTargetMax, 'a'), 414},
        {"headers past the limit", kGet + "X: " + std::string(kHeadersMax, 'a'), 431},
        {"a chunk size that is none", kChunked + "x\r\n", 400},
        {"no chunk size", kChunked + "\r\n", 400},
        {"a space before the chunk size", kChunked + " 1\r\na\r\n", 400},
        {"a space behind the chunk size", kChunked + "1 \r\na\r\n", 400},
        {"a chunk size in C", kChunked + "0x1\r\na\r\n", 400},
        {"LF alone behind the chunk size", kChunked + "1\na\r\n", 400},
        {"CR in an extension", kChunked + "1;a\rb\r\n", 400},
        {"an endless extension", kChunked + "1;" + std::string(kChunkLineMax, 'a'), 400},
        {"a chunk longer than its size", kChunked + "1\r\nab", 400},
        {"LF alone behind a chunk", kChunked + "1\r\na\n", 400},
        {"a chunk past the limit", kChunked + "10001\r\n", 413},
        {"a chunk far past the limit", kChunked + std::string(40, 'f') + "\r\n", 413},
        {"chunks past the limit", kChunked + "1\r\na\r\n10000\r\n", 413},
        {"LF alone in the trailers", kChunked + "0\r\nA: b\n\r\n", 400},
        {"endless trailers", kChunked + "0\r\nA: " + std::string(kTrailersMax, 'b'), 431},
    };
    for (const Hostile& hostile : all) {
        SCOPED_TRACE(hostile.what);
        const Outcome outcome = parse(hostile.bytes);
        EXPECT_EQ(outcome.state, ParseState::failed);
        EXPECT_EQ(outcome.status, hostile.status) << outcome.detail;
        EXPECT_TRUE(outcome.requests.empty());
        EXPECT_FALSE(outcome.detail.empty());
    }
}

TEST(RequestParser, NamesTheHeaderThatIsWrong) {
    const std::string end = "\r\n\r\n";
    const auto wrong = [&end](const std::string& headers) {
        const Outcome outcome = parse("POST / HTTP/1.1\r\n" + headers + end);
        EXPECT_EQ(outcome.status, 400) << headers;
        return outcome.field + " " + outcome.detail;
    };
    const std::string host = "Host: a\r\n";
    for (const std::string name : {"Host", "Content-Type", "Authorization", "Idempotency-Key",
                                   "X-User-Id", "Origin", "Content-Length"}) {
        const std::string twice = name + ": 1\r\n" + name + ": 1";
        EXPECT_EQ(wrong((name == "Host" ? "" : host) + twice), name + " must be there once");
    }
    EXPECT_EQ(wrong("X: a"), "Host is missing");
    EXPECT_EQ(wrong("Host: a b"), "Host must be a host name or address, perhaps with a port");
    for (const char* length : {"", "-1", "0x1", "1, 1", "18446744073709551616"}) {
        EXPECT_EQ(wrong(host + "Content-Length: " + length),
                  "Content-Length must be a whole number, without a Transfer-Encoding beside it")
            << length;
    }
    const std::string chunked = "Transfer-Encoding: chunked";
    for (const std::string& lines :
         {std::string("Transfer-Encoding: gzip"), chunked + "\r\n" + chunked,
          "Content-Length: 1\r\n" + chunked}) {
        EXPECT_EQ(wrong(host + lines),
                  "Transfer-Encoding must be chunked and nothing else, without "
                  "a Content-Length beside it")
            << lines;
    }
    const std::string control = " must not contain control characters";
    EXPECT_EQ(wrong(host + "idempotency-key: a\x01" + "b"), "Idempotency-Key" + control);
    EXPECT_EQ(wrong(host + "A: b\r\nX-USER-ID: \x7f\r\nC: d"), "X-User-Id" + control);
    EXPECT_EQ(wrong(host + "X-Other: a\x02" + "b"), "X-Other" + control);
    EXPECT_EQ(wrong(host + "X-Other: a\rb"), "request has a malformed line end");
    EXPECT_EQ(wrong(host + std::string(65, 'x') + ": \x01"),
              "request has a header with a malformed value");
    EXPECT_EQ(wrong(host + std::string(65, 'x') + ": \x01\r\n:\x01"),
              "request has a header with a malformed value"); // not "", the name behind it
    EXPECT_EQ(wrong(host + "A : b"), "request has a malformed header name");
}

TEST(RequestParser, DecodesInThePathWhatNeedsNoEscape) {
    const auto path = [](const std::string& target) {
        const std::string text = described("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n");
        return text.substr(9, text.find(" host=") - 9);
    };
    EXPECT_EQ(path("/v1/sales/%72ush%2D1?a=%72"), "/v1/sales/rush-1 query=a=%72");
    EXPECT_EQ(path("/%41%7a%7E%5f%2e"), "/Az~_. query=");
    EXPECT_EQ(path("/a%2Fb%00%20%c3%a9%25"), "/a%2Fb%00%20%c3%a9%25 query=");
    EXPECT_EQ(path("/%2572"), "/%2572 query="); // once
    EXPECT_EQ(path("/%%372/%7/%zz/%"), "/%72/%7/%zz/% query=");
    EXPECT_EQ(path("http://h/%72"), "/r query=");
    EXPECT_EQ(only_body(parse("POST /%72 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "1\r\na\r\n2\r\n%7\r\n0\r\n\r\n")),
              "a%7");
}

TEST(RequestParser, TellsAnEncodedBody) {
    const auto is_encoded = [](const std::string& header) {
        std::string bytes = kPost + header + "Content-Length: 1\r\n\r\na";
        std::size_t size = bytes.size();
        RequestParser parser;
        EXPECT_EQ(parser.parse(bytes.data(), size), ParseState::complete);
        Request request;
        parser.fill(request, bytes.data());
        return request.body_is_encoded;
    };
    EXPECT_FALSE(is_encoded(""));
    EXPECT_FALSE(is_encoded("Content-Encoding: Identity\r\n"));
    EXPECT_TRUE(is_encoded("Content-Encoding: gzip\r\n"));
    EXPECT_TRUE(is_encoded("Content-Encoding: identity\r\ncontent-encoding: br\r\n"));
}

TEST(RequestParser, TakesWhatIsExactlyAtALimit) {
    const std::string target = "/" + std::string(kTargetMax - 1, 'a');
    EXPECT_TRUE(
        described("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("GET path"));

    const std::string fixed = "Host: a\r\nX: \r\n\r\n";
    const std::string headers = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    const std::string longest(kHeadersMax - fixed.size(), 'a');
    EXPECT_TRUE(described(headers + longest + "\r\n\r\n").starts_with("GET path"));
    EXPECT_EQ(described(headers + longest + "a\r\n\r\n"), "431");

    const std::string body(kBodyMax, 'b');
    EXPECT_EQ(only_body(parse(kPost + "Content-Length: 65536\r\n\r\n" + body)), body);
    EXPECT_EQ(only_body(parse(kChunked + "10000\r\n" + body + "\r\n0\r\n\r\n")), body);
}

TEST(RequestParser, JoinsChunksInPlace) {
    EXPECT_EQ(only_body(parse(kChunked + "0\r\n\r\n")), "");
    EXPECT_EQ(only_body(parse(kChunked + "1\r\na\r\n02\r\nbc\r\nA;x=\"y z\"\r\n0123456789\r\n"
                                         "000;last\r\nTrailer: ignored\r\nHost: b\r\n\r\n")),
              "abc0123456789");
    std::string body;
    std::string chunks;
    for (std::size_t i = 0; i < kBodyMax; ++i) {
        body.push_back(static_cast<char>('a' + i % 26));
        chunks.append("1\r\n").append(1, body.back()).append("\r\n");
    }
    EXPECT_EQ(only_body(feed(kChunked + chunks + "0\r\n\r\n", 1000)), body);
}

TEST(RequestParser, BoundsTheFramingOfChunks) {
    std::string chunks;
    const std::string extension = ";" + std::string(1000, 'x');
    for (std::size_t i = 0; i < 600; ++i) chunks.append("1" + extension + "\r\na\r\n");
    const Outcome outcome = feed(kChunked + chunks, 4096);
    EXPECT_EQ(outcome.status, 400);
    EXPECT_EQ(outcome.detail, "has too many chunks");
}

TEST(RequestParser, WaitsForContinueOnlyWhileNothingOfTheBodyIsHere) {
    const auto awaits = [](const std::string& text) {
        RequestParser parser;
        std::string data = text;
        std::size_t size = data.size();
        static_cast<void>(parser.parse(data.data(), size));
        return parser.awaits_continue();
    };
    const std::string expect = "Content-Length: 2\r\nExpect: 100-Continue\r\n\r\n";
    EXPECT_TRUE(awaits(kPost + expect));
    EXPECT_FALSE(awaits(kPost + expect + "a"));
    EXPECT_FALSE(awaits(kPost + "Content-Length: 2\r\n\r\n"));
    EXPECT_FALSE(awaits("POST /x HTTP/1.0\r\n" + expect));
}

} // namespace
} // namespace doorbuster::http
