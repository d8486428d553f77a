// A client of one Redis or one Redis Cluster, for one core.
//
// One Client belongs to one core (runtime/core.h): made before the core runs or on it, used and
// closed on it, destroyed after the core was joined (or on it, when nobody calls any more).
// Everything is a coroutine; calls share one connection a server and are answered in order. It
// promises that a call ends by its deadline whatever the servers do, that nobody gets another's
// reply, and that what may have reached Redis is never said not to have.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis/reply.h"
#include "adapters/redis/script.h"
#include "adapters/redis/session.h"
#include "adapters/redis/url.h"
#include "base/result.h"
#include "domain/time.h"
#include "runtime/core.h"
#include "runtime/task.h"

namespace doorbuster::redis {

struct ClientOptions {
    std::vector<Url> servers; // one, or some of a cluster's nodes
    bool is_cluster = false;
    std::string tls_ca = {};      // PEM file; empty: the system's authorities
    bool needs_noeviction = true; // refuse a Redis that throws data away under pressure
    Duration connect_wait_max{1'000};
    // A server that has not answered the oldest call for so long (and until its deadline) loses
    // its connection, and every call on it ends.
    Duration silence_max{1'000};
    std::size_t in_flight_max = 16'384; // calls, of each server
    // For operators, one sentence each: a connection was lost, is back, could not be checked.
    std::function<void(const std::string&)> tell = {};
};

// From the settings: either `url` (redis.url) or `nodes` (redis.nodes). Errc::invalid names the
// setting, without its text. A cluster's login and TLS stand in the first node's URL; the others
// say the same or nothing.
[[nodiscard]] Result<ClientOptions> read_options(std::string_view url,
                                                 std::span<const std::string> nodes);

class Client {
public:
    using Arguments = std::span<const std::string_view>;

    // Errc::invalid: the file with the authorities' certificates cannot be read.
    static Result<std::unique_ptr<Client>> open(Core& core, ClientOptions options);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Once, any thread. Connects, and again whenever a connection is lost.
    void start();
    // Any thread. Ends the connections; calls in flight fail, later ones, too.
    void close();

    // Sends a command and waits for its reply, `wait_max` at most. In a cluster it goes to the
    // primary of routing_key's slot, which is the command's own keys' (an empty one: any primary);
    // MOVED, ASK and a cluster that is busy with itself are dealt with in here.
    //
    // A Redis error is a Reply. Errc::unavailable: the command was not executed (no connection, too
    // much in flight, the cluster refused it). Errc::timeout: it was sent, and whether it was
    // executed is not known. What the arguments refer to must live until this ends.
    Task<Result<Reply>> call(Arguments arguments, std::string_view routing_key, Duration wait_max);
    // Runs the script: by its SHA-1, and with its text where Redis does not have it (any more). In
    // a cluster all keys lie in one slot, that of routing_key.
    Task<Result<Reply>> run(const Script& script, Arguments keys, Arguments arguments,
                            std::string_view routing_key, Duration wait_max);

    // True when every server that may be needed is connected; false at the deadline.
    Task<bool> wait_until_up(Duration wait_max);
    [[nodiscard]] bool is_up() const;
    // "up", or what is wrong, for /readyz. No passwords.
    [[nodiscard]] std::string state() const;
    [[nodiscard]] const ClientOptions& options() const;
    // Any thread. Commands sent so far, those of scripts and those that were redirected too.
    [[nodiscard]] std::uint64_t calls() const;

private:
    struct Impl;
    explicit Client(std::shared_ptr<Impl> impl);

    // Shared with the coroutine that keeps the cluster's map, which notices later that it is over.
    std::shared_ptr<Impl> impl_;
};

} // namespace doorbuster::redis
