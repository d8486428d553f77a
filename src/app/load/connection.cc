#include "app/load/connection.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/write.hpp>

namespace doorbuster::load {

namespace asio = boost::asio;
using asio::ip::tcp;

Result<std::unique_ptr<asio::ssl::context>> make_tls(const TargetOptions& options) {
    auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
    boost::system::error_code error;
    if (options.insecure) {
        context->set_verify_mode(asio::ssl::verify_none);
        return context;
    }
    context->set_verify_mode(asio::ssl::verify_peer);
    if (options.ca_file.empty()) {
        context->set_default_verify_paths(error);
    } else {
        context->load_verify_file(options.ca_file, error);
    }
    if (error)
        return fail(Errc::invalid, "certificates '" + options.ca_file + "': " + error.message());
    return context;
}

Result<Target> make_target(std::string_view url, const TargetOptions& options) {
    auto parsed = parse_url(url);
    if (!parsed) return tl::unexpected(parsed.error());
    Target target;
    target.url = std::move(*parsed);
    asio::io_context io;
    tcp::resolver resolver(io);
    boost::system::error_code error;
    const auto found = resolver.resolve(target.url.host, std::to_string(target.url.port), error);
    if (error || found.empty()) {
        return fail(Errc::unavailable, "looking up '" + target.url.host + "': " + error.message());
    }
    for (const auto& entry : found) target.endpoints.push_back(entry.endpoint());
    if (target.url.tls) {
        auto tls = make_tls(options);
        if (!tls) return tl::unexpected(tls.error());
        target.tls = std::move(*tls);
    }
    return target;
}

Connection::Connection(const Executor& executor, const Target& target)
    : target_(target), socket_(executor) {}

Task<Connection::Code> Connection::connect() {
    close();
    tls_.reset();
    Code error;
    co_await asio::async_connect(socket_, target_.endpoints, asio::redirect_error(use_task, error));
    if (error) co_return error;
    socket_.set_option(tcp::no_delay(true), error);
    if (target_.tls) {
        tls_.emplace(socket_, *target_.tls);
        const std::string& host = target_.url.host;
        // SNI carries names only; the server's certificate is checked against either.
        boost::system::error_code is_no_address;
        asio::ip::make_address(host, is_no_address);
        if (is_no_address) SSL_set_tlsext_host_name(tls_->native_handle(), host.c_str());
        tls_->set_verify_callback(asio::ssl::host_name_verification(host), error);
        co_await tls_->async_handshake(asio::ssl::stream_base::client,
                                       asio::redirect_error(use_task, error));
        if (error) {
            close();
            co_return error;
        }
    }
    socket_.non_blocking(true, error);
    is_open_ = !error;
    co_return error;
}

Task<Connection::Code> Connection::write(std::string_view bytes) {
    Code error;
    std::size_t written = 0;
    if (!tls_) {
        // A purchase fits into the socket's buffer: one system call and no turn of the loop.
        written = socket_.write_some(asio::buffer(bytes.data(), bytes.size()), error);
        if (error == asio::error::would_block) error = {};
        if (error || written == bytes.size()) co_return error;
    }
    const auto rest = asio::buffer(bytes.data() + written, bytes.size() - written);
    if (tls_) {
        co_await asio::async_write(*tls_, rest, asio::redirect_error(use_task, error));
    } else {
        co_await asio::async_write(socket_, rest, asio::redirect_error(use_task, error));
    }
    co_return error;
}

Task<std::size_t> Connection::read_some(std::span<char> space, Code& error) {
    const auto buffer = asio::buffer(space.data(), space.size());
    std::size_t bytes = 0;
    if (tls_) {
        bytes = co_await tls_->async_read_some(buffer, asio::redirect_error(use_task, error));
    } else {
        bytes = co_await socket_.async_read_some(buffer, asio::redirect_error(use_task, error));
    }
    co_return bytes;
}

bool Connection::is_stale() {
    char byte = 0;
    Code error;
    socket_.receive(asio::buffer(&byte, 1), Socket::message_peek, error);
    // TLS may have sent a ticket that nothing has read yet: bytes say nothing there.
    return error ? error != asio::error::would_block : !tls_;
}

void Connection::close() {
    is_open_ = false;
    Code ignored;
    socket_.close(ignored);
}

bool is_peers_close(const Connection::Code& code) {
    return code == asio::error::eof || code == asio::error::connection_reset ||
           code == asio::error::broken_pipe || code == asio::ssl::error::stream_truncated;
}

} // namespace doorbuster::load
