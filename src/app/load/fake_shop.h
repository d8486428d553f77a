// FakeShop: a small server for the tests of load. It keeps sales as the contract says, on a free
// port of 127.0.0.1, and lets a test spoil its answers one by one. A thread a connection; made and
// destroyed by the test's thread.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "domain/ids.h"

namespace doorbuster::load {

struct ShopRequest {
    std::string method;
    std::string path;
    std::string user;
    std::string key;
    std::string body;
    Units quantity = 1;
    std::uint64_t number = 0; // counts the purchases of all connections from 1
};

struct ShopAnswer {
    enum class How : std::uint8_t {
        whole,
        whole_then_close,
        half_then_close, // the connection breaks inside of the answer
        close,           // no answer; the order, if there is one, stays
        silence,         // no answer and no close, until the shop ends
    };
    int status = 200;
    std::string content_type = "application/json";
    std::string headers; // whole lines
    std::string body;
    How how = How::whole;
};

class FakeShop {
public:
    struct Sale {
        Units stock = 10;
        Units remaining = 10;
        Units per_user_limit = 1;
        Units per_user_limit_told = 0; // what GET says; 0: the truth
    };
    // Called for every purchase with the right answer, which it may spoil; several threads.
    using Spoil = std::function<void(const ShopRequest&, ShopAnswer&)>;

    explicit FakeShop(Sale demo, Spoil spoil = {}, boost::asio::ssl::context* tls = nullptr);
    ~FakeShop();
    FakeShop(const FakeShop&) = delete;
    FakeShop& operator=(const FakeShop&) = delete;

    [[nodiscard]] std::string url(const std::string& host = "127.0.0.1") const;
    [[nodiscard]] Sale sale(const std::string& id);
    [[nodiscard]] std::vector<std::string> sales();
    [[nodiscard]] bool is_closed(const std::string& id);
    void set_sale(const std::string& id, const Sale& sale);
    [[nodiscard]] std::uint64_t connections() const { return connections_.load(); }
    [[nodiscard]] std::uint64_t purchases() const { return purchases_.load(); }
    // How many purchases wait for an answer that never comes.
    [[nodiscard]] std::uint64_t silent() const { return silent_.load(); }
    // Returns after `ms`, or when the shop ends: how a stall is made.
    void stall(std::int64_t ms);

private:
    using Socket = boost::asio::ip::tcp::socket;

    struct Buyer {
        Units units = 0;
        std::string last_order;
        std::map<std::string, std::string> by_key; // the 202's body
    };
    struct State {
        Sale sale;
        std::map<std::string, Buyer> buyers;
        bool is_closed = false;
    };

    void accept();
    void serve(Socket& socket);
    template <class Stream> void talk(Stream& stream);
    ShopAnswer answer(const ShopRequest& request);
    ShopAnswer purchase(State& state, const std::string& id, const ShopRequest& request);
    static ShopAnswer problem(int status, const std::string& code, const std::string& more = {});
    static std::string sale_json(const std::string& id, const State& state);

    Spoil spoil_;
    boost::asio::ssl::context* tls_;
    boost::asio::io_context io_;
    boost::asio::ip::tcp::acceptor acceptor_;
    std::uint16_t port_;
    std::atomic<std::uint64_t> connections_ = 0;
    std::atomic<std::uint64_t> purchases_ = 0;
    std::atomic<std::uint64_t> silent_ = 0;

    std::mutex mutex_; // guards what follows
    std::condition_variable ended_;
    bool is_ending_ = false;
    std::map<std::string, State> sales_;
    std::uint64_t next_order_ = 1;
    std::list<Socket> sockets_;
    std::list<std::thread> sessions_;

    std::thread acceptor_thread_;
};

} // namespace doorbuster::load
