#include "app/commands/http_client.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>
#include <thread>

#include "app/commands/fake_server.h"

namespace doorbuster {
namespace {

using boost::asio::ip::tcp;
using testing::FakeServer;

HttpClient client(const std::string& url,
                  std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
    HttpClientOptions options;
    options.url = url;
    options.admin_token = "t0ken";
    options.timeout = timeout;
    auto made = HttpClient::create(std::move(options));
    EXPECT_TRUE(made.has_value());
    return std::move(made).value();
}

tcp::acceptor listen(boost::asio::io_context& io) {
    return {io, {boost::asio::ip::address_v4::loopback(), 0}};
}
std::string url_of(const tcp::acceptor& acceptor) {
    return "http://127.0.0.1:" + std::to_string(acceptor.local_endpoint().port());
}

TEST(HttpClient, SendsOverOneConnectionWithTheAdminToken) {
    FakeServer server({{"GET /a", {200, "first"}}, {"POST /b?c=1", {409, "second"}}});
    {
        HttpClient http = client(server.url());
        const auto first = http.get("/a");
        ASSERT_TRUE(first.has_value()) << first.error().context;
        EXPECT_EQ(first->body, "first");
        const auto second = http.send("POST", "/b?c=1", "{}", {{"Idempotency-Key", "k"}});
        ASSERT_TRUE(second.has_value()) << second.error().context;
        EXPECT_EQ(second->status, 409U);
        EXPECT_EQ(second->content_type, "application/json");
    }
    const auto seen = server.seen();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen[0].authorization, "Bearer t0ken");
    EXPECT_EQ(seen[0].content_type, "");
    EXPECT_EQ(seen[1].content_type, "application/json");
    EXPECT_EQ(seen[1].idempotency_key, "k");
}

TEST(HttpClient, SaysHowToStartAServerWhereNoneAnswers) {
    std::string url;
    {
        boost::asio::io_context io;
        url = url_of(listen(io)); // closed again: nobody listens there
    }
    const auto reply = client(url).get("/");
    ASSERT_FALSE(reply.has_value());
    EXPECT_TRUE(reply.error().is(Errc::unavailable));
    EXPECT_EQ(reply.error().context, "no doorbuster answers at " + url +
                                         ": connection refused; start one with `doorbuster serve`");
}

TEST(HttpClient, GivesUpAtItsDeadline) {
    boost::asio::io_context io;
    const tcp::acceptor silent = listen(io); // the system accepts, and nobody ever answers
    const auto reply = client(url_of(silent), std::chrono::milliseconds(50)).get("/");
    ASSERT_FALSE(reply.has_value());
    EXPECT_TRUE(reply.error().is(Errc::timeout));
    EXPECT_EQ(reply.error().context, "no answer from " + url_of(silent) + " within 0.05 s");
}

TEST(HttpClient, SaysWhenTheServerHangsUpOrSpeaksSomethingElse) {
    FakeServer server({{"POST /a", {200, "", true}}});
    const auto closed = client(server.url()).send("POST", "/a", "");
    ASSERT_FALSE(closed.has_value());
    EXPECT_NE(closed.error().context.find("closed the connection"), std::string::npos);

    boost::asio::io_context io;
    tcp::acceptor acceptor = listen(io);
    std::thread other([&] {
        tcp::socket socket(io);
        acceptor.accept(socket);
        boost::asio::write(socket, boost::asio::buffer(std::string_view("220 mail ready\r\n\r\n")));
    });
    const auto odd = client(url_of(acceptor)).get("/");
    other.join();
    ASSERT_FALSE(odd.has_value());
    EXPECT_TRUE(odd.error().is(Errc::io)) << odd.error().message();
}

TEST(HttpClient, AsksAgainOnceWhenAKeptConnectionWasClosedMeanwhile) {
    boost::asio::io_context io;
    tcp::acceptor acceptor = listen(io);
    constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    std::thread server([&] {
        for (int i = 0; i < 2; ++i) {
            tcp::socket socket(io);
            acceptor.accept(socket);
            std::array<char, 4'096> request{};
            (void)socket.read_some(boost::asio::buffer(request));
            boost::asio::write(socket, boost::asio::buffer(kAnswer));
        }
    });
    HttpClient http = client(url_of(acceptor));
    EXPECT_TRUE(http.get("/").has_value());
    const auto again = http.get("/");
    server.join();
    ASSERT_TRUE(again.has_value()) << again.error().context;
    EXPECT_EQ(again->body, "ok");
}

TEST(HttpClient, EscapesAllButUnreservedCharacters) {
    EXPECT_EQ(url_escaped("aZ9-._~"), "aZ9-._~");
    EXPECT_EQ(url_escaped("a b/c?d&e=ü"), "a%20b%2Fc%3Fd%26e%3D%C3%BC");
}

} // namespace
} // namespace doorbuster
