// A session with one Redis: connected, logged in, checked. Owned by a Link or a Subscription, on
// its core. One coroutine reads; a session that has failed is thrown away, never mended.
#pragma once

#include <boost/asio/basic_waitable_timer.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "adapters/redis/host_lookup.h"
#include "adapters/redis/resp.h"
#include "adapters/redis/stream.h"
#include "adapters/redis/url.h"
#include "base/result.h"
#include "runtime/task.h"

namespace doorbuster::redis {

using SteadyTime = std::chrono::steady_clock::time_point;

// What is expected of a server before it is used.
struct ServerDemands {
    bool is_cluster_node = false; // else: a single primary
    bool needs_noeviction = true; // nothing that is written may be thrown away (faults row 6)
};

class Session {
public:
    using Timer = boost::asio::basic_waitable_timer<
        std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, Executor>;

    // `url` and `tls` outlive the session; `tls` is used for an address with TLS.
    Session(Executor executor, const Url& url, boost::asio::ssl::context* tls);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Connects, logs in, selects the database, checks the server. Errc::timeout at the deadline,
    // Errc::unavailable says what to do about it; no text holds a password. `lookup` is the
    // host's.
    Task<Result<void>> open(HostLookup& lookup, ServerDemands demands, SteadyTime deadline);
    // What could not be checked, for the operator; empty: all was.
    [[nodiscard]] const std::string& warning() const { return warning_; }

    // The next reply, waiting for it. Errc::unavailable: the connection ended; Errc::corrupt: what
    // came is not the protocol.
    Task<Result<Reply>> read();
    // The next reply that is here already. Errc::corrupt as above.
    [[nodiscard]] Result<std::optional<Reply>> next() { return reader_.next(); }
    // As Stream::write.
    void write(std::string bytes, std::function<void(bool is_written, std::string bytes)> done) {
        stream_->write(std::move(bytes), std::move(done));
    }
    // Ends read() at once.
    void close() { stream_->close(); }

private:
    using Argument = std::string_view;

    Task<Result<void>> connect(HostLookup& lookup, SteadyTime deadline);
    Task<Result<void>> connect_to(Stream::Endpoint peer, SteadyTime deadline);
    Task<Result<void>> log_in();
    Task<Result<void>> check(ServerDemands demands);
    Task<Result<void>> check_eviction(std::string_view info);
    Task<Result<Reply>> ask(std::span<const Argument> command);
    void close_at(SteadyTime deadline);

    Executor executor_;
    const Url& url_;
    boost::asio::ssl::context* tls_;
    std::shared_ptr<Stream> stream_;
    Timer timer_; // closes the stream, while the session is being opened
    ReplyReader reader_;
    std::string warning_;
    std::vector<char> input_;
};

} // namespace doorbuster::redis
