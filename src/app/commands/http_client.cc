#include "app/commands/http_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <fmt/format.h>
#include <utility>

#include "app/load/connection.h"

namespace doorbuster {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

constexpr std::uint64_t kBodyMax = 64 * 1024 * 1024; // a page of 1,000 orders is below 1 MiB

} // namespace

// The connection. Every step is started asynchronously and run to its end, because only so does
// Beast end it at the deadline.
class HttpClient::Link {
public:
    // `tls`: null for plain TCP.
    Link(HttpClientOptions options, load::Url url, std::unique_ptr<asio::ssl::context> tls)
        : options_(std::move(options)), url_(std::move(url)), tls_(std::move(tls)) {}

    [[nodiscard]] Result<HttpReply> call(Request request);
    [[nodiscard]] const std::string& url() const { return options_.url; }

private:
    using Plain = beast::tcp_stream;
    using Secure = beast::ssl_stream<beast::tcp_stream>;

    [[nodiscard]] Plain& socket() { return secure_ ? secure_->next_layer() : *plain_; }
    [[nodiscard]] bool is_open() const { return plain_ || secure_; }
    void close() {
        secure_.reset();
        plain_.reset();
        buffer_.clear();
    }
    [[nodiscard]] Result<void> connect();
    [[nodiscard]] Result<void> start_tls();
    [[nodiscard]] error_code exchange(const Request& request, Response& response);
    [[nodiscard]] tl::unexpected<Error> explain(std::string_view doing, error_code error) const;
    void prepare(Request& request) const;

    // `start` begins an operation with the handler that it gets; returns when that has ended.
    template <class Start> error_code run(Start start) {
        error_code result;
        start([&](error_code error, auto&&...) { result = error; });
        io_.restart();
        io_.run();
        return result;
    }

    HttpClientOptions options_;
    load::Url url_;
    asio::io_context io_{1};
    std::unique_ptr<asio::ssl::context> tls_;
    std::optional<Plain> plain_; // one of the two while connected
    std::optional<Secure> secure_;
    beast::flat_buffer buffer_;
    std::chrono::steady_clock::time_point deadline_;
};

void HttpClient::Link::prepare(Request& request) const {
    request.version(11);
    request.target(url_.prefix + std::string(request.target()));
    request.set(http::field::host, url_.authority());
    request.set(http::field::user_agent, "doorbuster");
    request.set(http::field::accept, "application/json");
    if (!options_.admin_token.empty()) {
        request.set(http::field::authorization, "Bearer " + options_.admin_token);
    }
    if (!request.body().empty()) request.set(http::field::content_type, "application/json");
    request.prepare_payload();
}

Result<HttpReply> HttpClient::Link::call(Request request) {
    prepare(request);
    deadline_ = std::chrono::steady_clock::now() + options_.timeout;
    const bool was_open = is_open();
    if (!was_open) {
        if (auto connected = connect(); !connected) return tl::unexpected<Error>(connected.error());
    }
    Response response;
    error_code error = exchange(request, response);
    const bool may_be_stale = was_open && request.method() == http::verb::get;
    if (error && error != beast::error::timeout && may_be_stale) {
        close();
        if (auto connected = connect(); !connected) return tl::unexpected<Error>(connected.error());
        error = exchange(request, response);
    }
    if (error) {
        close();
        return explain("talking to", error);
    }
    if (!response.keep_alive()) close();
    HttpReply reply;
    reply.status = response.result_int();
    reply.content_type = std::string(response[http::field::content_type]);
    reply.body = std::move(response.body());
    return reply;
}

Result<void> HttpClient::Link::connect() {
    error_code error;
    asio::ip::tcp::resolver resolver(io_);
    const auto found = resolver.resolve(url_.host, std::to_string(url_.port), error);
    if (error) {
        return fail(Errc::unavailable,
                    fmt::format("cannot find the host of {}: {}", options_.url, error.message()));
    }
    if (tls_) {
        secure_.emplace(io_, *tls_);
    } else {
        plain_.emplace(io_);
    }
    socket().expires_at(deadline_);
    error = run([&](auto handler) { socket().async_connect(found, handler); });
    if (error) {
        close();
        return explain("connecting to", error);
    }
    error_code ignored; // only a matter of speed
    socket().socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    return tls_ ? start_tls() : Result<void>();
}

Result<void> HttpClient::Link::start_tls() {
    error_code error;
    secure_->set_verify_callback(asio::ssl::host_name_verification(url_.host), error);
    // An address is no server name (RFC 6066 section 3).
    error_code is_name;
    asio::ip::make_address(url_.host, is_name);
    if (!error && is_name &&
        SSL_set_tlsext_host_name(secure_->native_handle(), url_.host.c_str()) != 1) {
        error = asio::error::invalid_argument;
    }
    if (!error) {
        error = run([&](auto handler) {
            secure_->async_handshake(asio::ssl::stream_base::client, handler);
        });
    }
    if (!error) return {};
    close();
    if (error == beast::error::timeout) return explain("connecting to", error);
    return fail(Errc::io, fmt::format("no TLS with {}: {}; a certificate of your own authority is "
                                      "trusted when --ca-file or SSL_CERT_FILE names it",
                                      options_.url, error.message()));
}

error_code HttpClient::Link::exchange(const Request& request, Response& response) {
    http::response_parser<http::string_body> parser;
    parser.body_limit(kBodyMax);
    socket().expires_at(deadline_);
    const auto both = [&](auto& stream) {
        const error_code error =
            run([&](auto handler) { http::async_write(stream, request, handler); });
        if (error) return error;
        return run([&](auto handler) { http::async_read(stream, buffer_, parser, handler); });
    };
    const error_code error = secure_ ? both(*secure_) : both(*plain_);
    if (!error) response = parser.release();
    return error;
}

tl::unexpected<Error> HttpClient::Link::explain(std::string_view doing, error_code error) const {
    const std::string& url = options_.url;
    if (error == asio::error::connection_refused) {
        return fail(Errc::unavailable,
                    fmt::format("no doorbuster answers at {}: connection refused; start one with "
                                "`doorbuster serve`",
                                url));
    }
    if (error == beast::error::timeout || error == asio::error::timed_out) {
        const double seconds = std::chrono::duration<double>(options_.timeout).count();
        return fail(Errc::timeout, fmt::format("no answer from {} within {} s", url, seconds));
    }
    if (error == http::error::end_of_stream || error == asio::error::eof ||
        error == asio::error::connection_reset || error == http::error::partial_message) {
        return fail(Errc::io, fmt::format("{} closed the connection without an answer", url));
    }
    if (error == http::error::body_limit) {
        return fail(Errc::io, fmt::format("the answer of {} is longer than 64 MiB", url));
    }
    if (error.category() == make_error_code(http::error::bad_version).category()) {
        return fail(Errc::io, fmt::format("{} does not answer in HTTP: {}", url, error.message()));
    }
    return fail(Errc::io, fmt::format("{} {} failed: {}", doing, url, error.message()));
}

Result<HttpClient> HttpClient::create(HttpClientOptions options) {
    auto url = load::parse_url(options.url);
    if (!url) return tl::unexpected<Error>(url.error());
    std::unique_ptr<asio::ssl::context> tls;
    if (url->tls) {
        auto made = load::make_tls({options.insecure, options.ca_file});
        if (!made) return tl::unexpected<Error>(made.error());
        tls = std::move(*made);
    }
    return HttpClient(std::make_unique<Link>(std::move(options), std::move(*url), std::move(tls)));
}

HttpClient::HttpClient(std::unique_ptr<Link> link) : link_(std::move(link)) {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpReply> HttpClient::get(std::string_view target) {
    Request request;
    request.method(http::verb::get);
    request.target(std::string(target));
    return link_->call(std::move(request));
}

Result<HttpReply> HttpClient::send(std::string_view method, std::string_view target,
                                   std::string body, std::vector<HttpHeader> headers) {
    Request request;
    request.method_string(std::string(method));
    request.target(std::string(target));
    request.body() = std::move(body);
    for (const HttpHeader& header : headers) request.set(header.name, header.value);
    return link_->call(std::move(request));
}

const std::string& HttpClient::url() const { return link_->url(); }

std::string url_escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
                                c == '~';
        if (unreserved) {
            out += c;
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return out;
}

} // namespace doorbuster
