// GET /v1/admin/events: the figures of all sales and of the process, as server-sent events, for the
// console. The texts are ConsoleFeed's; a stream only sends them on.
#include <boost/asio/this_coro.hpp>
#include <memory>
#include <utility>

#include "adapters/http/api.h"

namespace doorbuster::http {
namespace {

// Not for caches, nor for a proxy's buffer (nginx).
constexpr std::string_view kHeaders = "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n";

class ConsoleStream final : public BodyStream {
public:
    explicit ConsoleStream(std::unique_ptr<ConsoleView> view) : view_(std::move(view)) {}

    Task<std::optional<std::string>> next() override {
        const ConsoleText text = co_await view_->next();
        if (!text) co_return std::nullopt;
        co_return *text;
    }
    void stop() override { view_->stop(); }

private:
    std::unique_ptr<ConsoleView> view_; // null for HEAD, which sends nothing
};

} // namespace

Task<Response> Api::admin_events(const Request& request) {
    if (parts_.console == nullptr) co_return problem(Code::not_found);
    const auto query = parse_query(request.query, {"sale"});
    if (!query) co_return problem(query.error());
    const auto sale = query->find("sale");
    if (sale != query->end() && !is_sale_id(sale->second)) {
        const InvalidField wrong{"sale", "must be the id of a sale"};
        co_return problem(wrong);
    }
    std::unique_ptr<ConsoleView> view;
    if (request.method != Method::head) {
        const Executor core = co_await boost::asio::this_coro::executor;
        view = parts_.console->view(sale == query->end() ? "" : sale->second, core);
        if (!view) {
            Response refused = problem(Code::overloaded, "Too many consoles are open. Try again.");
            refused.headers = refusals_.retry_after(Duration(5000));
            co_return refused;
        }
    }
    Response response;
    response.content_type = "text/event-stream";
    response.headers = kHeaders;
    response.stream = std::make_unique<ConsoleStream>(std::move(view));
    co_return response;
}

} // namespace doorbuster::http
