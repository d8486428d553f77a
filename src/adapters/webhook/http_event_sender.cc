#include "adapters/webhook/http_event_sender.h"

#include <algorithm>
#include <boost/asio/ssl/verify_mode.hpp>
#include <boost/asio/this_coro.hpp>
#include <exception>
#include <iterator>
#include <openssl/ssl.h>
#include <string_view>
#include <utility>

#include "adapters/webhook/address_policy.h"
#include "base/assert.h"

namespace doorbuster::webhook {
namespace {

namespace asio = boost::asio;
using std::chrono::steady_clock;

// Of one endpoint: as many as send to it at a time in ordinary days.
constexpr std::size_t kIdleMax = 4;
// Servers close an idle connection after 5 s (Node.js) to 75 s (nginx); past this, a new one is
// the better bet.
constexpr std::chrono::seconds kIdleAgeMax{30};
constexpr Duration kRetryAfterMax = std::chrono::hours(1);

Result<asio::ssl::context> client_tls() {
    asio::ssl::context context(asio::ssl::context::tls_client);
    boost::system::error_code ec;
    context.set_default_verify_paths(ec);
    if (!ec) context.set_verify_mode(asio::ssl::verify_peer, ec);
    if (ec) return fail(Errc::unavailable, "TLS for webhooks: " + ec.message());
    SSL_CTX* const native = context.native_handle();
    static constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    if (SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_alpn_protos(native, kHttp11, sizeof(kHttp11)) != 0) {
        return fail(Errc::unavailable, "TLS for webhooks: TLS 1.2 is not available");
    }
    SSL_CTX_set_options(native, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
    return context;
}

SendResult failed(std::string detail) {
    SendResult out;
    out.detail = std::move(detail);
    return out;
}

SendResult result_of(const Exchange& exchange) {
    if (exchange.status == 0) return failed(exchange.error);
    SendResult out;
    out.detail = std::to_string(exchange.status);
    if (exchange.status / 100 == 2) {
        out.kind = SendResult::Kind::delivered;
        return out;
    }
    if (exchange.status == 410) out.kind = SendResult::Kind::gone;
    if (exchange.status / 100 == 3) out.detail += ": redirected, which is not followed";
    if (exchange.retry_after) out.retry_after = std::min(*exchange.retry_after, kRetryAfterMax);
    return out;
}

} // namespace

struct HttpEventSender::Endpoint {
    Endpoint(EndpointUrl where, std::vector<SigningKey> with)
        : url(std::move(where)), keys(std::move(with)), lookup(url.host) {}

    EndpointUrl url;
    std::vector<SigningKey> keys;
    NameLookup lookup;
    std::vector<std::unique_ptr<Connection>> idle; // the latest used last

    std::unique_ptr<Connection> take_idle();
    void keep(std::unique_ptr<Connection> connection);
};

std::unique_ptr<Connection> HttpEventSender::Endpoint::take_idle() {
    const auto oldest = steady_clock::now() - kIdleAgeMax;
    std::erase_if(idle, [&](const auto& each) { return each->idle_since() < oldest; });
    while (!idle.empty()) {
        auto connection = std::move(idle.back());
        idle.pop_back();
        if (connection->looks_alive()) return connection;
    }
    return nullptr;
}

void HttpEventSender::Endpoint::keep(std::unique_ptr<Connection> connection) {
    if (idle.size() == kIdleMax) idle.erase(idle.begin());
    idle.push_back(std::move(connection));
}

HttpEventSender::HttpEventSender(const Clock& clock, const SenderOptions& options)
    : clock_(clock),
      private_networks_(options.private_networks),
      timeout_(options.timeout),
      user_agent_(options.user_agent) {}

HttpEventSender::~HttpEventSender() = default;

Result<std::unique_ptr<HttpEventSender>> HttpEventSender::open(const Clock& clock,
                                                               const SenderOptions& options) {
    std::unique_ptr<HttpEventSender> sender(new HttpEventSender(clock, options));
    for (const SenderOptions::Endpoint& endpoint : options.endpoints) {
        auto url = parse_endpoint_url(endpoint.url);
        if (!url) return tl::unexpected<Error>(url.error());
        auto keys = parse_secrets(endpoint.secret);
        if (!keys) return tl::unexpected<Error>(keys.error());
        if (url->scheme == EndpointUrl::Scheme::https && !sender->tls_) {
            auto tls = client_tls();
            if (!tls) return tl::unexpected<Error>(tls.error());
            sender->tls_ = std::move(*tls);
        }
        sender->endpoints_.push_back(std::make_unique<Endpoint>(std::move(*url), std::move(*keys)));
    }
    return sender;
}

void HttpEventSender::close() {
    for (const auto& endpoint : endpoints_) {
        endpoint->idle.clear();
        endpoint->lookup.close();
    }
}

std::string HttpEventSender::request_text(const Endpoint& endpoint,
                                          const EventMessage& message) const {
    const auto timestamp_s =
        std::chrono::floor<std::chrono::seconds>(clock_.now()).time_since_epoch().count();
    std::string text = "POST " + endpoint.url.target + " HTTP/1.1\r\n";
    const auto add = [&](std::string_view name, std::string_view value) {
        text.append(name).append(": ").append(value).append("\r\n");
    };
    add("Host", endpoint.url.authority);
    add("User-Agent", user_agent_);
    add("Content-Type", "application/cloudevents+json");
    add("Content-Length", std::to_string(message.body.size()));
    add("webhook-id", message.id);
    add("webhook-timestamp", std::to_string(timestamp_s));
    add("webhook-signature", sign(endpoint.keys, message.id, timestamp_s, message.body));
    return text.append("\r\n").append(message.body);
}

Task<SendResult> HttpEventSender::send(std::size_t endpoint, const EventMessage& message) {
    DB_ASSERT(endpoint < endpoints_.size());
    const Executor executor = co_await asio::this_coro::executor;
    std::string thrown;
    try {
        co_return co_await attempt(executor, *endpoints_[endpoint], message);
    } catch (const std::exception& error) { // no memory, no file descriptors
        thrown = error.what();
    }
    co_return failed(std::move(thrown));
}

Task<SendResult> HttpEventSender::attempt(Executor executor, Endpoint& endpoint,
                                          const EventMessage& message) {
    const SteadyTime deadline = steady_clock::now() + timeout_;
    const std::string request = request_text(endpoint, message);
    if (auto kept = endpoint.take_idle()) {
        const Exchange exchange = co_await kept->exchange(request, deadline);
        if (exchange.reusable) endpoint.keep(std::move(kept));
        if (!exchange.nothing_came) co_return result_of(exchange);
        // The receiver closed it while it was idle. The others are likely to be as stale.
        endpoint.idle.clear();
    }
    auto opened = co_await open_connection(executor, endpoint, deadline);
    if (!opened) co_return failed(opened.error().context);
    const Exchange exchange = co_await (*opened)->exchange(request, deadline);
    if (exchange.reusable) endpoint.keep(std::move(*opened));
    co_return result_of(exchange);
}

Task<HttpEventSender::Opened>
HttpEventSender::open_connection(Executor executor, Endpoint& endpoint, SteadyTime deadline) {
    const std::string& host = endpoint.url.host;
    auto addresses = co_await endpoint.lookup.addresses(deadline);
    if (!addresses) {
        const std::string why =
            addresses.error().is(Errc::timeout) ? "timed out" : addresses.error().context;
        co_return fail(Errc::unavailable, "looking up " + host + ": " + why);
    }
    std::string last = host + " has no address";
    if (private_networks_ == PrivateNetworks::refused) {
        std::erase_if(*addresses, [&](const asio::ip::address& address) {
            const auto network = special_network(address);
            if (!network) return false;
            const std::string text = address.to_string();
            last = (text == host ? host : host + " is " + text + ", which") + " is no public " +
                   "address (" + std::string(*network) +
                   "); webhooks.allow_private = true allows it";
            return true;
        });
    }
    for (std::size_t i = 0; i < addresses->size(); ++i) {
        // Each address gets its share, so that a silent one does not use up the whole attempt.
        const auto now = steady_clock::now();
        const auto share = (deadline - now) / static_cast<std::int64_t>(addresses->size() - i);
        auto opened =
            co_await connect_to(executor, endpoint, (*addresses)[i], now + share, deadline);
        if (opened) co_return opened;
        last = std::move(opened.error().context);
        if (steady_clock::now() >= deadline) break;
    }
    co_return fail(Errc::unavailable, std::move(last));
}

Task<HttpEventSender::Opened> HttpEventSender::connect_to(Executor executor, Endpoint& endpoint,
                                                          asio::ip::address address,
                                                          SteadyTime connect_deadline,
                                                          SteadyTime deadline) {
    const bool is_https = endpoint.url.scheme == EndpointUrl::Scheme::https;
    auto connection = std::make_unique<Connection>(executor, is_https ? &*tls_ : nullptr);
    const asio::ip::tcp::endpoint peer(address, endpoint.url.port);
    const auto connected = co_await connection->connect(peer, connect_deadline);
    if (!connected) co_return tl::unexpected<Error>(connected.error());
    if (is_https) {
        const auto secured = co_await connection->handshake(endpoint.url.host, deadline);
        if (!secured) co_return tl::unexpected<Error>(secured.error());
    }
    co_return connection;
}

} // namespace doorbuster::webhook
