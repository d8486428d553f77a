#include "adapters/http/server.h"

#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "adapters/http/server_fixture.h"

namespace doorbuster::http::fixture {
namespace {

TEST_F(HttpServer, AnswersOneRequestAfterTheOtherOnAConnection) {
    start();
    Client client(server_->port());
    for (const std::string path : {"/1", "/later", "/3"}) {
        client.send(post(path, "hello"));
        const Answer answer = client.read();
        EXPECT_EQ(answer.status, 200);
        EXPECT_EQ(answer.body, "POST " + path + " hello 127.0.0.1 loopback");
        EXPECT_TRUE(answer.has("Content-Type: text/plain"));
        EXPECT_FALSE(answer.has("Connection: close"));
        EXPECT_NE(answer.head.find("\r\nX-Request-Id: "), std::string::npos);
        EXPECT_NE(answer.head.find(" GMT\r\n"), std::string::npos);
    }
    EXPECT_EQ(server_->counters().accepted, 1U);
    EXPECT_EQ(server_->counters().open, 1U);
}

TEST_F(HttpServer, AnswersPipelinedRequestsInOrder) {
    start();
    Client client(server_->port());
    std::string bytes;
    for (int i = 0; i < 2000; ++i) {
        bytes += i % 3 == 0 ? post("/later", std::to_string(i)) : post("/now", std::to_string(i));
    }
    std::thread sender([&] { client.send(bytes); });
    for (int i = 0; i < 2000; ++i) {
        const Answer answer = client.read();
        const std::string path = i % 3 == 0 ? "/later " : "/now ";
        ASSERT_EQ(answer.body, "POST " + path + std::to_string(i) + " 127.0.0.1 loopback");
    }
    sender.join();
}

TEST_F(HttpServer, EchoesAUsableRequestIdAndMakesDistinctOnes) {
    start();
    Client client(server_->port());
    client.send(get("/", "X-Request-Id: mine-1\r\n") + get("/") + get("/"));
    EXPECT_TRUE(client.read().has("X-Request-Id: mine-1"));
    const auto id_of = [](const Answer& answer) {
        const std::size_t at = answer.head.find("X-Request-Id: ") + 14;
        return answer.head.substr(at, answer.head.find("\r\n", at) - at);
    };
    const std::string first = id_of(client.read());
    const std::string second = id_of(client.read());
    EXPECT_GE(first.size(), 8U);
    EXPECT_NE(first, second);
}

TEST_F(HttpServer, AnswersHeadWithTheLengthButWithoutTheBody) {
    start();
    Client client(server_->port());
    client.send("HEAD /big HTTP/1.1\r\nHost: a\r\n\r\n" + get("/next") + get("/none") +
                get("/last"));
    const Answer head = client.read(true);
    EXPECT_TRUE(head.has("Content-Length: 1048576"));
    EXPECT_EQ(client.read().body, "GET /next  127.0.0.1 loopback");
    const Answer none = client.read();
    EXPECT_EQ(none.status, 204);
    EXPECT_EQ(none.head.find("Content-Length"), std::string::npos);
    EXPECT_EQ(client.read().body, "GET /last  127.0.0.1 loopback");
}

TEST_F(HttpServer, SaysInBothVersionsWhetherTheConnectionStays) {
    start();
    Client old(server_->port());
    old.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    EXPECT_TRUE(old.read().has("Connection: keep-alive"));
    EXPECT_TRUE(old.read().has("Connection: close"));
    EXPECT_TRUE(old.is_closed());

    Client client(server_->port());
    client.send(get("/", "Connection: close\r\n") + get("/ignored"));
    EXPECT_TRUE(client.read().has("Connection: close"));
    EXPECT_TRUE(client.is_closed());

    Client odd(server_->port());
    odd.send(get("/odd"));
    const Answer answer = odd.read();
    EXPECT_EQ(answer.status, 599);
    EXPECT_TRUE(answer.has("X-Odd: yes"));
    EXPECT_TRUE(answer.has("Connection: close"));
    EXPECT_TRUE(odd.is_closed());
}

TEST_F(HttpServer, AsksForTheBodyOfAClientThatWaitsForIt) {
    start();
    Client client(server_->port());
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.read().status, 100);
    client.send("body");
    EXPECT_EQ(client.read().body, "POST /x body 127.0.0.1 loopback");

    client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
                "body");
    EXPECT_EQ(client.read().status, 200); // it was not asked for what it had sent
}

TEST_F(HttpServer, RefusesALargeBodyBeforeItIsSent) {
    start();
    Client client(server_->port());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n"
                "Expect: 100-continue\r\n\r\n");
    const Answer answer = client.read();
    EXPECT_EQ(answer.status, 413);
    EXPECT_TRUE(answer.has("Connection: close"));
    EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServer, LetsAClientThatSendsOnSeeWhyItWasRefused) {
    start();
    Client client(server_->port());
    client.send(post("/", std::string(200'000, 'x')));
    EXPECT_EQ(client.read().status, 413);
    EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServer, AnswersAProtocolErrorAfterTheRequestsInFrontOfIt) {
    start();
    Client client(server_->port());
    client.send(get("/1") + get("/later") + "nonsense\r\n\r\n" + get("/never"));
    EXPECT_EQ(client.read().status, 200);
    EXPECT_EQ(client.read().status, 200);
    const Answer answer = client.read();
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.body, "has a malformed method");
    EXPECT_TRUE(client.is_closed());
    EXPECT_EQ(server_->counters().protocol_errors, 1U);
}

TEST_F(HttpServer, ReadsChunkedBodies) {
    start();
    Client client(server_->port());
    client.send("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n" +
                get("/next"));
    EXPECT_EQ(client.read().body, "POST /c abcde 127.0.0.1 loopback");
    EXPECT_EQ(client.read().body, "GET /next  127.0.0.1 loopback");
}

TEST_F(HttpServer, AnswersAClientThatHasFinishedSending) {
    start();
    Client client(server_->port());
    client.send(get("/later") + get("/2"));
    client.end();
    EXPECT_EQ(client.read().status, 200);
    EXPECT_EQ(client.read().status, 200);
    EXPECT_TRUE(client.is_closed());

    Client half(server_->port());
    half.send("GET / HTTP/1.1\r\nHos");
    half.end();
    EXPECT_EQ(half.read().status, 400);
    EXPECT_TRUE(half.is_closed());
    EXPECT_TRUE(all_closed());
}

TEST_F(HttpServer, GivesUpOnClientsThatDoNotFinishARequest) {
    options_.header_timeout = milliseconds(1'000);
    options_.body_timeout = milliseconds(1'000);
    start();
    Client nothing(server_->port());
    Client header(server_->port());
    header.send("GET / HTTP/1.1\r\nX-Request-Id: mine-1\r\n");
    Client body(server_->port());
    body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    EXPECT_TRUE(nothing.is_closed());
    const Answer late = header.read();
    EXPECT_EQ(late.status, 408);
    EXPECT_TRUE(late.has("X-Request-Id: mine-1"));
    EXPECT_TRUE(header.is_closed());
    const Answer answer = body.read();
    EXPECT_EQ(answer.status, 408);
    EXPECT_EQ(answer.body, "The body took too long.");
    EXPECT_TRUE(body.is_closed());
    EXPECT_EQ(server_->counters().timed_out, 3U);
}

TEST_F(HttpServer, ClosesIdleConnectionsSilently) {
    options_.idle_timeout = milliseconds(50);
    start();
    Client client(server_->port());
    client.send(get("/"));
    EXPECT_EQ(client.read().status, 200);
    EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServer, GivesUpOnClientsThatDoNotReadTheirAnswers) {
    options_.write_timeout = milliseconds(100);
    start();
    Client client(server_->port());
    std::string bytes;
    for (int i = 0; i < 50; ++i) bytes += get("/big");
    client.send(bytes);
    EXPECT_TRUE(eventually([this] { return server_->counters().timed_out == 1; }));
    EXPECT_TRUE(all_closed());
}

TEST_F(HttpServer, SurvivesClientsThatLeaveBeforeTheirAnswer) {
    start();
    {
        Client client(server_->port());
        client.send(get("/held") + get("/big"));
        ASSERT_TRUE(eventually([this] { return held() == 1; }));
        const linger reset = {1, 0};
        ::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    release();
    EXPECT_TRUE(all_closed());
    Client next(server_->port());
    next.send(get("/"));
    EXPECT_EQ(next.read().status, 200);
}

TEST_F(HttpServer, RefusesConnectionsPastTheMaximumAndThenServesAgain) {
    options_.connections_max = 2;
    start();
    {
        Client first(server_->port());
        Client second(server_->port());
        first.send(get("/"));
        second.send(get("/"));
        EXPECT_EQ(first.read().status, 200);
        EXPECT_EQ(second.read().status, 200);
        Client third(server_->port());
        const Answer answer = third.read();
        EXPECT_EQ(answer.status, 503);
        EXPECT_TRUE(answer.has("Connection: close"));
        EXPECT_TRUE(third.is_closed());
        EXPECT_EQ(server_->counters().refused, 1U);
    }
    EXPECT_TRUE(all_closed());
    Client fourth(server_->port());
    fourth.send(get("/"));
    EXPECT_EQ(fourth.read().status, 200);
}

TEST_F(HttpServer, DrainsByAnsweringWhatIsInFlight) {
    start();
    std::vector<std::unique_ptr<Client>> idle; // enough for each core to have one
    for (int i = 0; i < 20; ++i) {
        idle.push_back(std::make_unique<Client>(server_->port()));
        idle.back()->send(get("/"));
        EXPECT_EQ(idle.back()->read().status, 200);
    }
    Client busy(server_->port());
    busy.send(get("/held"));
    ASSERT_TRUE(eventually([this] { return held() == 1; }));

    std::atomic<int> drained = -1;
    std::thread drainer([&] { drained = server_->drain(kPatience) ? 1 : 0; });
    for (const auto& each : idle) EXPECT_TRUE(each->is_closed());
    EXPECT_EQ(drained, -1);
    release();
    const Answer answer = busy.read();
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.has("Connection: close"));
    EXPECT_TRUE(busy.is_closed());
    busy.close();
    drainer.join();
    EXPECT_EQ(drained, 1);
    EXPECT_FALSE(Client(server_->port()).connected());
}

TEST_F(HttpServer, CutsOffWhatADrainCannotWaitFor) {
    start();
    Client busy(server_->port());
    busy.send(get("/held"));
    ASSERT_TRUE(eventually([this] { return held() == 1; }));
    Client slow(server_->port());
    slow.send("GET / HT");
    EXPECT_FALSE(server_->drain(milliseconds(100)));
    EXPECT_EQ(busy.read().status, 0);
    EXPECT_EQ(server_->counters().open, 1U); // its handler has not answered
    stop();                                  // nor ever will: nothing may leak or crash
}

TEST_F(HttpServer, SaysThatAPortIsTaken) {
    start();
    Cores others(kCores);
    ServerOptions options;
    options.port = server_->port();
    const auto second = Server::open(
        others, options, [this](std::size_t core) -> Handler& { return *handlers_[core]; });
    ASSERT_FALSE(second);
    EXPECT_TRUE(second.error().is(Errc::unavailable));
    EXPECT_NE(second.error().message().find("port " + std::to_string(server_->port()) +
                                            " on 127.0.0.1 is taken"),
              std::string::npos)
        << second.error().message();
}

TEST_F(HttpServer, ListensOnIpv6) {
    options_.host = "::1";
    const int probe = ::socket(AF_INET6, SOCK_STREAM, 0);
    sockaddr_in6 loopback = {};
    loopback.sin6_family = AF_INET6;
    loopback.sin6_addr = in6addr_loopback;
    const bool has_ipv6 =
        probe >= 0 && ::bind(probe, reinterpret_cast<sockaddr*>(&loopback), sizeof(loopback)) == 0;
    if (probe >= 0) ::close(probe);
    if (!has_ipv6) GTEST_SKIP() << "this machine has no IPv6";
    start();
    EXPECT_TRUE(server_->is_loopback());
    Client client(server_->port(), AF_INET6);
    client.send(get("/"));
    EXPECT_EQ(client.read().body, "GET /  ::1 loopback");
}

TEST_F(HttpServer, ListensOnEveryAddressAndSeesPlainIpv4Peers) {
    options_.host = "0.0.0.0";
    start();
    EXPECT_FALSE(server_->is_loopback());
    Client client(server_->port());
    client.send(get("/"));
    EXPECT_EQ(client.read().body, "GET /  127.0.0.1");
}

TEST_F(HttpServer, RefusesAHostThatIsNone) {
    options_.host = "not a host";
    const auto opened = Server::open(
        cores_, options_, [this](std::size_t core) -> Handler& { return *handlers_[core]; });
    ASSERT_FALSE(opened);
    EXPECT_TRUE(opened.error().is(Errc::invalid));
}

} // namespace
} // namespace doorbuster::http::fixture
