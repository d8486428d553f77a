// bench stages: the five published stages and ours (app/strategies.h) under the same load, on the
// user's own engines. Each round has a server of its own and a store, keys and a topic that nobody
// else has; nothing is left of them. Blocks; the main thread calls it.
//
// What is counted by whom: orders by the server's audit (it reads the store), SQL statements,
// connections and Redis calls by the server itself (/metrics), answers and latencies by the load.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/load/load.h"
#include "app/load/result_file.h"
#include "app/stages/scratch.h"
#include "base/result.h"

namespace doorbuster {
struct StrategyRow;
}

namespace doorbuster::stages {

// Who comes, and for how many units.
struct LoadShape {
    std::string name; // "article", "rush", "own"
    std::string title;
    Units stock = 0;
    std::uint64_t buyers = 1;
    std::uint64_t attempts_per_buyer = 1;
    std::uint64_t connections = 1;
    // Attempts a second, due by the clock (open loop); absent: each connection sends its next
    // attempt when the last is answered.
    std::optional<double> rate;
    double limit_per_second = 0; // of `limited`; 0: none
    // `cached` and `queued` have that limit, too. By default they have none, so that their figures
    // show them and not the limit.
    bool limits_all = false;

    [[nodiscard]] std::uint64_t attempts() const { return buyers * attempts_per_buyer; }
};
// The article's: 10 units, 300 threads that try twice.
[[nodiscard]] LoadShape article_load();
// A real one: 20,000 units, 200,000 attempts, 10,000 a second, whatever the answers do: a crowd
// does not wait for each other.
[[nodiscard]] LoadShape rush_load();
// The limit that a stage has under a load, in attempts a second; 0: none. Ours has never one: a no
// costs the database nothing.
[[nodiscard]] double limit_of(const LoadShape& shape, const StrategyRow& strategy);

struct Options {
    std::vector<std::string> strategies; // by name; empty: all
    std::vector<LoadShape> loads;
    Engines engines;
    int rounds = 3;
    Duration run_max{30'000};  // of a round's load; attempts that are not sent by then are not
    std::uint64_t threads = 1; // that send
    std::string program;       // what is measured: its file
    std::string version;
    std::string command; // as it was typed, without passwords
};

// What the server showed while the load ran.
struct Sample {
    double seconds = 0; // since the load began
    double connections = 0;
    double connections_max = 0; // within the second before
    double orders = 0;          // in the store, confirmed
    double stored = 0;          // the same and refused
    double attempts = 0;        // answered so far, as the next
    double yes = 0;
};

struct Round {
    LoadReport load;
    std::uint64_t unsent = 0;    // attempts of the load that were left when its time was over
    std::int64_t orders = 0;     // in the store, confirmed
    std::int64_t refused = 0;    // in the store, refused by its guard
    Units oversold = 0;          // units of orders above the stock
    std::int64_t lost = 0;       // orders that a buyer was told of and that are not in the store
    std::int64_t unexpected = 0; // orders in the store that no buyer was told of
    double connections_max = 0;
    double connections_mean = 0; // until the last answer
    double statements_per_attempt = 0;
    double redis_per_attempt = 0;
    double yes_per_second = 0;           // until the last yes
    double drain_seconds = 0;            // from the last yes until its order was in the store
    std::vector<std::string> violations; // the audit's
    std::vector<std::string> notes;      // the load's, and what its first errors were
    std::vector<Sample> samples;
};

struct Stage {
    std::string strategy;
    std::string left_out; // why it did not run; empty: it did
    std::vector<Round> rounds;
};

struct LoadResult {
    LoadShape shape;
    std::vector<Stage> stages;
};

struct Report {
    ResultHead head;
    std::string store; // for people, without password
    std::string redis; // "none" where there is none, as the next
    std::string kafka;
    int rounds = 0;
    std::string incomplete; // why it ended early; empty: it did not
    std::vector<LoadResult> loads;
};

// What must not be, in words: errors of any stage, and of those that promise to be right every
// order too many or too few, in any round.
[[nodiscard]] std::vector<std::string> failures_of(const Report& report);

// The rounds' median with the least and the greatest.
struct Spread {
    double median = 0;
    double least = 0;
    double most = 0;
};
using Figure = std::function<double(const Round&)>;
[[nodiscard]] Spread spread_of(const Stage& stage, const Figure& figure);
// The round in the middle by yes a second: whose curves are drawn.
[[nodiscard]] const Round& middle_round(const Stage& stage);

using Sink = std::function<void(std::string_view step, const LoadProgress& progress)>;

// Errc::invalid: the options do not go together. Errc::unavailable: an engine is away, or `stop`
// ended it, before the first round was over; later that is Report::incomplete. What was made is
// taken away, whatever happens, or named where that cannot be.
[[nodiscard]] Result<Report> run(const Options& options, const std::atomic<bool>& stop,
                                 const Sink& progress);

} // namespace doorbuster::stages
