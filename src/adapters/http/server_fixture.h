// For the tests of the server: a handler, a blocking client, and a server between them.
#pragma once

#include <arpa/inet.h>
#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <chrono>
#include <gtest/gtest.h>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <sys/time.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "adapters/http/server.h"

namespace doorbuster::http::fixture {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr seconds kPatience{20}; // far more than anything here takes

// Polls until the condition holds.
template <class F> bool eventually(F condition) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::yield();
    }
    return true;
}

using Gate = boost::asio::basic_waitable_timer<
    std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, Executor>;

// What a handler knows of its streams; shared, for they may end after it, with their core.
struct Streams {
    std::atomic<int> open = 0;
    std::atomic<int> stopped = 0;
    std::atomic<std::size_t> parts = 0;
};

// "begun", then what its path says: /stream/short two more parts, /stream/open nothing until it is
// stopped, /stream/flood large parts without an end.
class TestStream final : public BodyStream {
public:
    TestStream(Core& core, std::shared_ptr<Streams> streams, std::string_view path)
        : streams_(std::move(streams)),
          path_(path),
          gate_(core.executor(), std::chrono::steady_clock::time_point::max()) {
        ++streams_->open;
    }
    ~TestStream() override { --streams_->open; }

    Task<std::optional<std::string>> next() override {
        const int part = part_++;
        if (part == 0) co_return "begun";
        if (path_ == "/stream/short") {
            co_await boost::asio::post(use_task);
            if (part < 3) co_return std::string(10'000, static_cast<char>('a' + part));
            co_return std::nullopt;
        }
        if (path_ == "/stream/open" && !is_stopped_) {
            boost::system::error_code ec;
            co_await gate_.async_wait(boost::asio::redirect_error(use_task, ec));
        }
        if (is_stopped_) co_return std::nullopt;
        ++streams_->parts;
        co_return std::string(100'000, 'x');
    }
    void stop() override {
        if (!std::exchange(is_stopped_, true)) ++streams_->stopped;
        gate_.cancel();
    }

private:
    std::shared_ptr<Streams> streams_;
    std::string path_;
    Gate gate_;
    int part_ = 0;
    bool is_stopped_ = false;
};

// Answers at once, but: /stream/… in parts, /later after a turn of the loop, /held after release().
class TestHandler final : public Handler {
public:
    explicit TestHandler(Core& core)
        : core_(core), gate_(core.executor(), std::chrono::steady_clock::time_point::max()) {}

    std::optional<Response> answer_now(const Request& request) override {
        if (request.path == "/later" || request.path == "/held") return std::nullopt;
        if (request.path.starts_with("/stream/")) {
            Response response;
            response.content_type = "text/plain";
            response.stream = std::make_unique<TestStream>(core_, streams, request.path);
            return response;
        }
        return echo(request);
    }
    Task<Response> answer(const Request& request) override {
        if (request.path == "/held") {
            ++held;
            boost::system::error_code ec;
            co_await gate_.async_wait(boost::asio::redirect_error(use_task, ec));
        } else {
            co_await boost::asio::post(use_task);
        }
        co_return echo(request);
    }
    Response protocol_error(const ParseFailure& failure) override {
        Response response;
        response.status = failure.status;
        response.body = failure.detail;
        return response;
    }
    void release() {
        boost::asio::post(core_.executor(), [this] { gate_.cancel(); });
    }

    std::atomic<int> held = 0;
    const std::shared_ptr<Streams> streams = std::make_shared<Streams>();

private:
    static Response echo(const Request& request) {
        Response response;
        response.content_type = "text/plain";
        if (request.path == "/big") {
            response.body.assign(1 << 20, 'x');
        } else if (request.path == "/none") {
            response.status = 204;
        } else if (request.path == "/odd") {
            response.status = 599;
            response.headers = "X-Odd: yes\r\n";
            response.close = true;
        } else {
            response.body.append(request.method_text).append(" ").append(request.path);
            response.body.append(" ").append(request.body);
            response.body.append(" ").append(request.peer.to_string());
            if (request.listener_is_loopback) response.body.append(" loopback");
        }
        return response;
    }

    Core& core_;
    Gate gate_;
};

struct Answer {
    int status = 0; // 0: the connection ended first
    std::string head;
    std::string body;

    [[nodiscard]] bool has(const std::string& line) const {
        return head.find("\r\n" + line + "\r\n") != std::string::npos;
    }
};

// A blocking client. Every wait ends after kPatience.
class Client {
public:
    explicit Client(std::uint16_t port, int family = AF_INET)
        : fd_(::socket(family, SOCK_STREAM, 0)) {
        const timeval limit = {kPatience.count(), 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        sockaddr_in6 v6 = {};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        v6.sin6_addr = in6addr_loopback;
        sockaddr_in v4 = {};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int failed = family == AF_INET6
                               ? ::connect(fd_, reinterpret_cast<sockaddr*>(&v6), sizeof(v6))
                               : ::connect(fd_, reinterpret_cast<sockaddr*>(&v4), sizeof(v4));
        connected_ = failed == 0;
    }
    ~Client() { close(); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    [[nodiscard]] bool connected() const { return connected_; }
    [[nodiscard]] int fd() const { return fd_; }
    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    void send(const std::string& bytes) {
        std::size_t sent = 0;
        while (sent < bytes.size()) {
            const ssize_t n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
            if (n <= 0) return;
            sent += static_cast<std::size_t>(n);
        }
    }
    void end() { ::shutdown(fd_, SHUT_WR); }

    Answer read(bool is_head = false) {
        Answer answer;
        std::size_t end = 0;
        while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
            if (!receive()) return answer;
        }
        answer.head = received_.substr(0, end + 4);
        received_.erase(0, end + 4);
        answer.status = std::stoi(answer.head.substr(9, 3));
        const std::size_t at = answer.head.find("Content-Length: ");
        if (is_head || at == std::string::npos) return answer;
        const std::size_t size = std::stoul(answer.head.substr(at + 16));
        while (received_.size() < size) {
            if (!receive()) return Answer{};
        }
        answer.body = received_.substr(0, size);
        received_.erase(0, size);
        return answer;
    }
    // Bytes of a stream up to and with `mark`; what is there when the connection ends before.
    std::string read_to(const std::string& mark) {
        std::size_t at = 0;
        while ((at = received_.find(mark)) == std::string::npos) {
            if (!receive()) return std::exchange(received_, {});
        }
        std::string bytes = received_.substr(0, at + mark.size());
        received_.erase(0, at + mark.size());
        return bytes;
    }
    // The server closed, cleanly, and said nothing more.
    bool is_closed() { return received_.empty() && !receive() && last_ == 0; }

private:
    bool receive() {
        std::vector<char> bytes(65536);
        last_ = ::recv(fd_, bytes.data(), bytes.size(), 0);
        if (last_ <= 0) return false;
        received_.append(bytes.data(), static_cast<std::size_t>(last_));
        return true;
    }

    int fd_;
    bool connected_ = false;
    ssize_t last_ = 0;
    std::string received_;
};

inline std::string get(const std::string& path, const std::string& headers = {}) {
    return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n";
}
inline std::string post(const std::string& path, const std::string& body) {
    return "POST " + path +
           " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
}

class HttpServer : public ::testing::Test {
protected:
    static constexpr std::size_t kCores = 2;

    HttpServer() {
        options_.port = 0;
        for (std::size_t i = 0; i < kCores; ++i) {
            handlers_.push_back(std::make_unique<TestHandler>(cores_.at(i)));
        }
    }
    ~HttpServer() override { stop(); }

    void start() {
        auto opened = Server::open(
            cores_, options_, [this](std::size_t core) -> Handler& { return *handlers_[core]; });
        ASSERT_TRUE(opened) << opened.error().message();
        server_ = std::move(*opened);
        server_->start();
        cores_.start();
    }
    void stop() {
        cores_.stop();
        server_.reset();
    }
    int held() {
        int sum = 0;
        for (auto& handler : handlers_) sum += handler->held;
        return sum;
    }
    void release() {
        for (auto& handler : handlers_) handler->release();
    }
    int open_streams() {
        int sum = 0;
        for (auto& handler : handlers_) sum += handler->streams->open;
        return sum;
    }
    int stopped_streams() {
        int sum = 0;
        for (auto& handler : handlers_) sum += handler->streams->stopped;
        return sum;
    }
    std::size_t parts() {
        std::size_t sum = 0;
        for (auto& handler : handlers_) sum += handler->streams->parts;
        return sum;
    }
    bool all_closed() {
        return eventually([this] { return server_->counters().open == 0; });
    }

    ServerOptions options_;
    Cores cores_{kCores};
    std::vector<std::unique_ptr<TestHandler>> handlers_;
    std::unique_ptr<Server> server_;
};

} // namespace doorbuster::http::fixture
