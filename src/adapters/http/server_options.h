// What a server is told, and what it counts. Values and atomics; any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace doorbuster::http {

struct ServerOptions {
    std::string host = "127.0.0.1"; // an address or a name; "::1" without brackets
    std::uint16_t port = 8080;      // 0: any free one, see Server::port()

    // Of the whole server; one more is answered 503 and closed. Each costs about 8 KiB.
    std::size_t connections_max = 10'000;

    // A client on a phone sends its headers within a round trip or two; ten seconds is for the
    // worst of them, and what one slow connection may hold a place for.
    std::chrono::milliseconds header_timeout{10'000};
    std::chrono::milliseconds body_timeout{10'000};  // for the whole body, 64 KiB at most
    std::chrono::milliseconds idle_timeout{75'000};  // between requests; nginx's default
    std::chrono::milliseconds write_timeout{10'000}; // without a byte taken by the client
    std::chrono::milliseconds handshake_timeout{10'000};
    // How long a connection that we close is read on, so that its client sees our last answer
    // instead of a reset (RFC 9112 section 9.6).
    std::chrono::milliseconds linger_timeout{2'000};

    std::string tls_cert; // PEM files; both or none
    std::string tls_key;

    // What an operator should know ("out of file descriptors ..."); called on any core.
    std::function<void(std::string_view)> on_trouble = [](std::string_view) {};
};

struct ServerCounters {
    std::atomic<std::size_t> open = 0; // now, without those being refused
    std::atomic<std::uint64_t> accepted = 0;
    std::atomic<std::uint64_t> refused = 0;   // past connections_max
    std::atomic<std::uint64_t> timed_out = 0; // closed by one of the time-outs, idle ones too
    std::atomic<std::uint64_t> protocol_errors = 0;
};

} // namespace doorbuster::http
