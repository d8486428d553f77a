#include "adapters/http/identity.h"

#include <gtest/gtest.h>
#include <string>

namespace doorbuster::http {
namespace {

constexpr TimePoint kNow{};

// Knows one token.
class OneToken final : public TokenVerifier {
public:
    Result<std::string> verify(std::string_view token, TimePoint) override {
        if (token != "buyers") return fail(Errc::invalid, "not the token");
        return std::string("ann");
    }
};

Identity identity(const std::string& admin_token, bool reads_tokens) {
    Identity::Options options;
    options.admin_token = admin_token;
    if (reads_tokens) options.verifier = std::make_unique<OneToken>();
    return Identity(std::move(options));
}

int admin_status(Identity& who, const std::string& authorization) {
    Request request;
    request.authorization = authorization;
    const auto refused = who.refuse_admin(request, kNow);
    return refused ? refused->status : 200;
}

TEST(AdminToken, IsForbiddenToABuyerAndUnknownToAnybodyElse) {
    Identity who = identity("admins", true);
    EXPECT_EQ(admin_status(who, "Bearer admins"), 200);
    EXPECT_EQ(admin_status(who, "Bearer buyers"), 403);
    for (const char* nobody : {"", "Bearer", "Bearer ", "Bearer else", "Basic buyers", "buyers"}) {
        EXPECT_EQ(admin_status(who, nobody), 401) << nobody;
    }
}

TEST(AdminToken, IsAllThatCountsWhereBuyersHaveNoTokens) {
    Identity who = identity("admins", false);
    EXPECT_EQ(admin_status(who, "Bearer admins"), 200);
    EXPECT_EQ(admin_status(who, "Bearer buyers"), 401);
    EXPECT_EQ(admin_status(who, ""), 401);
}

int local_status(const std::string& host, const std::string& origin) {
    Identity who = identity("", false);
    Request request;
    request.peer = boost::asio::ip::address_v4::loopback();
    request.listener_is_loopback = true;
    request.host = host;
    request.origin = origin;
    const auto refused = who.refuse_admin(request, kNow);
    return refused ? refused->status : 200;
}

TEST(Loopback, IsNamedInAnyCase) {
    for (const char* host : {"localhost", "LOCALHOST", "LocalHost:8080", "127.0.0.1:1", "[::1]:80",
                             "127.9.9.9", "[::FFFF:127.0.0.1]"}) {
        EXPECT_EQ(local_status(host, ""), 200) << host;
        EXPECT_EQ(local_status(host, "http://" + std::string(host)), 200) << host;
    }
    EXPECT_EQ(local_status("LOCALHOST:1", "http://localhost:1"), 200);
    EXPECT_EQ(local_status("localhost:1", "http://LOCALHOST:1"), 200);
    for (const char* host : {"", "localhost.example", "LOCALHOSTS", "10.0.0.1", "example"}) {
        EXPECT_EQ(local_status(host, ""), 403) << host;
    }
    EXPECT_EQ(local_status("localhost:1", "http://localhost:2"), 403);
    EXPECT_EQ(local_status("localhost", "null"), 403);
}

} // namespace
} // namespace doorbuster::http
