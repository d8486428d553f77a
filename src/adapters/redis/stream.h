// The bytes of one connection: TCP, TLS or a unix socket. Used on one core; held by shared_ptr,
// because operations under way need it until they have ended, however its owner fares.
#pragma once

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "base/result.h"
#include "runtime/task.h"

namespace doorbuster::redis {

// A client's context: certificates are checked against the system's authorities, or those of
// `ca_file` if it is not empty. Errc::invalid names the file.
Result<boost::asio::ssl::context> client_tls(const std::string& ca_file);

class Stream : public std::enable_shared_from_this<Stream> {
public:
    using Endpoint = boost::asio::generic::stream_protocol::endpoint;

    // `tls`: null for plain bytes. It outlives the stream.
    Stream(Executor executor, boost::asio::ssl::context* tls);
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    Task<Result<void>> connect(Endpoint peer);
    // TLS only: the certificate must be trusted and be `host`'s, a name or an address.
    Task<Result<void>> handshake(std::string host);
    // Waits for some bytes and appends them to nothing: they stand in `into`. 0 is never returned.
    Task<Result<std::size_t>> read(char* into, std::size_t size);
    // One at a time. `done` gets the bytes back, so that their memory is used again; it is called
    // on the core, later, also when the stream was closed.
    void write(std::string bytes, std::function<void(bool is_written, std::string bytes)> done);
    // Ends every operation at once.
    void close();

private:
    using Socket =
        boost::asio::basic_stream_socket<boost::asio::generic::stream_protocol, Executor>;
    using Tls = boost::asio::ssl::stream<Socket>;

    [[nodiscard]] Socket& socket();

    std::variant<Socket, Tls> stream_;
};

} // namespace doorbuster::redis
