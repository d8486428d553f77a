#include "adapters/http/server.h"

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <exception>
#include <string>
#include <sys/socket.h>
#include <utility>
#include <vector>

#include "adapters/http/connection.h"
#include "adapters/http/tls.h"
#include "base/assert.h"

namespace doorbuster::http {
namespace {

namespace asio = boost::asio;
using asio::redirect_error;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;
using ReusePort = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;

// Long enough for some connections to end, short enough that waiting clients hardly notice.
constexpr std::chrono::milliseconds kAcceptPause{100};
// A few milliseconds of work; half of what the system lets wait in the queue by default.
constexpr std::size_t kTakenAtDrainMax = 2048;
// How often an operator is told that the above goes on.
constexpr std::chrono::seconds kTroubleInterval{10};
// After cutting connections off: for their coroutines to notice.
constexpr std::chrono::milliseconds kAbandonWait{500};

std::string describe(const std::string& host, std::uint16_t port) {
    return "port " + std::to_string(port) + " on " + host;
}

Result<tcp::endpoint> resolve(const ServerOptions& options, asio::io_context& context) {
    ErrorCode ec;
    const auto address = asio::ip::make_address(options.host, ec);
    if (!ec) return tcp::endpoint(address, options.port);
    tcp::resolver resolver(context);
    const auto found =
        resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, ec);
    if (ec || found.empty()) {
        return fail(Errc::invalid, "cannot listen on '" + options.host + "': " + ec.message());
    }
    return found.begin()->endpoint();
}

Result<void> listen(Acceptor& acceptor, const tcp::endpoint& endpoint, bool shares_port,
                    const std::string& host) {
    ErrorCode ec;
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(Acceptor::reuse_address(true), ec);
    if (!ec && shares_port) acceptor.set_option(ReusePort(true), ec);
    if (!ec && endpoint.address().is_v6()) {
        // "::" means every address, IPv4 too; whatever the system's default is.
        acceptor.set_option(asio::ip::v6_only(!endpoint.address().is_unspecified()), ec);
    }
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(Acceptor::max_listen_connections, ec);
    if (!ec) acceptor.non_blocking(true, ec);
    if (!ec) return {};
    const std::string what = describe(host, endpoint.port());
    if (ec == asio::error::address_in_use) {
        return fail(Errc::unavailable, what + " is taken: another program listens there");
    }
    return fail(Errc::unavailable, "cannot listen on " + what + ": " + ec.message());
}

// One core's listening socket and its loops. Shared by them and the Server, see CoreState.
struct Listener {
    Listener(std::shared_ptr<CoreState> state, Executor executor)
        : core(std::move(state)), acceptor(executor), sweep_timer(executor) {}

    std::shared_ptr<CoreState> core;
    Acceptor acceptor;
    Timer sweep_timer;
};

void take(Listener& listener, Socket socket, const tcp::endpoint& from) {
    SharedState& shared = listener.core->shared();
    shared.counters.accepted.fetch_add(1, std::memory_order_relaxed);
    if (shared.counters.open.load() >= shared.options.connections_max) {
        return refuse_connection(listener.core, std::move(socket));
    }
    asio::ip::address peer = from.address();
    if (peer.is_v6() && peer.to_v6().is_v4_mapped()) {
        peer = asio::ip::make_address_v4(asio::ip::v4_mapped, peer.to_v6());
    }
    start_connection(listener.core, std::move(socket), peer);
}

// What waits in the socket's queue when the server drains has connected to a server that was there:
// it is served, not reset. Bounded: under a rush the queue never gets empty.
void take_waiting(Listener& listener) {
    for (std::size_t i = 0; i < kTakenAtDrainMax; ++i) {
        ErrorCode ec;
        tcp::endpoint from;
        Socket socket(listener.core->executor());
        listener.acceptor.accept(socket, from, ec);
        if (ec) return;
        take(listener, std::move(socket), from);
    }
}

Task<void> accept_loop(std::shared_ptr<Listener> listener) {
    SharedState& shared = listener->core->shared();
    Timer pause(listener->core->executor());
    std::chrono::steady_clock::time_point told_at;
    while (!listener->core->is_draining()) {
        ErrorCode ec;
        tcp::endpoint from;
        Socket socket =
            co_await listener->acceptor.async_accept(from, redirect_error(use_task, ec));
        if (!ec) {
            take(*listener, std::move(socket), from);
        } else if (ec != asio::error::operation_aborted && ec != asio::error::connection_aborted) {
            // Out of file descriptors or memory. What waits in the queue is taken later.
            const auto now = std::chrono::steady_clock::now();
            if (now - told_at > kTroubleInterval) {
                told_at = now;
                shared.options.on_trouble(
                    "cannot accept connections at the moment: " + ec.message() + "; trying again");
            }
            pause.expires_after(kAcceptPause);
            co_await pause.async_wait(redirect_error(use_task, ec));
        }
    }
    take_waiting(*listener);
    ErrorCode ignored;
    listener->acceptor.close(ignored);
    // Those that were just taken are idle.
    listener->core->begin_drain();
    shared.listening.fetch_sub(1);
    shared.notify_drain();
}

Task<void> sweep_loop(std::shared_ptr<Listener> listener) {
    CoreState& core = *listener->core;
    while (!core.is_draining() || core.has_connections() || listener->acceptor.is_open()) {
        ErrorCode ec;
        listener->sweep_timer.expires_after(core.sweep_interval());
        co_await listener->sweep_timer.async_wait(redirect_error(use_task, ec));
        core.sweep();
    }
}

void rethrow(std::exception_ptr exception) {
    if (exception) std::rethrow_exception(exception);
}

} // namespace

struct Server::Impl {
    std::shared_ptr<SharedState> shared = std::make_shared<SharedState>();
    std::vector<std::shared_ptr<Listener>> listeners; // one per core
    std::uint16_t port = 0;
    bool is_started = false;

    Result<void> open(Cores& cores, const std::function<Handler&(std::size_t)>& handler) {
        const ServerOptions& options = shared->options;
        if (!options.tls_cert.empty() || !options.tls_key.empty()) {
            auto tls = load_tls(options.tls_cert, options.tls_key);
            if (!tls) return tl::unexpected(std::move(tls.error()));
            shared->tls.emplace(std::move(*tls));
        }
        auto endpoint = resolve(options, cores.at(0).context());
        if (!endpoint) return tl::unexpected(std::move(endpoint.error()));
        shared->listener_is_loopback = endpoint->address().is_loopback();

        // SO_REUSEPORT would let us share the port with another server of the same user, which is
        // never meant: a socket without it goes first.
        const bool shares_port = cores.size() > 1;
        if (shares_port && endpoint->port() != 0) {
            Acceptor probe(cores.at(0).executor());
            auto free = listen(probe, *endpoint, false, options.host);
            if (!free) return free;
        }
        for (std::size_t i = 0; i < cores.size(); ++i) {
            const Executor executor = cores.at(i).executor();
            auto core = std::make_shared<CoreState>(shared, executor, handler(i));
            auto listener = std::make_shared<Listener>(std::move(core), executor);
            auto bound = listen(listener->acceptor, *endpoint, shares_port, options.host);
            if (!bound) return bound;
            endpoint->port(listener->acceptor.local_endpoint().port());
            listeners.push_back(std::move(listener));
        }
        port = endpoint->port();
        return {};
    }

    template <class F> void on_each_core(F f) {
        for (auto& listener : listeners) {
            asio::post(listener->core->executor(), [listener, f] { f(*listener); });
        }
    }

    bool wait_until_empty(std::chrono::milliseconds patience) {
        std::unique_lock lock(shared->mutex);
        return shared->changed.wait_for(lock, patience, [this] {
            return shared->listening.load() == 0 && shared->counters.open.load() == 0 &&
                   shared->refusing.load() == 0;
        });
    }
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::open(Cores& cores, ServerOptions options,
                                             std::function<Handler&(std::size_t core)> handler) {
    auto impl = std::make_unique<Impl>();
    impl->shared->options = std::move(options);
    auto opened = impl->open(cores, handler);
    if (!opened) return tl::unexpected(std::move(opened.error()));
    return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::start() {
    DB_ASSERT(!std::exchange(impl_->is_started, true));
    impl_->shared->listening = impl_->listeners.size();
    for (auto& listener : impl_->listeners) {
        const Executor& executor = listener->core->executor();
        asio::co_spawn(executor, accept_loop(listener), rethrow);
        asio::co_spawn(executor, sweep_loop(listener), rethrow);
    }
}

bool Server::drain(std::chrono::milliseconds patience) {
    if (!impl_->is_started) return true;
    impl_->shared->draining = true;
    impl_->on_each_core([](Listener& listener) {
        listener.core->begin_drain();
        ErrorCode ignored;
        listener.acceptor.cancel(ignored);
    });
    if (impl_->wait_until_empty(patience)) return true;
    impl_->on_each_core([](Listener& listener) { listener.core->abandon_all(); });
    static_cast<void>(impl_->wait_until_empty(kAbandonWait));
    return false;
}

std::uint16_t Server::port() const { return impl_->port; }
bool Server::is_loopback() const { return impl_->shared->listener_is_loopback; }
const ServerCounters& Server::counters() const { return impl_->shared->counters; }

} // namespace doorbuster::http
