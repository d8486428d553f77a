#include "adapters/http/pages.h"

#include <array>
#include <gtest/gtest.h>
#include <string>

namespace doorbuster::http {
namespace {

constexpr std::array<WebFile, 3> kFiles = {{
    {"/", "text/html; charset=utf-8", "aaaa", "<p>console</p>", "GZ", "BR"},
    {"/shop/", "text/html; charset=utf-8", "bbbb", "<p>shop</p>", "GZ", {}},
    {"/assets/app-1234.js", "text/javascript; charset=utf-8", "cccc", "run()", {}, {}},
}};

Request request(std::string_view path, std::string_view accept = {}, std::string_view tag = {}) {
    Request request;
    request.method = Method::get;
    request.path = path;
    request.accept_encoding = accept;
    request.if_none_match = tag;
    return request;
}

bool has(const Response& response, const std::string& line) {
    return ("\r\n" + response.headers).find("\r\n" + line + "\r\n") != std::string::npos;
}

TEST(Pages, SendTheShortestFormThatTheBrowserTakes) {
    const Pages pages(kFiles);
    const Response br = pages.page(request("/", "gzip, deflate, br, zstd"), "/");
    EXPECT_EQ(br.content(), "BR");
    EXPECT_TRUE(has(br, "Content-Encoding: br"));
    EXPECT_TRUE(has(br, "Vary: Accept-Encoding"));
    EXPECT_EQ(pages.page(request("/", "gzip"), "/").content(), "GZ");
    EXPECT_EQ(pages.page(request("/shop/demo", "br, gzip"), "/shop/").content(), "GZ");
    const Response plain = pages.page(request("/", "gzip;q=0, br;q=0.000"), "/");
    EXPECT_EQ(plain.content(), "<p>console</p>");
    EXPECT_EQ(plain.headers.find("Content-Encoding"), std::string::npos);
    EXPECT_EQ(pages.page(request("/"), "/").content(), "<p>console</p>");
}

TEST(Pages, AreAskedForAgainAndTheirAssetsNever) {
    const Pages pages(kFiles);
    EXPECT_TRUE(has(pages.page(request("/"), "/"), "Cache-Control: no-cache"));
    const auto asset = pages.asset(request("/assets/app-1234.js", "br"));
    ASSERT_TRUE(asset);
    EXPECT_EQ(asset->content(), "run()");
    EXPECT_TRUE(has(*asset, "Cache-Control: public, max-age=31536000, immutable"));
    EXPECT_FALSE(pages.asset(request("/assets/app-9999.js")));
}

TEST(Pages, AreNotSentToABrowserThatHasThem) {
    const Pages pages(kFiles);
    for (const char* tag : {"W/\"aaaa\"", "\"aaaa\"", "\"zzzz\", W/\"aaaa\"", "*"}) {
        const Response same = pages.page(request("/", "br", tag), "/");
        EXPECT_EQ(same.status, 304) << tag;
        EXPECT_TRUE(same.content().empty());
        EXPECT_TRUE(has(same, "ETag: W/\"aaaa\""));
    }
    for (const char* tag : {"", "\"bbbb\"", "aaaa", "\"aaaa"}) {
        EXPECT_EQ(pages.page(request("/", "br", tag), "/").status, 200) << tag;
    }
}

TEST(Pages, ForbidScriptsAndStylesThatAreNotTheirOwnFiles) {
    const Response page = Pages(kFiles).page(request("/"), "/");
    const std::string& headers = page.headers;
    EXPECT_NE(headers.find("default-src 'none'; script-src 'self'; style-src 'self'"),
              std::string::npos);
    EXPECT_NE(headers.find("frame-ancestors 'none'"), std::string::npos);
    EXPECT_EQ(headers.find("unsafe"), std::string::npos);
    EXPECT_TRUE(has(page, "X-Content-Type-Options: nosniff"));
}

TEST(Pages, SayThatTheyWereNotBuilt) {
    const Response none = Pages({}).page(request("/"), "/");
    EXPECT_EQ(none.status, 200); // a page, if not the one; an error would have to be a problem
    EXPECT_NE(none.content().find("were not built"), std::string::npos);
}

TEST(Pages, ReadAcceptEncodingAsItIsWritten) {
    EXPECT_TRUE(accepts_coding("gzip", "gzip"));
    EXPECT_TRUE(accepts_coding("br;q=1.0, GZIP ; q=0.8", "gzip"));
    EXPECT_FALSE(accepts_coding("gzipped, x-gzip", "gzip"));
    EXPECT_FALSE(accepts_coding("gzip; q=0", "gzip"));
    EXPECT_FALSE(accepts_coding("*", "gzip"));
    EXPECT_FALSE(accepts_coding("", "gzip"));
}

} // namespace
} // namespace doorbuster::http
