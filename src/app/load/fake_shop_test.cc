#include "app/load/fake_shop.h"

#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

namespace doorbuster::load {

namespace asio = boost::asio;
using asio::ip::tcp;

FakeShop::FakeShop(Sale demo, Spoil spoil, asio::ssl::context* tls)
    : spoil_(std::move(spoil)),
      tls_(tls),
      acceptor_(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
      port_(acceptor_.local_endpoint().port()) {
    sales_["demo"].sale = demo;
    acceptor_thread_ = std::thread([this] { accept(); });
}

FakeShop::~FakeShop() {
    {
        const std::scoped_lock lock(mutex_);
        is_ending_ = true;
        ended_.notify_all();
        // Wakes the thread in accept(); closing alone would not.
        ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
        boost::system::error_code ignored;
        for (Socket& socket : sockets_) socket.shutdown(tcp::socket::shutdown_both, ignored);
    }
    acceptor_thread_.join();
    for (std::thread& session : sessions_) session.join();
}

std::string FakeShop::url(const std::string& host) const {
    return fmt::format("{}://{}:{}", tls_ != nullptr ? "https" : "http", host, port_);
}

FakeShop::Sale FakeShop::sale(const std::string& id) {
    const std::scoped_lock lock(mutex_);
    return sales_.at(id).sale;
}

std::vector<std::string> FakeShop::sales() {
    const std::scoped_lock lock(mutex_);
    std::vector<std::string> out;
    out.reserve(sales_.size());
    for (const auto& [id, state] : sales_) out.push_back(id);
    return out;
}

bool FakeShop::is_closed(const std::string& id) {
    const std::scoped_lock lock(mutex_);
    return sales_.at(id).is_closed;
}

void FakeShop::set_sale(const std::string& id, const Sale& sale) {
    const std::scoped_lock lock(mutex_);
    sales_[id].sale = sale;
}

void FakeShop::stall(std::int64_t ms) {
    std::unique_lock lock(mutex_);
    ended_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return is_ending_; });
}

void FakeShop::accept() {
    for (;;) {
        boost::system::error_code error;
        Socket socket = acceptor_.accept(error);
        const std::scoped_lock lock(mutex_);
        if (error || is_ending_) return;
        ++connections_;
        Socket& kept = sockets_.emplace_back(std::move(socket));
        sessions_.emplace_back([this, &kept] { serve(kept); });
    }
}

void FakeShop::serve(Socket& socket) {
    try {
        if (tls_ != nullptr) {
            asio::ssl::stream<Socket&> stream(socket, *tls_);
            stream.handshake(asio::ssl::stream_base::server);
            talk(stream);
        } else {
            talk(socket);
        }
    } catch (const boost::system::system_error&) {
        // The client has gone: tests do that.
    }
    const std::scoped_lock lock(mutex_);
    boost::system::error_code ignored;
    socket.shutdown(tcp::socket::shutdown_both, ignored);
    if (!is_ending_) socket.close(ignored);
}

template <class Stream> void FakeShop::talk(Stream& stream) {
    std::string buffer;
    for (;;) {
        const std::size_t head = asio::read_until(stream, asio::dynamic_buffer(buffer), "\r\n\r\n");
        ShopRequest request;
        request.method = buffer.substr(0, buffer.find(' '));
        const std::size_t path = request.method.size() + 1;
        request.path = buffer.substr(path, buffer.find(' ', path) - path);
        const auto header = [&](const std::string& name) -> std::string {
            const std::size_t at = buffer.find("\r\n" + name + ": ");
            if (at >= head) return {};
            const std::size_t value = at + name.size() + 4;
            return buffer.substr(value, buffer.find("\r\n", value) - value);
        };
        request.user = header("X-User-Id");
        request.key = header("Idempotency-Key");
        const std::string length_text = header("Content-Length");
        const std::size_t length = length_text.empty() ? 0 : std::stoul(length_text);
        if (buffer.size() < head + length) {
            asio::read(stream, asio::dynamic_buffer(buffer),
                       asio::transfer_exactly(head + length - buffer.size()));
        }
        request.body = buffer.substr(head, length);
        buffer.erase(0, head + length);

        const ShopAnswer out = answer(request);
        if (out.how == ShopAnswer::How::close) return;
        if (out.how == ShopAnswer::How::silence) {
            ++silent_;
            std::unique_lock lock(mutex_);
            ended_.wait(lock, [this] { return is_ending_; });
            return;
        }
        std::string text = fmt::format("HTTP/1.1 {} X\r\nContent-Type: {}\r\n{}", out.status,
                                       out.content_type, out.headers);
        text += fmt::format("Content-Length: {}\r\n\r\n{}", out.body.size(), out.body);
        if (out.how == ShopAnswer::How::half_then_close) text.resize(text.size() / 2);
        asio::write(stream, asio::buffer(text));
        if (out.how != ShopAnswer::How::whole) return;
    }
}

ShopAnswer FakeShop::problem(int status, const std::string& code, const std::string& more) {
    ShopAnswer out;
    out.status = status;
    out.content_type = "application/problem+json";
    out.body = fmt::format(R"({{"type":"/problems/{0}","title":"T","status":{1},)"
                           R"("detail":"D","code":"{0}"{2}}})",
                           code, status, more);
    return out;
}

std::string FakeShop::sale_json(const std::string& id, const State& state) {
    const FakeShop::Sale& sale = state.sale;
    const Units told = sale.per_user_limit_told;
    return fmt::format(R"({{"id":"{}","stock":{},"remaining":{},"per_user_limit":{},)"
                       R"("payment_timeout_s":0}})",
                       id, sale.stock, sale.remaining, told > 0 ? told : sale.per_user_limit);
}

ShopAnswer FakeShop::answer(const ShopRequest& asked) {
    ShopRequest request = asked;
    const std::string sales = "/v1/sales";
    ShopAnswer out;
    if (request.method == "POST" && request.path == sales) {
        const boost::json::value terms = boost::json::parse(request.body);
        const std::scoped_lock lock(mutex_);
        const std::string id(terms.at("id").as_string());
        State& state = sales_[id];
        state.sale.stock = terms.at("stock").as_int64();
        state.sale.remaining = state.sale.stock;
        out.status = 201;
        out.body = sale_json(id, state);
        return out;
    }
    const std::size_t id_at = sales.size() + 1;
    const std::string id = request.path.substr(id_at, request.path.find('/', id_at) - id_at);
    {
        const std::scoped_lock lock(mutex_);
        const auto found = sales_.find(id);
        if (found == sales_.end()) return problem(404, "not_found");
        State& state = found->second;
        if (request.method == "GET" || request.path.ends_with("/close")) {
            state.is_closed = state.is_closed || request.method == "POST";
            out.body = sale_json(id, state);
            return out;
        }
        request.quantity = boost::json::parse(request.body).at("quantity").as_int64();
        request.number = ++purchases_;
        out = purchase(state, id, request);
    }
    if (spoil_) spoil_(request, out);
    return out;
}

ShopAnswer FakeShop::purchase(State& state, const std::string& id, const ShopRequest& request) {
    Buyer& buyer = state.buyers[request.user];
    ShopAnswer out;
    out.status = 202;
    std::string order = fmt::format("order-{}", next_order_);
    if (const auto bound = buyer.by_key.find(request.key); bound != buyer.by_key.end()) {
        out.body = bound->second;
        if (boost::json::parse(out.body).at("quantity").as_int64() != request.quantity) {
            return problem(422, "idempotency_mismatch");
        }
        order = boost::json::parse(out.body).at("order_id").as_string().c_str();
        out.headers = "Idempotency-Replayed: true\r\nLocation: /v1/orders/" + order + "\r\n";
        return out;
    }
    if (state.is_closed) return problem(410, "closed");
    if (state.sale.remaining == 0) return problem(409, "sold_out", R"(,"remaining":0)");
    if (buyer.units + request.quantity > state.sale.per_user_limit) {
        return problem(409, "limit_reached", fmt::format(R"(,"order_id":"{}")", buyer.last_order));
    }
    if (state.sale.remaining < request.quantity) {
        return problem(409, "sold_out", fmt::format(R"(,"remaining":{})", state.sale.remaining));
    }
    ++next_order_;
    state.sale.remaining -= request.quantity;
    buyer.units += request.quantity;
    buyer.last_order = order;
    out.headers = "Location: /v1/orders/" + order + "\r\n";
    out.body = fmt::format(R"({{"order_id":"{}","sale_id":"{}","user_id":"{}","quantity":{},)"
                           R"("status":"queued","created_at":"2026-11-27T09:00:00.000Z"}})",
                           order, id, request.user, request.quantity);
    if (!request.key.empty()) buyer.by_key[request.key] = out.body;
    return out;
}

} // namespace doorbuster::load
