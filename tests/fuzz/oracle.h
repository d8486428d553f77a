// What every answer must be like, and what the answers of one client must be together: the
// contract, written down a second time. Used by one thread.
#pragma once

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/json/parse.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "adapters/http/message.h"
#include "adapters/http/response_writer.h"
#include "engine/audit.h"
#include "ports/fake_order_store.h"
#include "require.h"
#include "shop.h"

namespace doorbuster::fuzz {

// A request that keeps its texts.
class SentRequest {
public:
    SentRequest(const http::Request& request, bool is_http_1_0)
        : method_(request.method),
          is_http_1_0_(is_http_1_0),
          keep_alive_(request.keep_alive),
          has_key_(request.has_idempotency_key),
          body_is_encoded_(request.body_is_encoded),
          method_text_(request.method_text),
          path_(request.path),
          query_(request.query),
          host_(request.host),
          origin_(request.origin),
          authorization_(request.authorization),
          content_type_(request.content_type),
          key_(request.idempotency_key),
          user_(request.user_id),
          forwarded_for_(request.forwarded_for),
          request_id_(request.request_id),
          body_(request.body) {}

    // Views of this.
    [[nodiscard]] http::Request request() const {
        http::Request r;
        r.method = method_;
        r.keep_alive = keep_alive_;
        r.has_idempotency_key = has_key_;
        r.body_is_encoded = body_is_encoded_;
        r.method_text = method_text_;
        r.path = path_;
        r.query = query_;
        r.host = host_;
        r.origin = origin_;
        r.authorization = authorization_;
        r.content_type = content_type_;
        r.idempotency_key = key_;
        r.user_id = user_;
        r.forwarded_for = forwarded_for_;
        r.request_id = request_id_.empty() ? std::string_view("made-1") : request_id_;
        r.body = body_;
        r.peer = boost::asio::ip::address_v4::loopback();
        r.listener_is_loopback = true;
        return r;
    }
    [[nodiscard]] bool is_http_1_0() const { return is_http_1_0_; }

    friend bool operator==(const SentRequest&, const SentRequest&) = default;

private:
    http::Method method_;
    bool is_http_1_0_;
    bool keep_alive_;
    bool has_key_;
    bool body_is_encoded_;
    std::string method_text_, path_, query_, host_, origin_, authorization_, content_type_, key_,
        user_, forwarded_for_, request_id_, body_;
};

class Oracle {
public:
    Oracle(fixture::FakeOrderStore& store, unsigned options) : store_(store), options_(options) {}

    void check(const SentRequest& sent, const http::Response& response) {
        const http::Request request = sent.request();
        const Answer answer = read(request, sent.is_http_1_0(), response);
        if (answer.status >= 400) check_problem(answer);
        const auto sale = purchased_sale(request);
        if (sale) {
            check_purchase(request, *sale, answer);
        } else {
            require(answer.status != 202, "only a purchase is accepted", answer.text);
            require(request.method != http::Method::post || request.path != "/v1/sales" ||
                        answer.status != 404,
                    "a sale that is created is there", answer.text);
            check_order(request, answer);
        }
    }

    void check_protocol_error(const http::Response& response, std::uint16_t status) {
        http::Request nothing;
        nothing.request_id = "made-1";
        const Answer answer = read(nothing, false, response);
        require(answer.status == status, "the parser's status is answered", answer.text);
        check_problem(answer);
    }

    // Every promise is in the store, and nothing but promises and what a 503 announced.
    void check_books(const std::vector<SaleAudit>& rows) {
        for (const SaleAudit& row : rows) {
            require(row.balanced(), "the books balance",
                    row.sale_id + ": " + (row.balanced() ? "" : row.violations.front()));
        }
        std::size_t promised = 0;
        for (const Order& order : store_.orders()) {
            const std::string id = order.id.text();
            const auto at = promises_.find(id);
            if (at == promises_.end()) {
                require(announced_.contains(id), "an order was promised or announced", id);
                continue;
            }
            ++promised;
            // Its sale may have a payment step; the guard never has to stop an order.
            const bool is_right = order.expires_at ? order.status != OrderStatus::refused
                                                   : order.status == OrderStatus::confirmed;
            require(at->second.user == order.user && at->second.quantity == order.quantity &&
                        is_right,
                    "an order is what was promised", id);
        }
        require(promised == promises_.size(), "every promise is an order");
    }

private:
    struct Answer {
        unsigned status = 0;
        std::string text; // head and body, for people
        std::map<std::string, std::string> headers;
        bool is_head = false;
        boost::json::object json; // if it is any

        [[nodiscard]] std::string header(const std::string& name) const {
            const auto at = headers.find(name);
            return at == headers.end() ? "" : at->second;
        }
        [[nodiscard]] std::string field(std::string_view name) const {
            const auto* value = json.if_contains(name);
            return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
        }
        [[nodiscard]] std::int64_t number(std::string_view name) const {
            const auto* value = json.if_contains(name);
            return value != nullptr && value->is_int64() ? value->get_int64() : -1;
        }
    };
    struct Promise {
        std::string user;
        Units quantity = 0;
    };
    using Key = std::tuple<std::string, std::string, std::string>; // sale, user, key

    // Through the bytes that a client gets, as Beast's reader of responses reads them.
    [[nodiscard]] static Answer read(const http::Request& request, bool is_http_1_0,
                                     const http::Response& response) {
        http::ResponseFrame frame;
        frame.date_line = "Date: Fri, 27 Nov 2026 00:00:00 GMT\r\n";
        frame.request_id = request.request_id;
        frame.is_head = request.method == http::Method::head;
        const bool is_stream = response.stream != nullptr;
        frame.keep_alive = request.keep_alive && !response.close && !(is_stream && is_http_1_0);
        frame.is_http_1_0 = is_http_1_0;
        http::OutputBuffer out;
        http::write_response(out, response, frame);
        if (is_stream && !frame.is_head && !is_http_1_0) http::write_last_chunk(out);

        Answer answer;
        answer.text = out.unsent();
        answer.is_head = frame.is_head;
        boost::beast::http::response_parser<boost::beast::http::string_body> parser;
        parser.skip(frame.is_head);
        parser.eager(true);
        boost::system::error_code error;
        const std::size_t taken =
            parser.put(boost::asio::buffer(answer.text.data(), answer.text.size()), error);
        if (!error && is_stream && is_http_1_0 && !frame.is_head) parser.put_eof(error);
        require(!error && parser.is_done() && taken == answer.text.size(),
                "an answer is one HTTP response", answer.text);
        const auto& message = parser.get();
        answer.status = message.result_int();
        for (const auto& field : message) {
            const bool is_new = answer.headers.emplace(field.name_string(), field.value()).second;
            require(is_new, "a header comes once", answer.text);
        }
        require(answer.header("X-Request-Id") == request.request_id, "the request's id comes back",
                answer.text);
        const std::string length = std::to_string(response.content().size());
        require(answer.header("Content-Length") == (is_stream ? "" : length),
                "the length is told where it is known", answer.text);
        const std::string type = answer.header("Content-Type");
        if (type == "application/json" || type == "application/problem+json") {
            boost::system::error_code bad;
            auto value =
                boost::json::parse({response.content().data(), response.content().size()}, bad);
            require(!bad && value.is_object(), "a body is a JSON object in UTF-8", answer.text);
            answer.json = std::move(value.get_object());
        }
        return answer;
    }

    // Section 3 of the contract.
    [[nodiscard]] unsigned status_of(const std::string& code) const {
        static const std::map<std::string, unsigned> kStatuses = {
            {"sold_out", 409},
            {"limit_reached", 409},
            {"not_started", 409},
            {"paused", 409},
            {"closed", 410},
            {"rate_limited", 429},
            {"overloaded", 503},
            {"unavailable", 503},
            {"unauthorized", 401},
            {"idempotency_mismatch", 422},
            {"forbidden", 403},
            {"not_found", 404},
            {"timeout", 408},
            {"method_not_allowed", 405},
            {"uri_too_long", 414},
            {"payload_too_large", 413},
            {"headers_too_large", 431},
            {"unsupported_media_type", 415},
            {"invalid_request", 400},
            {"already_exists", 409},
            {"invalid_state", 409},
            {"below_sold", 409},
            {"not_payable", 409},
            {"not_cancellable", 409},
        };
        if (code == "rate_limited" && (options_ & kLimitsSay503) != 0) return 503;
        const auto at = kStatuses.find(code);
        return at == kStatuses.end() ? 0 : at->second;
    }

    void check_problem(const Answer& answer) const {
        const std::string code = answer.field("code");
        require(answer.header("Content-Type") == "application/problem+json",
                "an error is a problem", answer.text);
        require(status_of(code) == answer.status, "a code has its status", answer.text);
        require(answer.number("status") == answer.status, "the body says the status", answer.text);
        require(answer.field("type") == "/problems/" + code, "the type names the code",
                answer.text);
        require(!answer.field("title").empty() && !answer.field("detail").empty(),
                "a problem says what is wrong", answer.text);
        const std::string wait = answer.header("Retry-After");
        const bool is_number = !wait.empty() && wait.size() <= 10 && wait != "0" &&
                               wait.find_first_not_of("0123456789") == std::string::npos &&
                               std::stoll(wait) <= 2'147'483'647;
        require(wait.empty() || is_number, "Retry-After is whole seconds", answer.text);
        if (answer.status == 503 || answer.status == 429 || code == "not_started") {
            require(is_number, "who may return is told when", answer.text);
        }
        require((code == "method_not_allowed") == !answer.header("Allow").empty(),
                "405 carries Allow", answer.text);
        if (code == "invalid_request") {
            require(!answer.field("field").empty(), "the field is named", answer.text);
        }
        if (code == "sold_out") {
            require(answer.number("remaining") >= 0, "sold_out says what remains", answer.text);
        }
        if (code == "rate_limited") {
            require(!answer.header("RateLimit").empty() &&
                        !answer.header("RateLimit-Policy").empty(),
                    "a limit says what it is", answer.text);
        }
    }

    [[nodiscard]] static std::optional<std::string> purchased_sale(const http::Request& request) {
        constexpr std::string_view kBefore = "/v1/sales/";
        constexpr std::string_view kAfter = "/purchases";
        std::string_view path = request.path;
        if (request.method != http::Method::post || path.size() <= kBefore.size() + kAfter.size() ||
            !path.starts_with(kBefore) || !path.ends_with(kAfter)) {
            return std::nullopt;
        }
        path.remove_prefix(kBefore.size());
        path.remove_suffix(kAfter.size());
        return std::string(path);
    }

    [[nodiscard]] std::string user_of(const http::Request& request) const {
        if ((options_ & kWithTokens) == 0) return std::string(request.user_id);
        std::string_view token = request.authorization;
        if (token.size() > 7) token.remove_prefix(7); // "Bearer "
        while (!token.empty() && (token.front() == ' ' || token.front() == '\t')) {
            token.remove_prefix(1);
        }
        return std::string(token);
    }

    void check_purchase(const http::Request& request, const std::string& sale,
                        const Answer& answer) {
        const bool has_key = request.has_idempotency_key;
        const Key key{sale, user_of(request), std::string(request.idempotency_key)};
        const auto bound = has_key ? keys_.find(key) : keys_.end();
        if (answer.status == 202) return accept(request, sale, key, answer);
        const std::string announced = answer.field("order_id");
        if (answer.status == 503 && !announced.empty()) {
            announced_.insert(announced);
            if (has_key) keys_.emplace(key, announced);
            return;
        }
        if (bound == keys_.end()) {
            require(answer.status != 422, "only a bound key can be mismatched", answer.text);
            return;
        }
        require(answer.status != 409 && answer.status != 410 &&
                    answer.field("code") != "rate_limited",
                "a bound key wins over every refusal", answer.text);
    }

    void accept(const http::Request& request, const std::string& sale, const Key& key,
                const Answer& answer) {
        const std::string id = answer.field("order_id");
        const std::string user = answer.field("user_id");
        const Units quantity = answer.number("quantity");
        require(OrderId::parse(id).has_value() && quantity >= 1 && user == user_of(request) &&
                    answer.field("sale_id") == sale && answer.field("status") == "queued" &&
                    answer.header("Location") == "/v1/orders/" + id,
                "a 202 says what was bought", answer.text);
        require(!request.body.empty() || quantity == 1, "an empty body buys one", answer.text);
        const bool is_replay = answer.header("Idempotency-Replayed") == "true";
        const auto bound = request.has_idempotency_key ? keys_.find(key) : keys_.end();
        if (bound != keys_.end()) {
            require(is_replay && bound->second == id, "a key gives its order again", answer.text);
            // What a 503 announced has become a promise.
            const Promise& promise =
                promises_.try_emplace(id, Promise{user, quantity}).first->second;
            require(promise.user == user && promise.quantity == quantity, "a replay says the same",
                    answer.text);
            return;
        }
        require(!is_replay, "only a bound key is replayed", answer.text);
        require(promises_.try_emplace(id, Promise{user, quantity}).second, "order ids are unique",
                answer.text);
        if (request.has_idempotency_key) keys_.emplace(key, id);
        const auto stored = store_.find_sale(sale);
        sold_[sale] += quantity;
        require(stored.has_value(), "a sale that sells is there", answer.text);
        if (stored->terms.payment_timeout > Duration(0)) return; // what is given back sells again
        require(sold_[sale] <= stored->terms.stock, "no more is sold than there is", answer.text);
    }

    // An accepted order is there for its buyer.
    void check_order(const http::Request& request, const Answer& answer) const {
        constexpr std::string_view kBefore = "/v1/orders/";
        const bool is_get =
            request.method == http::Method::get || request.method == http::Method::head;
        if (!is_get || !request.path.starts_with(kBefore)) return;
        std::string_view order = request.path.substr(kBefore.size());
        constexpr std::string_view kEvents = "/events";
        if (order.ends_with(kEvents)) order.remove_suffix(kEvents.size());
        const auto at = promises_.find(std::string(order));
        if (at == promises_.end() || at->second.user != user_of(request)) return;
        require(answer.status == 200 || answer.field("code") == "rate_limited",
                "an order is shown to its buyer", answer.text);
    }

    fixture::FakeOrderStore& store_;
    unsigned options_;
    std::map<Key, std::string> keys_;         // to the order's id
    std::map<std::string, Promise> promises_; // by order id: what 202s said
    std::set<std::string> announced_;         // order ids in 503s
    std::map<std::string, Units> sold_;       // by sale
};

} // namespace doorbuster::fuzz
