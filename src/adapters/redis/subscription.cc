#include "adapters/redis/subscription.h"

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <exception>
#include <optional>
#include <utility>

#include "adapters/redis/backoff.h"
#include "adapters/redis/resp.h"
#include "adapters/redis/session.h"
#include "base/assert.h"

namespace doorbuster::redis {
namespace {

namespace asio = boost::asio;
using std::chrono::steady_clock;
using Timer = Session::Timer;

} // namespace

struct Subscription::Impl : std::enable_shared_from_this<Subscription::Impl> {
    Impl(Core& core, ClientOptions with, std::vector<std::string> to, Callbacks call,
         std::optional<asio::ssl::context> context)
        : executor(core.executor()),
          options(std::move(with)),
          channels(std::move(to)),
          callbacks(std::move(call)),
          tls(std::move(context)),
          pause_timer(executor),
          ping_timer(executor) {}

    Executor executor;
    ClientOptions options;
    std::vector<std::string> channels;
    Callbacks callbacks;
    std::optional<asio::ssl::context> tls;
    std::unique_ptr<HostLookup> lookup;
    std::unique_ptr<Session> session;
    Timer pause_timer;
    Timer ping_timer;
    SteadyTime heard_at{};
    Backoff backoff{kConnectPauseMin, kConnectPauseMax};
    std::size_t attempts = 0;
    std::size_t confirmed = 0; // channels
    bool is_writing = false;
    bool is_closed = false;
    std::string state = "connecting";
    std::string told_why;

    static Task<void> run(std::shared_ptr<Impl> self);
    Task<std::string> listen();
    std::optional<std::string> take(const Reply& reply);
    void send(std::span<const std::string_view> command);
    void keep_alive();
    void came_up();
    void went_down(const std::string& address, const std::string& why);
    void close();
};

Task<void> Subscription::Impl::run(std::shared_ptr<Impl> self) {
    Impl& my = *self;
    while (!my.is_closed) {
        const Url& server = my.options.servers[my.attempts++ % my.options.servers.size()];
        my.lookup = std::make_unique<HostLookup>(server.address.host);
        my.session = std::make_unique<Session>(my.executor, server, my.tls ? &*my.tls : nullptr);
        ServerDemands demands;
        demands.is_cluster_node = my.options.is_cluster;
        demands.needs_noeviction = false; // nothing is stored through here
        const auto deadline = steady_clock::now() + my.options.connect_wait_max;
        const auto opened = co_await my.session->open(*my.lookup, demands, deadline);
        if (my.is_closed) break;
        std::string why;
        if (opened) {
            why = co_await my.listen();
        } else {
            why = opened.error().context;
        }
        my.ping_timer.cancel();
        my.session->close();
        if (my.is_closed) break;
        my.went_down(server.address.text(), why);
        my.pause_timer.expires_after(my.backoff.next());
        boost::system::error_code ignored;
        co_await my.pause_timer.async_wait(asio::redirect_error(use_task, ignored));
    }
    my.session.reset();
    my.lookup.reset();
}

// Until the connection ends. Returns why it did.
Task<std::string> Subscription::Impl::listen() {
    std::vector<std::string_view> command{"SUBSCRIBE"};
    command.insert(command.end(), channels.begin(), channels.end());
    confirmed = 0;
    is_writing = false;
    send(command);
    heard_at = steady_clock::now();
    keep_alive();
    for (;;) {
        const auto reply = co_await session->read();
        if (is_closed) co_return "closed";
        if (!reply) co_return reply.error().context;
        heard_at = steady_clock::now();
        if (auto why = take(*reply)) co_return *why;
    }
}

// nullopt: go on listening.
std::optional<std::string> Subscription::Impl::take(const Reply& reply) {
    if (reply.is_error()) return "Redis refuses to subscribe: " + reply.text;
    if (!reply.is(Reply::Kind::array) || reply.items.empty()) return std::nullopt; // PONG
    const std::string& kind = reply.items[0].text;
    if (kind == "message" && reply.is_array_of(3)) {
        callbacks.on_message(reply.items[1].text, reply.items[2].text);
    } else if (kind == "subscribe" && ++confirmed == channels.size()) {
        came_up();
    }
    return std::nullopt;
}

void Subscription::Impl::send(std::span<const std::string_view> command) {
    if (is_writing) return; // a PING behind a write that hangs would change nothing
    is_writing = true;
    std::string bytes;
    append_command(bytes, command);
    auto done = [weak = weak_from_this(), mine = session.get()](bool, const std::string&) {
        const auto self = weak.lock();
        if (self && self->session.get() == mine) self->is_writing = false;
    };
    session->write(std::move(bytes), std::move(done));
}

// A server that is gone without a word is noticed by its silence: it is asked to say something
// every silence_max, and given up after twice that.
void Subscription::Impl::keep_alive() {
    ping_timer.expires_after(options.silence_max);
    ping_timer.async_wait([weak = weak_from_this()](const boost::system::error_code& ec) {
        const auto self = weak.lock();
        if (ec || !self || self->is_closed || !self->session) return;
        if (steady_clock::now() - self->heard_at >= 2 * self->options.silence_max) {
            return self->session->close();
        }
        static constexpr std::array<std::string_view, 1> kPing{"PING"};
        self->send(kPing);
        self->keep_alive();
    });
}

void Subscription::Impl::came_up() {
    state = "up";
    told_why.clear();
    backoff.reset();
    if (callbacks.on_connected) callbacks.on_connected();
}

void Subscription::Impl::went_down(const std::string& address, const std::string& why) {
    state = address + ": " + why;
    if (why != told_why && options.tell) {
        options.tell("Redis " + state + "; subscribing again");
    }
    told_why = why;
}

void Subscription::Impl::close() {
    is_closed = true;
    state = "closed";
    pause_timer.cancel();
    ping_timer.cancel();
    if (lookup) lookup->close();
    if (session) session->close();
}

Result<std::unique_ptr<Subscription>> Subscription::open(Core& core, ClientOptions options,
                                                         std::vector<std::string> channels,
                                                         Callbacks callbacks) {
    DB_ASSERT(!options.servers.empty() && !channels.empty() && callbacks.on_message);
    std::optional<asio::ssl::context> tls;
    if (options.servers.front().address.transport == Address::Transport::tls) {
        auto context = client_tls(options.tls_ca);
        if (!context) return tl::unexpected(std::move(context.error()));
        tls.emplace(std::move(*context));
    }
    auto impl = std::make_shared<Impl>(core, std::move(options), std::move(channels),
                                       std::move(callbacks), std::move(tls));
    return std::unique_ptr<Subscription>(new Subscription(std::move(impl)));
}

Subscription::Subscription(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Subscription::~Subscription() { impl_->close(); }

void Subscription::start() {
    auto rethrow = [](std::exception_ptr exception) {
        if (exception) std::rethrow_exception(exception);
    };
    asio::co_spawn(impl_->executor, Impl::run(impl_), rethrow);
}

void Subscription::close() {
    asio::post(impl_->executor, [impl = impl_] { impl->close(); });
}

const std::string& Subscription::state() const { return impl_->state; }

} // namespace doorbuster::redis
