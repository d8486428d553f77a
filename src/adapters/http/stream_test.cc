// Answers whose body comes in parts, through a server.
#include <atomic>
#include <gtest/gtest.h>
#include <string>
#include <sys/socket.h>
#include <thread>

#include "adapters/http/server_fixture.h"

namespace doorbuster::http::fixture {
namespace {

TEST_F(HttpServer, SendsTheChunksOfAStreamAndKeepsTheConnection) {
    start();
    Client client(server_->port());
    for (int i = 0; i < 3; ++i) {
        client.send(get("/stream/short"));
        const Answer head = client.read();
        EXPECT_EQ(head.status, 200);
        EXPECT_TRUE(head.has("Transfer-Encoding: chunked"));
        EXPECT_TRUE(head.has("Content-Type: text/plain"));
        EXPECT_EQ(head.head.find("Content-Length"), std::string::npos);
        EXPECT_EQ(head.head.find("Connection"), std::string::npos);
        const std::string chunks = client.read_to("\r\n0\r\n\r\n");
        EXPECT_EQ(chunks, "5\r\nbegun\r\n2710\r\n" + std::string(10'000, 'b') + "\r\n2710\r\n" +
                              std::string(10'000, 'c') + "\r\n0\r\n\r\n");
    }
    client.send(get("/next"));
    EXPECT_EQ(client.read().body, "GET /next  127.0.0.1 loopback");
    EXPECT_EQ(open_streams(), 0);
    EXPECT_EQ(server_->counters().accepted, 1U);
}

TEST_F(HttpServer, EndsAStreamToAnOldClientWithTheConnection) {
    start();
    Client client(server_->port());
    client.send("GET /stream/short HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const Answer head = client.read();
    EXPECT_TRUE(head.has("Connection: close"));
    EXPECT_EQ(head.head.find("Transfer-Encoding"), std::string::npos);
    EXPECT_EQ(client.read_to("never"),
              "begun" + std::string(10'000, 'b') + std::string(10'000, 'c'));
    EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServer, AnswersHeadOfAStreamWithoutRunningIt) {
    start();
    Client client(server_->port());
    client.send("HEAD /stream/open HTTP/1.1\r\nHost: a\r\n\r\n" + get("/next"));
    const Answer head = client.read(true);
    EXPECT_EQ(head.status, 200);
    EXPECT_TRUE(head.has("Content-Type: text/plain"));
    EXPECT_EQ(head.head.find("Content-Length"), std::string::npos);
    EXPECT_EQ(client.read().body, "GET /next  127.0.0.1 loopback");
}

TEST_F(HttpServer, AnswersWhatWasPipelinedBehindAStream) {
    start();
    Client client(server_->port());
    client.send(get("/before") + get("/stream/short") + get("/behind") + post("/later", "much") +
                get("/stream/short").substr(0, 20));
    EXPECT_EQ(client.read().status, 200);
    EXPECT_EQ(client.read().status, 200);
    client.read_to("\r\n0\r\n\r\n");
    EXPECT_EQ(client.read().body, "GET /behind  127.0.0.1 loopback");
    EXPECT_EQ(client.read().body, "POST /later much 127.0.0.1 loopback");
    client.send(get("/stream/short").substr(20));
    EXPECT_EQ(client.read().status, 200);
    client.read_to("\r\n0\r\n\r\n");
}

TEST_F(HttpServer, AnswersWhatCameWhileAStreamWaited) {
    start();
    Client client(server_->port());
    client.send(get("/stream/open"));
    EXPECT_EQ(client.read().status, 200);
    EXPECT_EQ(client.read_to("\r\n"), "5\r\n");
    EXPECT_EQ(client.read_to("\r\n"), "begun\r\n");
    std::string behind;
    for (int i = 0; i < 1000; ++i) behind += post("/behind", std::to_string(i)); // 60 KB
    client.send(behind);
    std::thread drainer([&] { static_cast<void>(server_->drain(kPatience)); });
    EXPECT_EQ(client.read_to("\r\n\r\n"), "0\r\n\r\n");
    EXPECT_EQ(client.read().body, "POST /behind 0 127.0.0.1 loopback");
    client.close();
    drainer.join();
    EXPECT_TRUE(all_closed());
}

TEST_F(HttpServer, EndsTheStreamOfAClientThatHasFinishedSending) {
    start();
    Client client(server_->port());
    client.send(get("/stream/open") + get("/behind"));
    client.end();
    EXPECT_EQ(client.read().status, 200);
    client.read_to("begun\r\n0\r\n\r\n");
    EXPECT_EQ(client.read().body, "GET /behind  127.0.0.1 loopback");
    EXPECT_TRUE(client.is_closed());
    EXPECT_EQ(open_streams(), 0);
}

TEST_F(HttpServer, NoticesAtOnceThatTheClientOfAStreamIsGone) {
    start();
    {
        Client closes(server_->port());
        Client resets(server_->port());
        for (Client* client : {&closes, &resets}) {
            client->send(get("/stream/open"));
            EXPECT_EQ(client->read().status, 200);
            EXPECT_EQ(client->read_to("begun\r\n"), "5\r\nbegun\r\n");
        }
        EXPECT_EQ(open_streams(), 2);
        const linger reset = {1, 0};
        ::setsockopt(resets.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(stopped_streams(), 2);
    EXPECT_EQ(open_streams(), 0);
}

TEST_F(HttpServer, GivesUpOnAClientThatDoesNotReadItsStream) {
    options_.write_timeout = milliseconds(100);
    start();
    Client client(server_->port());
    client.send(get("/stream/flood"));
    ASSERT_TRUE(eventually([this] { return parts() > 0; }));
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(server_->counters().timed_out, 1U);
    EXPECT_EQ(open_streams(), 0);
    EXPECT_LT(parts(), 1000U); // it was not made faster than it was read
}

TEST_F(HttpServer, DoesNotTimeOutAStreamThatWaits) {
    options_.idle_timeout = options_.write_timeout = milliseconds(20);
    start();
    Client stream(server_->port());
    stream.send(get("/stream/open"));
    EXPECT_EQ(stream.read().status, 200);
    for (int i = 0; i < 5; ++i) { // so long
        Client idle(server_->port());
        idle.send(get("/"));
        EXPECT_EQ(idle.read().status, 200);
        EXPECT_TRUE(idle.is_closed());
    }
    EXPECT_EQ(open_streams(), 1);
    EXPECT_EQ(stopped_streams(), 0);
}

TEST_F(HttpServer, EndsStreamsAtOnceWhenItDrains) {
    start();
    Client stream(server_->port());
    Client old(server_->port());
    stream.send(get("/stream/open"));
    old.send("GET /stream/open HTTP/1.0\r\n\r\n");
    ASSERT_TRUE(eventually([this] { return open_streams() == 2; }));
    std::atomic<int> drained = -1;
    std::thread drainer([&] { drained = server_->drain(kPatience) ? 1 : 0; });
    EXPECT_EQ(stream.read().status, 200);
    EXPECT_EQ(stream.read_to("never"), "5\r\nbegun\r\n0\r\n\r\n");
    EXPECT_EQ(old.read().status, 200);
    EXPECT_EQ(old.read_to("never"), "begun");
    stream.close();
    old.close();
    drainer.join();
    EXPECT_EQ(drained, 1);
}

TEST_F(HttpServer, CutsOffStreamsThatNobodyReadsWhenItDrains) {
    start();
    Client client(server_->port());
    client.send(get("/stream/flood"));
    std::size_t made = 0; // until the client's and the server's buffers are full
    ASSERT_TRUE(eventually([&] {
        const std::size_t before = std::exchange(made, parts());
        for (int i = 0; i < 10'000; ++i) std::this_thread::yield();
        return made > 0 && made == before;
    }));
    EXPECT_FALSE(server_->drain(milliseconds(50)));
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(open_streams(), 0);
}

TEST_F(HttpServer, LosesNothingWhenItsCoresEndUnderStreams) {
    start();
    Client waits(server_->port());
    Client flood(server_->port());
    waits.send(get("/stream/open"));
    flood.send(get("/stream/flood"));
    ASSERT_TRUE(eventually([this] { return open_streams() == 2 && parts() > 0; }));
    stop();
}

} // namespace
} // namespace doorbuster::http::fixture
