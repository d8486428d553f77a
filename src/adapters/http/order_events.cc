// GET /v1/orders/{order_id}/events: an order's status now and at each change, as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <memory>
#include <utility>

#include "adapters/http/api.h"
#include "domain/order_json.h"
#include "domain/order_life.h"

namespace doorbuster::http {
namespace {

using Steady = std::chrono::steady_clock;

// Proxies close what is silent for a minute, and only a write tells that a client's network died.
constexpr std::chrono::seconds kKeepAlive{15};
constexpr std::string_view kKeepAliveComment = ":\n\n";
// Browsers wait 3 s by default before they connect again.
constexpr std::string_view kRetry = "retry: 1000\n\n";
// After a look that failed.
constexpr Duration kLookAgain{1'000};
// Not for caches, nor for a proxy's buffer (nginx).
constexpr std::string_view kHeaders = "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n";

class OrderStream final : public BodyStream {
public:
    struct Parts {
        OrderFeed& feed;
        OrderService& orders;
        std::shared_ptr<AsyncLock> looks;
    };
    // Begun before `order` was read, so that no change is missed. Without a watch: for HEAD.
    OrderStream(Parts parts, std::unique_ptr<OrderWatch> watch, Order order, std::string sale_id)
        : parts_(std::move(parts)),
          watch_(std::move(watch)),
          order_(std::move(order)),
          sale_id_(std::move(sale_id)),
          look_at_(Steady::now() + parts_.feed.poll_interval()) {}

    Task<std::optional<std::string>> next() override;
    void stop() override { watch_->stop(); }

private:
    [[nodiscard]] std::string event() const;
    // True: the order has changed.
    Task<bool> look();

    Parts parts_;
    std::unique_ptr<OrderWatch> watch_;
    Order order_; // as the client knows it
    std::string sale_id_;
    Steady::time_point look_at_;
    bool has_begun_ = false;
};

std::string OrderStream::event() const {
    return "event: status\nid: " + std::to_string(order_.version) +
           "\ndata: " + order_json(order_, sale_id_) + "\n\n";
}

Task<bool> OrderStream::look() {
    const AsyncLock::Held turn = co_await parts_.looks->take();
    if (watch_->is_stopped()) co_return false;
    auto order = co_await parts_.orders.find(order_.id);
    look_at_ = Steady::now() + (order ? parts_.feed.poll_interval() : kLookAgain);
    if (!order && order.error().is(Errc::not_found)) watch_->stop();
    if (!order || order->version <= order_.version) co_return false;
    order_ = std::move(*order);
    co_return true;
}

Task<std::optional<std::string>> OrderStream::next() {
    // Also of a stream that was stopped already: an answer without an event says nothing.
    if (!std::exchange(has_begun_, true)) co_return std::string(kRetry) + event();
    const auto silent_until = Steady::now() + kKeepAlive;
    while (!is_final(order_) && !watch_->is_stopped()) {
        const auto now = Steady::now();
        if (now >= silent_until) co_return std::string(kKeepAliveComment);
        const auto wait = std::max(std::min(silent_until, look_at_) - now, Steady::duration(0));
        const bool was_told = co_await watch_->changed(std::chrono::ceil<Duration>(wait));
        if (!was_told && Steady::now() < look_at_) continue;
        const bool has_changed = co_await look();
        if (has_changed) co_return event();
    }
    co_return std::nullopt;
}

} // namespace

Task<Response> Api::order_events(const Request& request, std::string_view id) {
    auto reader = co_await order_reader(request);
    if (!reader) co_return std::move(reader.error());
    const auto order_id = OrderId::parse(id);
    std::unique_ptr<OrderWatch> watch;
    if (order_id && request.method != Method::head) {
        const Executor core = co_await boost::asio::this_coro::executor;
        watch = parts_.feed.watch(*order_id, core);
        if (!watch) {
            Response refused =
                problem(Code::overloaded, "Too many streams of events are open. Try again.");
            refused.headers = refusals_.retry_after(Duration(1000));
            co_return refused;
        }
    }
    auto found = co_await visible_order(*reader, id);
    if (!found) co_return std::move(found.error());
    Response response;
    response.content_type = "text/event-stream";
    response.headers = kHeaders;
    OrderStream::Parts parts{parts_.feed, parts_.orders, looks_};
    response.stream = std::make_unique<OrderStream>(std::move(parts), std::move(watch),
                                                    std::move(found->order), found->sale_id);
    co_return response;
}

} // namespace doorbuster::http
