// For tests: Redis servers of our own, which a test may stop, kill and break, and the shared ones
// that the environment names. A test that has none skips, but fails where CI=true.
#pragma once

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <memory>
#include <netinet/in.h>
#include <random>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "adapters/redis/client.h"
#include "runtime/task_fixture.h"

namespace doorbuster::redis::fixture {

using namespace doorbuster::fixture;

inline bool is_ci() {
    const char* const ci = std::getenv("CI");
    return ci != nullptr && std::string_view(ci) == "true";
}

// True: the test goes on. Else it has been skipped, or has failed.
#define DB_NEED(condition, what)                                                                   \
    do {                                                                                           \
        if (condition) break;                                                                      \
        if (::doorbuster::redis::fixture::is_ci()) FAIL() << (what) << " is missing";              \
        GTEST_SKIP() << (what) << " is missing";                                                   \
    } while (false)

inline std::string from_environment(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

inline bool has_redis_server() {
    static const bool has = std::system("command -v redis-server >/dev/null 2>&1") == 0;
    return has;
}

// A port of 127.0.0.1 that stays this process's until it ends, whether a server listens on it or
// not: of two tests that run at the same time, neither gets the other's. Below the range of
// outgoing connections, and beside the ranges of tests/harness and tools/engines.
inline std::uint16_t free_port() {
    constexpr int kLowest = 10'000;
    constexpr int kCount = 8'000;
    std::random_device random;
    for (int tries = 0; tries < 1'000; ++tries) {
        const auto port = static_cast<std::uint16_t>(kLowest + random() % kCount);
        // The lock: a name among Linux's abstract sockets, which ends with its process.
        const int lock = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        const std::string text = "doorbuster-test-port-" + std::to_string(port);
        text.copy(&name.sun_path[1], text.size());
        const bool is_ours = ::bind(lock, reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0;
        const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(port);
        const bool is_free =
            is_ours && ::bind(probe, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
        ::close(probe);
        if (is_free) return port; // and the lock stays open
        ::close(lock);
    }
    ADD_FAILURE() << "no port is free";
    return 0;
}

class Folder {
public:
    Folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "db-redis-XXXXXX").string();
        path_ = ::mkdtemp(pattern.data());
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string operator/(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

// As eventually(), for what another process does: asking it all the time would only slow it down.
template <class F> bool soon(F condition) {
    return eventually([&] {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(2)); // poll: another process
        return false;
    });
}

using Words = std::vector<std::string>;

// A redis-server without persistence on a port of its own. It ends with the test.
class Server {
public:
    explicit Server(Words extra = {}) : port_(free_port()), extra_(std::move(extra)) { start(); }
    ~Server() { kill(); }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    void start() {
        Words words{"redis-server",
                    "--port",
                    std::to_string(port_),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--dir",
                    folder_ / "",
                    "--daemonize",
                    "no",
                    "--logfile",
                    folder_ / "log"};
        words.insert(words.end(), extra_.begin(), extra_.end());
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::execvp("redis-server", argv.data());
            ::_exit(127);
        }
    }
    void kill() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = 0;
    }
    void freeze() const { ::kill(pid_, SIGSTOP); }
    void thaw() const { ::kill(pid_, SIGCONT); }

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] std::string host_port() const { return "127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] std::string url() const { return "redis://" + host_port(); }
    [[nodiscard]] std::string file(const std::string& name) const { return folder_ / name; }

    // Over a connection of its own, as redis-cli would: the reply as text, an array's items with
    // blanks between them. Waits for a server that is just starting.
    [[nodiscard]] std::string ask(const Words& words) const {
        std::string out = "no connection";
        const bool done = soon([&] {
            const std::unique_ptr<redisContext, void (*)(redisContext*)> context(
                redisConnect("127.0.0.1", port_), redisFree);
            if (context == nullptr || context->err != 0) return false;
            std::vector<const char*> argv;
            std::vector<std::size_t> sizes;
            for (const std::string& word : words) {
                argv.push_back(word.data());
                sizes.push_back(word.size());
            }
            auto* const reply = static_cast<redisReply*>(redisCommandArgv(
                context.get(), static_cast<int>(argv.size()), argv.data(), sizes.data()));
            if (reply == nullptr) return false;
            out = text_of(*reply);
            freeReplyObject(reply);
            return true;
        });
        return done ? out : "no answer";
    }

private:
    static std::string text_of(const redisReply& reply) {
        if (reply.type == REDIS_REPLY_INTEGER) return std::to_string(reply.integer);
        if (reply.type == REDIS_REPLY_NIL) return "nil";
        if (reply.type != REDIS_REPLY_ARRAY) return {reply.str, reply.len};
        std::string out;
        for (std::size_t i = 0; i < reply.elements; ++i) {
            if (i > 0) out += ' ';
            out += text_of(*reply.element[i]);
        }
        return out;
    }

    Folder folder_;
    std::uint16_t port_;
    Words extra_;
    pid_t pid_ = 0;
};

inline ClientOptions options_for(const std::string& url) {
    auto options = read_options(url, {});
    EXPECT_TRUE(options) << (options ? "" : options.error().context);
    options->connect_wait_max = Duration(20'000); // a busy machine is not what is tested
    options->silence_max = Duration(20'000);
    return *options;
}

// A client on a core that runs; everything is called from the test's thread.
class RunningClient {
public:
    explicit RunningClient(ClientOptions options) {
        auto opened = Client::open(cores_.at(0), std::move(options));
        EXPECT_TRUE(opened) << (opened ? "" : opened.error().context);
        client_ = std::move(*opened);
        client_->start();
    }
    explicit RunningClient(const std::string& url) : RunningClient(options_for(url)) {}
    ~RunningClient() {
        cores_.stop();
        client_.reset();
    }
    RunningClient(const RunningClient&) = delete;
    RunningClient& operator=(const RunningClient&) = delete;

    Client* operator->() { return client_.get(); }
    Client& operator*() { return *client_; }
    Core& core() { return cores_.at(0); }

    bool comes_up() { return run_on(core(), client_->wait_until_up(Duration(40'000))); }
    // In words, for what a test compares: "OK", "(nil)", "7", "ERR …", "[a b]", "! …" of an Error.
    std::string ask(const Words& words, const std::string& key = {},
                    Duration wait_max = Duration(20'000)) {
        return in_words(run_on(core(), call(words, key, wait_max)));
    }
    std::string run(const Script& script, const Words& keys, const Words& arguments) {
        return in_words(run_on(core(), run_script(script, keys, arguments)));
    }
    std::string state() { return run_on(core(), state_task()); }
    // A call that is not waited for yet.
    std::future<Result<Reply>> start(Words words, std::string key, Duration wait_max) {
        return start_on(core(), call(std::move(words), std::move(key), wait_max));
    }

    static std::string in_words(const Result<Reply>& reply) {
        return reply ? in_words(*reply) : "! " + reply.error().message();
    }
    static std::string in_words(const Reply& reply) {
        if (reply.is(Reply::Kind::nil)) return "(nil)";
        if (reply.is(Reply::Kind::integer)) return std::to_string(reply.integer);
        if (!reply.is(Reply::Kind::array)) return reply.text;
        std::string out = "[";
        for (const Reply& item : reply.items) {
            if (out.size() > 1) out += ' ';
            out += in_words(item);
        }
        return out + "]";
    }

private:
    Task<Result<Reply>> call(Words words, std::string key, Duration wait_max) {
        const std::vector<std::string_view> views(words.begin(), words.end());
        co_return co_await client_->call(views, key, wait_max);
    }
    Task<Result<Reply>> run_script(const Script& script, Words keys, Words arguments) {
        const std::vector<std::string_view> key_views(keys.begin(), keys.end());
        const std::vector<std::string_view> views(arguments.begin(), arguments.end());
        const std::string_view routing = key_views.empty() ? std::string_view() : key_views[0];
        co_return co_await client_->run(script, key_views, views, routing, Duration(20'000));
    }
    Task<std::string> state_task() { co_return client_->state(); }

    RunningCores cores_{1};
    std::unique_ptr<Client> client_;
};

} // namespace doorbuster::redis::fixture
