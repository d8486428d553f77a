// load: sends a rush of simulated buyers at a running server over real HTTP, checks every answer
// against the contract, and reports what came out. The project's own proof, and its own meter.
//
// Closed loop (no rate): each connection sends the next attempt when the last one is answered.
// Open loop (a rate): attempts are due on a fixed schedule; latency counts from when an attempt was
// due, also while every connection waits for an answer, so that a stall of the server is seen by
// everyone who would have come during it.
//
// A run ends with the last attempt or with the duration, whichever comes first; or when nothing but
// failures came for 10 s, or for the timeout if that is longer.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/load/report.h"
#include "base/result.h"
#include "domain/ids.h"
#include "domain/time.h"

namespace doorbuster {

inline constexpr std::uint64_t kLoadBuyersMax = 1'000'000'000'000; // their ids stay short
inline constexpr std::uint64_t kLoadAttemptsPerBuyerMax = 1'000'000;
inline constexpr std::uint64_t kLoadConnectionsMax = 20'000; // below the ports of one address
inline constexpr std::uint64_t kLoadThreadsMax = 64;

struct LoadOptions {
    std::string url; // http[s]://HOST[:PORT][/PREFIX]
    std::vector<std::string>
        other_urls; // of servers that sell the same sale: connections take turns
    std::string sale;
    std::uint64_t buyers = 1;
    std::uint64_t attempts_per_buyer = 1;
    std::uint64_t connections = 64;
    // One thread sends about as much as one core of a server answers; it shares the machine.
    std::uint64_t threads = 1;
    std::optional<double> rate; // attempts per second, of all connections; absent: closed loop
    std::optional<Duration> duration;
    // An Idempotency-Key per buyer, the same in each of the buyer's attempts. An attempt whose
    // connection breaks is then sent again for up to 30 s instead of being an error.
    bool keys = false;
    Units quantity_min = 1; // drawn for each attempt, or for each buyer with keys
    Units quantity_max = 1;
    std::string user_prefix = "buyer-"; // users are this and a number: buyer-000001
    std::uint64_t seed = 1;             // of the order of the attempts and of the quantities
    Duration timeout{10'000};           // for a connection, and for an answer
    bool insecure = false;              // https: take any certificate
    std::string ca_file;                // https: trust these certificates, not the system's
    Duration stop_grace{5'000};         // what is under way when the run is stopped has so long
    // Called when the last attempt is answered, before anything else is asked of the server; by
    // the thread that called run_load. May be empty.
    std::function<void()> when_answered = {};
    // False: what the sale says of itself afterwards is not compared with what the buyers were
    // told. For a server that is known not to keep its word.
    bool closes_books = true;
    bool keep_order_ids = false; // of all accepted orders, for LoadReport::order_ids
};

struct LoadProgress {
    double share_done = 0; // 0 to 1, of the attempts or of the duration, whichever is further
    std::uint64_t attempts = 0;
    std::uint64_t accepted = 0;
    std::uint64_t errors = 0;
    double seconds = 0;
};
using ProgressSink = std::function<void(const LoadProgress&)>;

// Blocks until the run is over. `stop` may be set by any thread or a signal handler: no attempt is
// begun any more, and what is under way has `stop_grace` to be answered. `progress` is called about
// ten times a second on the calling thread; it may be empty.
//
// Errors, before anything is sent: invalid (an option), not_found (the sale), unavailable, timeout
// and io (the server). Whatever goes wrong later is counted in the report.
[[nodiscard]] Result<LoadReport> run_load(const LoadOptions& options, const std::atomic<bool>& stop,
                                          const ProgressSink& progress);

} // namespace doorbuster
