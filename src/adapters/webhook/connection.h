// One connection to a receiver, plain or TLS. Owned by whoever exchanges a message on it; between
// exchanges the sender keeps it. All on the thread of its io_context.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/rate_policy.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/result.h"
#include "domain/time.h"
#include "runtime/task.h"

namespace doorbuster::webhook {

using SteadyTime = std::chrono::steady_clock::time_point;

inline constexpr std::size_t kHeaderBytesMax = 8'192; // of an answer: as much as nginx allows
inline constexpr std::size_t kBodyBytesMax = 16'384;  // of an answer, read so as to be dropped

// What came back, or why nothing did.
struct Exchange {
    int status = 0;                      // 0: no answer
    std::string error;                   // for people, when there is none
    bool nothing_came = false;           // the peer was gone before the first byte of an answer
    bool reusable = false;               // for another message
    std::optional<Duration> retry_after; // as the receiver wrote it
};

class Connection {
public:
    // `tls`: the context of https, or null for http. It outlives the connection.
    Connection(Executor executor, boost::asio::ssl::context* tls);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    Task<Result<void>> connect(boost::asio::ip::tcp::endpoint peer, SteadyTime deadline);
    // Https only: the certificate must be trusted and be `host`'s, a name or an address.
    Task<Result<void>> handshake(std::string host, SteadyTime deadline);
    // Sends the bytes of a request and reads the answer. The body is only read to keep the
    // connection, and not for long.
    Task<Exchange> exchange(const std::string& request, SteadyTime deadline);

    // While idle: false when the peer has closed it or said something unasked.
    [[nodiscard]] bool looks_alive();
    [[nodiscard]] SteadyTime idle_since() const { return idle_since_; }

private:
    using Tcp = boost::beast::basic_stream<boost::asio::ip::tcp, Executor,
                                           boost::beast::unlimited_rate_policy>;
    using Tls = boost::asio::ssl::stream<Tcp>;

    [[nodiscard]] Tcp& tcp();
    template <class Stream>
    Task<Exchange> exchange_on(Stream& stream, const std::string& request, SteadyTime deadline);

    std::variant<Tcp, Tls> stream_;
    boost::beast::flat_buffer buffer_{kHeaderBytesMax + kBodyBytesMax};
    SteadyTime idle_since_{};
};

// "connection refused"; "timed out" for the two errors that mean it.
[[nodiscard]] std::string words_of(const boost::system::error_code& ec);

} // namespace doorbuster::webhook
