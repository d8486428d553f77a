#include "adapters/webhook/endpoint_url.h"

#include <gtest/gtest.h>

namespace doorbuster::webhook {
namespace {

TEST(EndpointUrl, TakesUrlsApart) {
    const auto url = parse_endpoint_url("https://shop.example:8443/hook?a=b").value();
    EXPECT_EQ(url.scheme, EndpointUrl::Scheme::https);
    EXPECT_EQ(url.host, "shop.example");
    EXPECT_EQ(url.port, 8443);
    EXPECT_EQ(url.authority, "shop.example:8443");
    EXPECT_EQ(url.target, "/hook?a=b");
}

TEST(EndpointUrl, FillsInPortAndPath) {
    const auto plain = parse_endpoint_url("http://127.0.0.1").value();
    EXPECT_EQ(plain.scheme, EndpointUrl::Scheme::http);
    EXPECT_EQ(plain.port, 80);
    EXPECT_EQ(plain.target, "/");
    EXPECT_EQ(plain.authority, "127.0.0.1");
    EXPECT_EQ(parse_endpoint_url("https://a?b").value().target, "/?b");
    EXPECT_EQ(parse_endpoint_url("https://a/").value().port, 443);
}

TEST(EndpointUrl, TakesIpv6InBrackets) {
    const auto url = parse_endpoint_url("http://[::1]:81/x").value();
    EXPECT_EQ(url.host, "::1");
    EXPECT_EQ(url.port, 81);
    EXPECT_EQ(url.authority, "[::1]:81");
    EXPECT_EQ(parse_endpoint_url("http://[::1]").value().authority, "[::1]");
}

TEST(EndpointUrl, RefusesTheRestWithoutRepeatingIt) {
    for (const std::string_view text : {"",
                                        "hush",
                                        "ftp://hush/",
                                        "HTTP://hush/",
                                        "http://",
                                        "http:///hush",
                                        "http://:80/",
                                        "http://hush:0/",
                                        "http://hush:65536/",
                                        "http://hush:/",
                                        "http://hush:8x/",
                                        "http://hush@host/",
                                        "https://u:hush@host/",
                                        "http://[hush]/",
                                        "http://[::1/",
                                        "http://[::1]hush/",
                                        "http://[fe80::1%25eth0]/",
                                        "http://a..hush/",
                                        "http://.hush/",
                                        "http://hu sh/",
                                        "http://hush/\r\nx: y",
                                        "http://hush/#part",
                                        "http://hush\\@b/",
                                        "http://h\xc3\xbcsh/"}) {
        const auto url = parse_endpoint_url(text);
        ASSERT_FALSE(url.has_value()) << text;
        EXPECT_EQ(url.error().context.find("hush"), std::string::npos) << text;
        EXPECT_FALSE(url.error().context.empty());
    }
    EXPECT_FALSE(parse_endpoint_url("http://a/" + std::string(kUrlBytesMax, 'x')).has_value());
    EXPECT_FALSE(parse_endpoint_url("http://" + std::string(254, 'x')).has_value());
}

} // namespace
} // namespace doorbuster::webhook
