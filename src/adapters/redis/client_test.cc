#include "adapters/redis/client.h"

#include <boost/asio/ip/tcp.hpp>
#include <gmock/gmock.h>
#include <mutex>

#include "adapters/redis/redis_fixture.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Task<int> count_wrong_replies(Client& client, int from, int to) {
    int wrong = 0;
    for (int i = from; i < to; ++i) {
        const std::string word = std::to_string(i);
        const std::array<std::string_view, 2> echo = {"ECHO", word};
        const auto reply = co_await client.call(echo, "", Duration(20'000));
        if (!reply || reply->text != word) ++wrong;
    }
    co_return wrong;
}

TEST(RedisClient, AnswersThousandsOfPipelinedCallsEachWithItsOwnReply) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    RunningClient client(server.url());
    ASSERT_TRUE(client.comes_up());
    constexpr int kLines = 500;
    constexpr int kCalls = 40;
    std::vector<std::future<int>> lines;
    for (int line = 0; line < kLines; ++line) {
        lines.push_back(start_on(client.core(),
                                 count_wrong_replies(*client, line * kCalls, (line + 1) * kCalls)));
    }
    int wrong = 0;
    for (auto& line : lines) wrong += finish(line);
    EXPECT_EQ(wrong, 0);
    EXPECT_THAT(server.ask({"CLIENT", "LIST"}), HasSubstr("cmd=echo"));
}

TEST(RedisClient, TalksToTheServerOfTheEnvironment) {
    const std::string url = from_environment("DOORBUSTER_TEST_REDIS");
    DB_NEED(!url.empty(), "DOORBUSTER_TEST_REDIS");
    RunningClient client(url);
    ASSERT_TRUE(client.comes_up()) << client.state();
    EXPECT_EQ(client.state(), "up");
    EXPECT_EQ(client.ask({"ECHO", "ho"}), "ho");
}

TEST(RedisClient, CarriesValuesOfAnyBytesAndSize) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    RunningClient client(server.url());
    ASSERT_TRUE(client.comes_up());
    std::string value(3'000'000, '\0');
    for (std::size_t i = 0; i < value.size(); ++i) value[i] = static_cast<char>(i * 7);
    EXPECT_EQ(client.ask({"SET", "k", value}), "OK");
    EXPECT_EQ(client.ask({"GET", "k"}), value);
    EXPECT_EQ(client.ask({"GET", "none"}), "(nil)");
    EXPECT_THAT(client.ask({"INCR", "k"}), StartsWith("ERR value is not an integer"));
    EXPECT_EQ(client.ask({"MGET", "none", "none"}), "[(nil) (nil)]");
}

TEST(RedisClient, RefusesMoreInFlightThanItsBoundAndSendsNoneOfThem) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    auto options = options_for(server.url());
    options.in_flight_max = 10;
    RunningClient client(options);
    ASSERT_TRUE(client.comes_up());
    server.freeze();
    std::vector<std::future<Result<Reply>>> calls;
    for (int i = 0; i < 15; ++i) calls.push_back(client.start({"INCR", "n"}, "n", kPatience));
    for (std::size_t i = 10; i < calls.size(); ++i) {
        const auto refused = finish(calls[i]);
        ASSERT_FALSE(refused);
        EXPECT_TRUE(refused.error().is(Errc::unavailable));
    }
    server.thaw();
    for (std::size_t i = 0; i < 10; ++i) EXPECT_TRUE(finish(calls[i]));
    EXPECT_EQ(client.ask({"GET", "n"}), "10");
}

TEST(RedisClient, EndsACallAtItsDeadlineThoughTheServerIsSilent) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    RunningClient client(server.url());
    ASSERT_TRUE(client.comes_up());
    server.freeze();
    const auto began = std::chrono::steady_clock::now();
    auto call = client.start({"SET", "k", "v"}, "k", Duration(30));
    const auto reply = finish(call);
    EXPECT_GE(std::chrono::steady_clock::now() - began, Duration(30));
    ASSERT_FALSE(reply);
    EXPECT_TRUE(reply.error().is(Errc::timeout)) << "it was sent: nobody knows";
    server.thaw();
    // The late OK is nobody's: the next call gets its own reply, on the same connection.
    EXPECT_EQ(client.ask({"GET", "k"}), "v");
    EXPECT_EQ(client.ask({"ECHO", "still here"}), "still here");
}

TEST(RedisClient, GivesASilentServerUpAndComesBackWhenItSpeaks) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    std::mutex mutex;
    std::string told;
    auto options = options_for(server.url());
    options.silence_max = Duration(50);
    options.tell = [&](const std::string& text) {
        const std::scoped_lock lock(mutex);
        told += text + "\n";
    };
    RunningClient client(options);
    ASSERT_TRUE(client.comes_up());
    const std::string before = client.ask({"CLIENT", "ID"});
    server.freeze();
    auto hasty = client.start({"INCR", "n"}, "n", Duration(20));
    auto patient = client.start({"INCR", "n"}, "n", kPatience);
    EXPECT_FALSE(finish(hasty));
    const auto lost = finish(patient);
    ASSERT_FALSE(lost) << "the connection was dropped under it";
    EXPECT_TRUE(lost.error().is(Errc::timeout));
    EXPECT_THAT(client.state(), HasSubstr("no answer for too long"));
    server.thaw();
    ASSERT_TRUE(client.comes_up());
    EXPECT_NE(client.ask({"CLIENT", "ID"}), before) << "a new connection";
    const std::scoped_lock lock(mutex);
    EXPECT_THAT(told, HasSubstr("no answer for too long; trying again"));
    EXPECT_THAT(told, HasSubstr("is back"));
}

TEST(RedisClient, ComesBackAfterTheServerWasKilled) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    RunningClient client(server.url());
    ASSERT_TRUE(client.comes_up());
    server.freeze(); // so that the calls are in flight when it dies
    std::vector<std::future<Result<Reply>>> calls;
    for (int i = 0; i < 100; ++i) calls.push_back(client.start({"INCR", "n"}, "n", kPatience));
    // Frozen servers still take bytes: the calls are sent before the next one asks for the state.
    EXPECT_EQ(client.state(), "up");
    server.kill();
    int unknown = 0;
    for (auto& call : calls) {
        const auto reply = finish(call);
        ASSERT_FALSE(reply);
        if (reply.error().is(Errc::timeout)) ++unknown;
    }
    EXPECT_GT(unknown, 0);
    EXPECT_TRUE(soon([&] { return client.state().find("refused") != std::string::npos; }));
    EXPECT_THAT(client.ask({"GET", "n"}), StartsWith("! "));
    server.start();
    ASSERT_TRUE(client.comes_up());
    EXPECT_EQ(client.ask({"GET", "n"}), "(nil)");
}

TEST(RedisClient, SaysAtOnceThatNobodyIsThere) {
    const std::string port = std::to_string(free_port());
    RunningClient client("redis://127.0.0.1:" + port);
    const auto reply = client.start({"PING"}, "", kPatience).get();
    ASSERT_FALSE(reply);
    EXPECT_TRUE(reply.error().is(Errc::unavailable));
    EXPECT_THAT(client.state(), HasSubstr("127.0.0.1:" + port + ": connection refused"));
}

// Takes connections and says nothing, or what it is told to.
class Mute {
public:
    explicit Mute(std::string answer = {})
        : acceptor_(context_, {boost::asio::ip::address_v4::loopback(), 0}),
          answer_(std::move(answer)),
          thread_([this] {
              accept();
              context_.run();
          }) {}
    ~Mute() {
        context_.stop();
        thread_.join();
    }
    [[nodiscard]] std::string url() const {
        return "redis://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
    }

private:
    void accept() {
        acceptor_.async_accept([this](boost::system::error_code ec, auto socket) {
            if (ec) return;
            boost::asio::write(socket, boost::asio::buffer(answer_), ec);
            kept_.push_back(std::move(socket));
            accept();
        });
    }
    boost::asio::io_context context_;
    boost::asio::ip::tcp::acceptor acceptor_;
    std::string answer_;
    std::vector<boost::asio::ip::tcp::socket> kept_;
    std::thread thread_;
};

TEST(RedisClient, DoesNotWaitForAServerThatNeverGreets) {
    Mute mute;
    auto options = options_for(mute.url());
    options.connect_wait_max = Duration(50);
    RunningClient client(options);
    const auto reply = client.start({"PING"}, "", kPatience).get();
    ASSERT_FALSE(reply);
    EXPECT_TRUE(reply.error().is(Errc::unavailable));
    EXPECT_TRUE(soon([&] { return client.state().find("timed out") != std::string::npos; }));
}

TEST(RedisClient, SaysThatTheServerIsNoRedis) {
    Mute web("HTTP/1.1 400 Bad Request\r\n\r\n");
    RunningClient client(web.url());
    EXPECT_TRUE(soon([&] {
        return client.state().find("not the Redis protocol") != std::string::npos;
    })) << client.state();
}

TEST(RedisClient, RunsAScriptWhoseTextTheServerHasForgotten) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    RunningClient client(server.url());
    ASSERT_TRUE(client.comes_up());
    const Script script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}");
    EXPECT_EQ(client.run(script, {"k"}, {"a"}), "[k a 1]");
    EXPECT_EQ(client.run(script, {"k"}, {"b"}), "[k b 2]");
    EXPECT_EQ(server.ask({"SCRIPT", "FLUSH"}), "OK");
    EXPECT_EQ(client.run(script, {"k"}, {"c"}), "[k c 3]");
    EXPECT_EQ(server.ask({"SCRIPT", "EXISTS", std::string(script.sha1())}), "1");
    const Script broken("return redis.call('NOSUCH')");
    EXPECT_THAT(client.run(broken, {"k"}, {}), HasSubstr("Unknown Redis command"));
}

TEST(RedisClient, LogsInAndSelectsTheDatabase) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server(
        {"--requirepass", "p@ss word", "--user", "shop", "on", ">s3cret", "~*", "&*", "+@all"});
    RunningClient as_default("redis://:p%40ss%20word@" + server.host_port() + "/2");
    ASSERT_TRUE(as_default.comes_up()) << as_default.state();
    EXPECT_EQ(as_default.ask({"ACL", "WHOAMI"}), "default");
    EXPECT_EQ(as_default.ask({"SET", "k", "two"}), "OK");
    RunningClient as_shop("redis://shop:s3cret@" + server.host_port());
    ASSERT_TRUE(as_shop.comes_up()) << as_shop.state();
    EXPECT_EQ(as_shop.ask({"ACL", "WHOAMI"}), "shop");
    EXPECT_EQ(as_shop.ask({"GET", "k"}), "(nil)");
    RunningClient wrong("redis://shop:wr0ng@" + server.host_port());
    EXPECT_TRUE(soon([&] { return wrong.state().find("WRONGPASS") != std::string::npos; }));
    EXPECT_THAT(wrong.state(), Not(HasSubstr("wr0ng")));
    RunningClient none(server.url());
    EXPECT_TRUE(
        soon([&] { return none.state().find("Redis wants a login") != std::string::npos; }));
    RunningClient no_database("redis://shop:s3cret@" + server.host_port() + "/99");
    EXPECT_TRUE(soon([&] { return no_database.state().find("database 99") != std::string::npos; }));
}

TEST(RedisClient, TalksOverAUnixSocket) {
    DB_NEED(has_redis_server(), "redis-server");
    Folder folder;
    const std::string path = folder / "redis.sock";
    Server server({"--unixsocket", path});
    RunningClient client("unix://" + path + "?db=1");
    ASSERT_TRUE(client.comes_up()) << client.state();
    EXPECT_EQ(client.ask({"SET", "k", "v"}), "OK");
    EXPECT_EQ(server.ask({"DBSIZE"}), "0") << "it went to database 1";
}

TEST(RedisClient, RefusesAServerThatEvicts) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server({"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"});
    RunningClient client(server.url());
    EXPECT_TRUE(soon([&] {
        return client.state().find("maxmemory-policy allkeys-lru") != std::string::npos;
    })) << client.state();
    EXPECT_THAT(client.ask({"SET", "k", "v"}), StartsWith("! "));
    auto relaxed = options_for(server.url());
    relaxed.needs_noeviction = false;
    RunningClient limiter(relaxed);
    EXPECT_TRUE(limiter.comes_up());
    EXPECT_EQ(server.ask({"CONFIG", "SET", "maxmemory-policy", "noeviction"}), "OK");
    EXPECT_TRUE(client.comes_up()) << "mended without a restart";
}

TEST(RedisClient, WarnsWhenItMayNotLook) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server({"--user", "shop", "on", ">s", "~*", "&*", "+@all", "-info", "-config"});
    std::mutex mutex;
    std::string told;
    auto options = options_for("redis://shop:s@" + server.host_port());
    options.tell = [&](const std::string& text) {
        const std::scoped_lock lock(mutex);
        told += text + "\n";
    };
    RunningClient client(options);
    ASSERT_TRUE(client.comes_up()) << client.state();
    const std::scoped_lock lock(mutex);
    EXPECT_THAT(told, HasSubstr("does not let this user call INFO"));
}

TEST(RedisClient, RefusesAReplicaAndTakesItOncePromoted) {
    DB_NEED(has_redis_server(), "redis-server");
    Server primary;
    Server replica({"--replicaof", "127.0.0.1 " + std::to_string(primary.port())});
    RunningClient client(replica.url());
    EXPECT_TRUE(soon([&] { return client.state().find("is a replica") != std::string::npos; }));
    EXPECT_EQ(replica.ask({"REPLICAOF", "NO", "ONE"}), "OK");
    ASSERT_TRUE(client.comes_up()) << client.state();
    EXPECT_EQ(client.ask({"SET", "k", "v"}), "OK");
    // Demoted under a connection that stays: the write says so, and no more are sent there.
    EXPECT_EQ(replica.ask({"REPLICAOF", "127.0.0.1", std::to_string(primary.port())}), "OK");
    const Script script("return redis.call('SET', KEYS[1], ARGV[1])");
    EXPECT_TRUE(soon(
        [&] { return client.run(script, {"k"}, {"w"}).find("READONLY") != std::string::npos; }));
    EXPECT_TRUE(soon([&] { return client.state().find("is a replica") != std::string::npos; }));
}

bool run_openssl(const std::string& arguments) {
    return std::system(("openssl " + arguments + " >/dev/null 2>&1").c_str()) == 0;
}

TEST(RedisClient, ChecksTheServersCertificate) {
    DB_NEED(has_redis_server(), "redis-server");
    Folder folder;
    const std::string key = folder / "key.pem";
    const std::string cert = folder / "cert.pem";
    const std::string other_key = folder / "other_key.pem";
    const std::string other_cert = folder / "other_cert.pem";
    const std::string make =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 ";
    DB_NEED(
        run_openssl(make + "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout " +
                    key + " -out " + cert) &&
            run_openssl(make + "-subj /CN=localhost -keyout " + other_key + " -out " + other_cert),
        "openssl");
    const std::string port = std::to_string(free_port());
    Server server({"--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key,
                   "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"});
    auto options = options_for("rediss://localhost:" + port);
    options.tls_ca = cert;
    RunningClient trusting(options);
    ASSERT_TRUE(trusting.comes_up()) << trusting.state();
    EXPECT_EQ(trusting.ask({"ECHO", std::string(200'000, 'x')}), std::string(200'000, 'x'));
    std::vector<std::future<int>> lines;
    for (int i = 0; i < 50; ++i) {
        lines.push_back(
            start_on(trusting.core(), count_wrong_replies(*trusting, i * 100, i * 100 + 100)));
    }
    for (auto& line : lines) EXPECT_EQ(finish(line), 0);

    const auto complains = [](RunningClient& client) {
        return soon([&] { return client.state().find("TLS certificate:") != std::string::npos; });
    };
    options.tls_ca = other_cert;
    RunningClient doubting(options);
    EXPECT_TRUE(complains(doubting)) << doubting.state();
    auto by_address = options_for("rediss://127.0.0.1:" + port);
    by_address.tls_ca = cert;
    RunningClient elsewhere(by_address); // the certificate is localhost's
    EXPECT_TRUE(complains(elsewhere)) << elsewhere.state();
    RunningClient by_system("rediss://localhost:" + port);
    EXPECT_TRUE(complains(by_system)) << by_system.state();
    options.tls_ca = folder / "none.pem";
    RunningCores cores(1);
    EXPECT_FALSE(Client::open(cores.at(0), options));
}

TEST(RedisClient, EndsEveryCallWhenItIsClosed) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    RunningClient client(server.url());
    ASSERT_TRUE(client.comes_up());
    server.freeze();
    auto call = client.start({"PING"}, "", kPatience);
    client->close();
    const auto reply = finish(call);
    EXPECT_FALSE(reply);
    EXPECT_EQ(client.ask({"PING"}).substr(0, 2), "! ");
    EXPECT_EQ(client.state(), "closed");
}

TEST(RedisClient, MayGoAwayWithCallsInFlight) {
    DB_NEED(has_redis_server(), "redis-server");
    Server server;
    std::vector<std::future<Result<Reply>>> calls;
    {
        RunningClient client(server.url());
        ASSERT_TRUE(client.comes_up());
        server.freeze();
        for (int i = 0; i < 10; ++i) calls.push_back(client.start({"PING"}, "", kPatience));
    }
    for (auto& call : calls) EXPECT_THROW(call.get(), std::future_error) << "dropped, not called";
}

} // namespace
} // namespace doorbuster::redis
