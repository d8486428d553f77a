#include "app/load/url.h"

#include <gtest/gtest.h>

namespace doorbuster::load {
namespace {

TEST(Url, ReadsSchemeHostPortAndPrefix) {
    const auto plain = parse_url("http://127.0.0.1:8080");
    ASSERT_TRUE(plain);
    EXPECT_FALSE(plain->tls);
    EXPECT_EQ(plain->host, "127.0.0.1");
    EXPECT_EQ(plain->port, 8080);
    EXPECT_EQ(plain->prefix, "");
    EXPECT_EQ(plain->authority(), "127.0.0.1:8080");

    const auto shop = parse_url("https://shop.example/sales/");
    ASSERT_TRUE(shop);
    EXPECT_TRUE(shop->tls);
    EXPECT_EQ(shop->port, 443);
    EXPECT_EQ(shop->prefix, "/sales");
    EXPECT_EQ(shop->authority(), "shop.example");

    const auto six = parse_url("http://[::1]:81/");
    ASSERT_TRUE(six);
    EXPECT_EQ(six->host, "::1");
    EXPECT_EQ(six->prefix, "");
    EXPECT_EQ(six->authority(), "[::1]:81");
}

TEST(Url, RefusesWhatItCannotUse) {
    for (const char* text : {"", "127.0.0.1:8080", "ftp://a", "http://", "http://:80", "http://a:",
                             "http://a:0", "http://a:65536", "http://a:8x", "http://[::1",
                             "http://[::1]x", "http://u@a", "http://a\"b", "http://a%62",
                             "http://[::1 ]", "http://a/?x=1", "http://a b", "http://a\r\nX: y"}) {
        const auto url = parse_url(text);
        ASSERT_FALSE(url) << text;
        EXPECT_TRUE(url.error().is(Errc::invalid));
    }
}

} // namespace
} // namespace doorbuster::load
