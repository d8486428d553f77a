// A client's connection, from accept to close, and what the connections of one core share.
// Internal to adapters/http: only server.cc and connection.cc include it.
//
// Everything here belongs to one core and is used on its thread, except SharedState.
#pragma once

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>

#include "adapters/http/handler.h"
#include "adapters/http/response_writer.h"
#include "adapters/http/server_options.h"
#include "runtime/task.h"

namespace doorbuster::http {

using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Executor>;
using SteadyTime = std::chrono::steady_clock::time_point;

// What all cores of a server share. Set before the cores start, then read only, but for the
// atomics and what the mutex guards.
struct SharedState {
    ServerOptions options;
    ServerCounters counters;
    std::optional<boost::asio::ssl::context> tls;
    bool listener_is_loopback = false;

    // drain() waits for these.
    std::atomic<bool> draining = false;
    std::atomic<std::size_t> listening = 0; // cores that still accept
    std::atomic<std::size_t> refusing = 0;  // connections past the maximum, lingering
    std::mutex mutex;                       // guards nothing; drain() must not miss a change
    std::condition_variable changed;

    // After one of the above or counters.open went down.
    void notify_drain();
};

// A connection as its core's sweep sees it: a link in a list and a deadline.
class Connection {
public:
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // The sweep found the deadline passed.
    virtual void expire() = 0;
    // The server drains: close if there is nothing to do.
    virtual void wake() = 0;
    // The server does not wait any longer.
    virtual void abandon() = 0;

protected:
    Connection() = default;
    ~Connection() = default;

private:
    friend class CoreState;
    SteadyTime deadline_ = SteadyTime::max();
    Connection* previous_ = nullptr;
    Connection* next_ = nullptr;
};

// What the connections of a core share. Held by shared_ptr: each connection's coroutine and the
// core's loops hold it, because they may be destroyed with the io_context, after the Server.
class CoreState {
public:
    CoreState(std::shared_ptr<SharedState> shared, Executor executor, Handler& handler);
    CoreState(const CoreState&) = delete;
    CoreState& operator=(const CoreState&) = delete;
    ~CoreState();

    [[nodiscard]] SharedState& shared() { return *shared_; }
    [[nodiscard]] const ServerOptions& options() const { return shared_->options; }
    [[nodiscard]] const Executor& executor() const { return executor_; }
    [[nodiscard]] Handler& handler() { return handler_; }
    [[nodiscard]] bool is_draining() const { return draining_; }
    [[nodiscard]] bool has_connections() const { return first_ != nullptr; }
    [[nodiscard]] std::string_view date_line() const { return date_.line(); }
    [[nodiscard]] RequestIds& request_ids() { return request_ids_; }

    void add(Connection& connection);
    void remove(Connection& connection);
    // Precise to a sweep: no clock is read.
    void set_deadline(Connection& connection, std::chrono::milliseconds timeout);
    static void clear_deadline(Connection& connection);

    [[nodiscard]] std::chrono::milliseconds sweep_interval() const { return sweep_interval_; }
    void sweep();
    void begin_drain();
    void abandon_all();

private:
    std::shared_ptr<SharedState> shared_;
    Executor executor_;
    Handler& handler_;
    std::chrono::milliseconds sweep_interval_;
    SteadyTime swept_at_;
    SteadyTime now_; // the connections' clock; stands still while the core itself is stuck
    DateLine date_;
    RequestIds request_ids_;
    Connection* first_ = nullptr;
    bool draining_ = false;
};

// Takes the socket over. The connection lives until its client, a time-out or a drain ends it.
void start_connection(const std::shared_ptr<CoreState>& core, Socket socket,
                      const boost::asio::ip::address& peer);
// Answers 503 without reading a request, if there is still room for that.
void refuse_connection(const std::shared_ptr<CoreState>& core, Socket socket);

} // namespace doorbuster::http
