// Server: HTTP/1.1 over TCP or TLS on every core, in front of one Handler per core.
//
// Destroy it after drain() or after Cores::stop(), and before the Cores. The handlers outlive both.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "adapters/http/handler.h"
#include "adapters/http/server_options.h"
#include "base/result.h"
#include "runtime/core.h"

namespace doorbuster::http {

class Server {
public:
    // Binds the port on behalf of every core; nothing is accepted before start(). A port that
    // another process listens on is an Error, Errc::unavailable, that names it.
    static Result<std::unique_ptr<Server>> open(Cores& cores, ServerOptions options,
                                                std::function<Handler&(std::size_t core)> handler);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Any thread, once. The cores may run already or later.
    void start();

    // Any thread but a core's; the cores must be running. Stops accepting, closes idle connections,
    // lets the requests in flight be answered (with Connection: close) for at most `patience`, then
    // cuts off the rest. True: nothing had to be cut off.
    bool drain(std::chrono::milliseconds patience);

    // Any thread.
    [[nodiscard]] std::uint16_t port() const;
    [[nodiscard]] bool is_loopback() const;
    [[nodiscard]] const ServerCounters& counters() const;

private:
    struct Impl;
    explicit Server(std::unique_ptr<Impl> impl);

    std::unique_ptr<Impl> impl_;
};

} // namespace doorbuster::http
