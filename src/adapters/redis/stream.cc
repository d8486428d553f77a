#include "adapters/redis/stream.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/write.hpp>
#include <cctype>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <utility>

namespace doorbuster::redis {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;

// "connection refused", in lower case as it stands in the middle of a sentence.
std::string words_of(const ErrorCode& ec) {
    if (ec == asio::error::eof || ec == asio::ssl::error::stream_truncated) {
        return "the server closed the connection";
    }
    std::string text = ec.message();
    if (!text.empty()) {
        text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
    }
    return text;
}

} // namespace

Result<asio::ssl::context> client_tls(const std::string& ca_file) {
    asio::ssl::context context(asio::ssl::context::tls_client);
    ErrorCode ec;
    if (ca_file.empty()) {
        context.set_default_verify_paths(ec);
        if (ec) return fail(Errc::invalid, "the system's certificates: " + ec.message());
    } else {
        context.load_verify_file(ca_file, ec);
        if (ec) return fail(Errc::invalid, "certificates in " + ca_file + ": " + ec.message());
    }
    context.set_verify_mode(asio::ssl::verify_peer, ec);
    if (ec || SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION) != 1) {
        return fail(Errc::invalid, "TLS 1.2 is not available");
    }
    SSL_CTX_set_options(context.native_handle(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    return context;
}

Stream::Stream(Executor executor, asio::ssl::context* tls)
    : stream_(std::in_place_type<Socket>, executor) {
    if (tls != nullptr) stream_.emplace<Tls>(Socket(executor), *tls);
}

Stream::Socket& Stream::socket() {
    if (auto* plain = std::get_if<Socket>(&stream_)) return *plain;
    return std::get<Tls>(stream_).next_layer();
}

Task<Result<void>> Stream::connect(Endpoint peer) {
    const auto self = shared_from_this();
    ErrorCode ec;
    co_await socket().async_connect(peer, asio::redirect_error(use_task, ec));
    if (ec) co_return fail(Errc::unavailable, words_of(ec));
    if (peer.protocol().family() != AF_UNIX) {
        // Without it a small command may wait for the acknowledgement of the one before.
        socket().set_option(asio::ip::tcp::no_delay(true), ec);
    }
    co_return Result<void>();
}

Task<Result<void>> Stream::handshake(std::string host) {
    const auto self = shared_from_this();
    Tls& tls = std::get<Tls>(stream_);
    SSL* const ssl = tls.native_handle();
    ErrorCode ec;
    asio::ip::make_address(host, ec);
    const bool is_address = !ec;
    // RFC 6066: an address is not sent as the server's name.
    const bool ready = is_address
                           ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1
                           : SSL_set1_host(ssl, host.c_str()) == 1 &&
                                 SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
    if (!ready) co_return fail(Errc::unavailable, "TLS cannot check the name of this host");
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    co_await tls.async_handshake(Tls::client, asio::redirect_error(use_task, ec));
    if (!ec) co_return Result<void>();
    const long verified = SSL_get_verify_result(ssl);
    if (verified != X509_V_OK) {
        co_return fail(Errc::unavailable,
                       std::string("TLS certificate: ") + X509_verify_cert_error_string(verified));
    }
    co_return fail(Errc::unavailable, "TLS: " + words_of(ec));
}

Task<Result<std::size_t>> Stream::read(char* into, std::size_t size) {
    const auto self = shared_from_this();
    ErrorCode ec;
    std::size_t got = 0;
    const auto room = asio::buffer(into, size);
    if (auto* plain = std::get_if<Socket>(&stream_)) {
        got = co_await plain->async_read_some(room, asio::redirect_error(use_task, ec));
    } else {
        Tls& tls = std::get<Tls>(stream_);
        got = co_await tls.async_read_some(room, asio::redirect_error(use_task, ec));
    }
    if (ec) co_return fail(Errc::unavailable, words_of(ec));
    co_return got;
}

void Stream::write(std::string bytes,
                   std::function<void(bool is_written, std::string bytes)> done) {
    auto start = [&](auto& stream) {
        auto kept = std::make_unique<std::string>(std::move(bytes)); // at a fixed address
        const auto buffer = asio::buffer(*kept);
        auto finish = [self = shared_from_this(), kept = std::move(kept),
                       done = std::move(done)](const ErrorCode& ec, std::size_t) mutable {
            done(!ec, std::move(*kept));
        };
        asio::async_write(stream, buffer, std::move(finish));
    };
    if (auto* plain = std::get_if<Socket>(&stream_)) {
        start(*plain);
    } else {
        start(std::get<Tls>(stream_));
    }
}

void Stream::close() {
    ErrorCode ignored;
    socket().close(ignored);
}

} // namespace doorbuster::redis
