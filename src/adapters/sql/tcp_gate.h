// For tests: a gate between a store and its database's server on loopback, which can cut a
// connection around a COMMIT, and refuse or freeze connections. Its threads are its own; the
// functions are for any thread.
#pragma once

#include <arpa/inet.h>
#include <atomic>
#include <cstdint>
#include <gtest/gtest.h>
#include <mutex>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace doorbuster::sql::fixture {

class TcpGate {
public:
    // When the next COMMIT comes by: closes the connection without handing it on, or hands it on,
    // waits for the server's answer and closes the connection without handing that on.
    enum class Cut : std::uint8_t { none, before_commit, after_commit };

    explicit TcpGate(std::uint16_t server_port) : server_port_(server_port) {
        listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address = loopback(0);
        EXPECT_EQ(::bind(listener_, as_address(address), sizeof address), 0);
        EXPECT_EQ(::listen(listener_, 64), 0);
        socklen_t length = sizeof address;
        EXPECT_EQ(::getsockname(listener_, as_address(address), &length), 0);
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept_all(); });
    }
    ~TcpGate() {
        is_over_ = true;
        acceptor_.join();
        for (std::thread& thread : threads_) thread.join();
        ::close(listener_);
    }
    TcpGate(const TcpGate&) = delete;
    TcpGate& operator=(const TcpGate&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    void cut_next(Cut cut) { cut_ = cut; }
    [[nodiscard]] bool has_cut() const { return cut_ == Cut::none; }
    // Closes every connection, and new ones at once, until it is opened again.
    void shut() { is_shut_ = true; }
    void open() { is_shut_ = false; }

private:
    static sockaddr_in loopback(std::uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return address;
    }
    static sockaddr* as_address(sockaddr_in& address) {
        return reinterpret_cast<sockaddr*>(&address);
    }
    static bool is_readable(int socket, int wait_ms) {
        pollfd waiting{socket, POLLIN, 0};
        return ::poll(&waiting, 1, wait_ms) > 0;
    }
    // What is there; empty: the end.
    static std::string receive(int socket) {
        std::string bytes(65'536, '\0');
        const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), 0);
        bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return bytes;
    }
    static bool send_all(int socket, std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }

    void accept_all() {
        while (!is_over_) {
            if (!is_readable(listener_, 20)) continue;
            const int client = ::accept(listener_, nullptr, nullptr);
            if (client < 0) continue;
            threads_.emplace_back([this, client] { serve(client); });
        }
    }
    void serve(int client) {
        const int server = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address = loopback(server_port_);
        if (!is_shut_ && ::connect(server, as_address(address), sizeof address) == 0) {
            while (!is_over_ && !is_shut_ && hand_on(client, server)) {
            }
        }
        ::close(client);
        ::close(server);
    }
    // False: the connection is over.
    bool hand_on(int client, int server) {
        pollfd both[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
        if (::poll(both, 2, 20) <= 0) return true;
        if (both[0].revents != 0) {
            const std::string bytes = receive(client);
            if (bytes.empty()) return false;
            if (bytes.find("COMMIT") != std::string::npos) {
                const Cut cut = cut_.exchange(Cut::none);
                if (cut == Cut::before_commit) return false;
                if (cut == Cut::after_commit) {
                    static_cast<void>(send_all(server, bytes));
                    static_cast<void>(receive(server));
                    return false;
                }
            }
            if (!send_all(server, bytes)) return false;
        }
        if (both[1].revents != 0) {
            const std::string bytes = receive(server);
            if (bytes.empty() || !send_all(client, bytes)) return false;
        }
        return true;
    }

    std::uint16_t server_port_;
    std::uint16_t port_ = 0;
    int listener_ = -1;
    std::atomic<Cut> cut_{Cut::none};
    std::atomic<bool> is_shut_{false};
    std::atomic<bool> is_over_{false};
    std::vector<std::thread> threads_; // the acceptor's only, until it is joined
    std::thread acceptor_;
};

} // namespace doorbuster::sql::fixture
