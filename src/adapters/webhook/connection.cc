#include "adapters/webhook/connection.h"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/ssl.hpp>
#include <cctype>
#include <charconv>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <string_view>
#include <sys/socket.h>
#include <utility>

namespace doorbuster::webhook {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

using Parser = http::response_parser<http::buffer_body>;

constexpr int kInterimMax = 4; // 1xx answers before the real one
// The event is delivered once its status is known: the rest is only worth a moment.
constexpr std::chrono::seconds kBodyPatience{1};

// Delay-seconds of RFC 9110 10.2.3; a date is not honoured.
std::optional<Duration> retry_after_of(std::string_view text) {
    std::int64_t seconds = 0;
    const auto [end, error] = std::from_chars(text.begin(), text.end(), seconds);
    if (end != text.end() || text.empty() || seconds < 0) return std::nullopt;
    if (error == std::errc::result_out_of_range) return Duration::max();
    if (error != std::errc{}) return std::nullopt;
    return Duration(std::min(seconds, std::int64_t{Duration::max().count()} / 1'000) * 1'000);
}

bool is_gone(const error_code& ec) {
    return ec == http::error::end_of_stream || ec == asio::error::eof ||
           ec == asio::error::connection_reset || ec == asio::error::broken_pipe ||
           ec == asio::error::connection_aborted || ec == asio::ssl::error::stream_truncated;
}

std::string words_of_read(const error_code& ec, const Parser& parser) {
    if (ec == http::error::header_limit || ec == http::error::buffer_overflow) {
        return "the answer's header is longer than " + std::to_string(kHeaderBytesMax) + " bytes";
    }
    if (is_gone(ec) && !parser.got_some()) return "closed without an answer";
    if (is_gone(ec) || ec == http::error::partial_message) {
        return "closed in the middle of the answer";
    }
    if (ec.category() == http::make_error_code(http::error::bad_version).category()) {
        return "the answer is not HTTP/1.1 (" + ec.message() + ")";
    }
    return words_of(ec) + " waiting for the answer";
}

template <class Stream> auto& lowest(Stream& stream) { return beast::get_lowest_layer(stream); }

// Reads the rest of the answer to nowhere; true if the connection can carry another message.
template <class Stream>
Task<bool> drop_body(Stream& stream, beast::flat_buffer& buffer, Parser& parser) {
    if (!parser.keep_alive()) co_return false;
    const auto length = parser.content_length();
    if (length && *length > kBodyBytesMax) co_return false;
    std::array<char, 4'096> nowhere{};
    std::size_t dropped = 0;
    while (!parser.is_done() && dropped <= kBodyBytesMax) {
        auto& body = parser.get().body();
        body.data = nowhere.data();
        body.size = nowhere.size();
        error_code ec;
        co_await http::async_read(stream, buffer, parser, asio::redirect_error(use_task, ec));
        if (ec && ec != http::error::need_buffer) co_return false;
        dropped += nowhere.size() - parser.get().body().size;
    }
    co_return parser.is_done() && buffer.size() == 0;
}

} // namespace

std::string words_of(const error_code& ec) {
    if (ec == beast::error::timeout || ec == asio::error::timed_out) return "timed out";
    std::string text = ec.message();
    if (!text.empty())
        text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
    return text;
}

Connection::Connection(Executor executor, asio::ssl::context* tls)
    : stream_(std::in_place_type<Tcp>, executor) {
    if (tls != nullptr) stream_.emplace<Tls>(Tcp(executor), *tls);
}

Connection::Tcp& Connection::tcp() {
    if (auto* plain = std::get_if<Tcp>(&stream_)) return *plain;
    return std::get<Tls>(stream_).next_layer();
}

Task<Result<void>> Connection::connect(asio::ip::tcp::endpoint peer, SteadyTime deadline) {
    error_code ec;
    tcp().expires_at(deadline);
    co_await tcp().async_connect(peer, asio::redirect_error(use_task, ec));
    if (!ec) tcp().socket().set_option(asio::ip::tcp::no_delay(true), ec);
    if (!ec) co_return Result<void>();
    const bool late = ec == beast::error::timeout;
    co_return fail(late ? Errc::timeout : Errc::unavailable, words_of(ec) + " connecting");
}

Task<Result<void>> Connection::handshake(std::string host, SteadyTime deadline) {
    Tls& tls = std::get<Tls>(stream_);
    SSL* const ssl = tls.native_handle();
    error_code ec;
    asio::ip::make_address(host, ec);
    const bool is_address = !ec;
    // RFC 6066: an address is not sent as the server's name.
    const bool ready = is_address
                           ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1
                           : SSL_set1_host(ssl, host.c_str()) == 1 &&
                                 SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
    if (!ready) co_return fail(Errc::unavailable, "TLS cannot check the name of this host");
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    tcp().expires_at(deadline);
    co_await tls.async_handshake(Tls::client, asio::redirect_error(use_task, ec));
    if (!ec) co_return Result<void>();
    if (ec == beast::error::timeout)
        co_return fail(Errc::timeout, "timed out in the TLS handshake");
    const long verified = SSL_get_verify_result(ssl);
    if (verified != X509_V_OK) {
        co_return fail(Errc::unavailable,
                       std::string("TLS certificate: ") + X509_verify_cert_error_string(verified));
    }
    co_return fail(Errc::unavailable, "TLS: " + words_of(ec));
}

template <class Stream>
Task<Exchange> Connection::exchange_on(Stream& stream, const std::string& request,
                                       SteadyTime deadline) {
    Exchange out;
    error_code ec;
    lowest(stream).expires_at(deadline);
    co_await asio::async_write(stream, asio::buffer(request), asio::redirect_error(use_task, ec));
    if (ec) {
        out.nothing_came = is_gone(ec);
        out.error = words_of(ec) + " sending";
        co_return out;
    }
    for (int interim = 0; interim <= kInterimMax; ++interim) {
        Parser parser;
        parser.header_limit(kHeaderBytesMax);
        parser.body_limit(boost::none); // counted where it is dropped
        co_await http::async_read_header(stream, buffer_, parser,
                                         asio::redirect_error(use_task, ec));
        if (ec) {
            out.nothing_came = is_gone(ec) && !parser.got_some() && interim == 0;
            out.error = words_of_read(ec, parser);
            co_return out;
        }
        const int status = static_cast<int>(parser.get().result_int());
        if (status / 100 == 1 && status != 101) continue;
        out.status = status;
        const auto wait = parser.get()[http::field::retry_after];
        out.retry_after = retry_after_of(std::string_view(wait.data(), wait.size()));
        lowest(stream).expires_at(
            std::min(deadline, std::chrono::steady_clock::now() + kBodyPatience));
        out.reusable = co_await drop_body(stream, buffer_, parser);
        lowest(stream).expires_never();
        idle_since_ = std::chrono::steady_clock::now();
        co_return out;
    }
    out.error = "more than " + std::to_string(kInterimMax) + " interim answers";
    co_return out;
}

Task<Exchange> Connection::exchange(const std::string& request, SteadyTime deadline) {
    if (auto* plain = std::get_if<Tcp>(&stream_)) return exchange_on(*plain, request, deadline);
    return exchange_on(std::get<Tls>(stream_), request, deadline);
}

bool Connection::looks_alive() {
    char byte = 0;
    const auto size = ::recv(tcp().socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (size < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    // TLS 1.3 sends session tickets after the handshake: those are no surprise.
    return size > 0 && std::holds_alternative<Tls>(stream_);
}

} // namespace doorbuster::webhook
