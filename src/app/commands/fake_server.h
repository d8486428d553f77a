// For tests: a server on a free loopback port that gives prepared answers and remembers what it was
// asked. It serves one connection at a time on a thread of its own and ends with its owner.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace doorbuster::testing {

class FakeServer {
public:
    struct Seen {
        std::string line; // "GET /v1/sales"
        std::string body;
        std::string authorization;
        std::string content_type;
        std::string idempotency_key;
    };
    struct Answer {
        unsigned status = 200;
        std::string body;
        bool close_without_answer = false;
    };
    using Answers = std::map<std::string, Answer>; // by request line

    explicit FakeServer(Answers answers)
        : answers_(std::move(answers)),
          acceptor_(io_, {boost::asio::ip::address_v4::loopback(), 0}),
          port_(acceptor_.local_endpoint().port()),
          thread_([this] { serve(); }) {}
    ~FakeServer() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        // Wakes the thread that waits for a connection.
        boost::asio::ip::tcp::socket last(io_);
        boost::system::error_code ignored;
        last.connect({boost::asio::ip::address_v4::loopback(), port_}, ignored);
        thread_.join();
    }
    FakeServer(const FakeServer&) = delete;
    FakeServer& operator=(const FakeServer&) = delete;

    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] std::vector<Seen> seen() const {
        const std::lock_guard lock(mutex_);
        return seen_;
    }

private:
    void serve() {
        while (true) {
            boost::asio::ip::tcp::socket socket(io_);
            boost::system::error_code error;
            acceptor_.accept(socket, error);
            const std::lock_guard lock(mutex_);
            if (error || stopping_) return;
            serve_connection(socket);
        }
    }

    // Under the mutex: tests look at what was seen after the client has gone.
    void serve_connection(boost::asio::ip::tcp::socket& socket) {
        namespace http = boost::beast::http;
        boost::beast::flat_buffer buffer;
        while (true) {
            http::request<http::string_body> request;
            boost::system::error_code error;
            http::read(socket, buffer, request, error);
            if (error) return;
            Seen seen;
            seen.line = std::string(request.method_string()) + " " + std::string(request.target());
            seen.body = request.body();
            seen.authorization = std::string(request[http::field::authorization]);
            seen.content_type = std::string(request[http::field::content_type]);
            seen.idempotency_key = std::string(request["Idempotency-Key"]);
            const auto found = answers_.find(seen.line);
            const Answer answer =
                found == answers_.end() ? Answer{599, "no answer prepared"} : found->second;
            seen_.push_back(std::move(seen));
            if (answer.close_without_answer) return;
            http::response<http::string_body> response;
            response.version(11);
            response.result(answer.status);
            response.set(http::field::content_type, "application/json");
            response.body() = answer.body;
            response.prepare_payload();
            http::write(socket, response, error);
            if (error) return;
        }
    }

    Answers answers_;
    boost::asio::io_context io_;
    boost::asio::ip::tcp::acceptor acceptor_;
    unsigned short port_;
    mutable std::mutex mutex_;
    std::vector<Seen> seen_;
    bool stopping_ = false;
    std::thread thread_;
};

} // namespace doorbuster::testing
