// For tests: a gate between a client and its server, which can lose replies and lead elsewhere. A
// thread of its own; its sockets are not inherited by servers that a test starts meanwhile.
#pragma once

#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <cstdint>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace doorbuster::redis::fixture {

class TcpGate {
public:
    explicit TcpGate(std::uint16_t server_port) : server_port_(server_port) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address = loopback(0);
        socklen_t size = sizeof address;
        ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
        ::listen(listener_, 16);
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { run(); });
    }
    ~TcpGate() {
        is_over_ = true;
        thread_.join();
        for (const Pipe& pipe : pipes_) close(pipe);
        ::close(listener_);
    }
    TcpGate(const TcpGate&) = delete;
    TcpGate& operator=(const TcpGate&) = delete;

    [[nodiscard]] std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }
    // The next bytes from the server are lost, and their connection with them.
    void lose_next_reply() { loses_ = true; }
    [[nodiscard]] bool has_lost() const { return !loses_; }
    // From now on to another server; the connections to this one are cut.
    void lead_to(std::uint16_t server_port) {
        server_port_ = server_port;
        cuts_ = true;
        while (cuts_ && !is_over_) std::this_thread::yield();
    }

private:
    struct Pipe {
        int client = -1;
        int server = -1;
    };
    static sockaddr_in loopback(std::uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(port);
        return address;
    }
    static void close(const Pipe& pipe) {
        ::close(pipe.client);
        ::close(pipe.server);
    }
    void run() {
        while (!is_over_) {
            std::vector<pollfd> watched{{listener_, POLLIN, 0}};
            for (const Pipe& pipe : pipes_) {
                watched.push_back({pipe.client, POLLIN, 0});
                watched.push_back({pipe.server, POLLIN, 0});
            }
            ::poll(watched.data(), watched.size(), 20); // so that it notices its end
            for (std::size_t i = pipes_.size(); i-- > 0;) {
                const bool is_open = (watched[1 + 2 * i].revents == 0 ||
                                      carry(pipes_[i].client, pipes_[i].server)) &&
                                     (watched[2 + 2 * i].revents == 0 || carry_back(pipes_[i]));
                if (is_open) continue;
                close(pipes_[i]);
                pipes_.erase(pipes_.begin() + static_cast<std::ptrdiff_t>(i));
            }
            if (cuts_) {
                for (const Pipe& pipe : pipes_) close(pipe);
                pipes_.clear();
                cuts_ = false;
            }
            if (watched[0].revents != 0) add();
        }
    }
    void add() {
        Pipe pipe;
        pipe.client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        pipe.server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const sockaddr_in address = loopback(server_port_);
        if (::connect(pipe.server, reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
            0) {
            return close(pipe);
        }
        pipes_.push_back(pipe);
    }
    static bool carry(int from, int to) {
        std::array<char, 65'536> bytes;
        const ssize_t size = ::read(from, bytes.data(), bytes.size());
        if (size <= 0) return false;
        return ::send(to, bytes.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL) == size;
    }
    bool carry_back(const Pipe& pipe) {
        if (!loses_.exchange(false)) return carry(pipe.server, pipe.client);
        std::array<char, 65'536> lost;
        static_cast<void>(::read(pipe.server, lost.data(), lost.size()));
        return false;
    }

    std::atomic<std::uint16_t> server_port_;
    std::uint16_t port_ = 0;
    int listener_ = -1;
    std::vector<Pipe> pipes_; // the thread's
    std::atomic<bool> loses_{false};
    std::atomic<bool> cuts_{false};
    std::atomic<bool> is_over_{false};
    std::thread thread_;
};

} // namespace doorbuster::redis::fixture
