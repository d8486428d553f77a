// Target and Connection: a server's addresses, and one TCP or TLS connection to it. A Target is
// made once and then only read, by any thread; a Connection belongs to its executor's thread.
#pragma once

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/system/error_code.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/load/url.h"
#include "runtime/task.h"

namespace doorbuster::load {

struct TargetOptions {
    bool insecure = false; // with TLS: take any certificate
    std::string ca_file;   // with TLS: trust these PEM certificates instead of the system's
};

struct Target {
    Url url;
    std::vector<boost::asio::ip::tcp::endpoint> endpoints; // never empty
    std::unique_ptr<boost::asio::ssl::context> tls;        // null: plain TCP
};

// For clients: checks certificates as the options say. Errc::invalid for the certificates' file.
[[nodiscard]] Result<std::unique_ptr<boost::asio::ssl::context>>
make_tls(const TargetOptions& options);

// Resolves the name, once and blocking: a run measures the server, not its name server.
[[nodiscard]] Result<Target> make_target(std::string_view url, const TargetOptions& options);

class Connection {
public:
    using Code = boost::system::error_code;

    // The target outlives the connection.
    Connection(const Executor& executor, const Target& target);

    // Tries each address once. The operations have no deadline of their own: close() ends them.
    Task<Code> connect();
    Task<Code> write(std::string_view bytes);
    // At least one byte, or an error; `boost::asio::error::eof` when the peer has closed.
    Task<std::size_t> read_some(std::span<char> space, Code& error);

    [[nodiscard]] bool is_open() const { return is_open_; }
    // Has the peer closed, or sent what nobody asked for, while nothing was under way?
    [[nodiscard]] bool is_stale();
    void close();

private:
    using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Executor>;

    const Target& target_;
    Socket socket_;
    std::optional<boost::asio::ssl::stream<Socket&>> tls_;
    bool is_open_ = false;
};

// Was the connection closed by the peer, in whatever way TCP and TLS put it?
[[nodiscard]] bool is_peers_close(const Connection::Code& code);

} // namespace doorbuster::load
