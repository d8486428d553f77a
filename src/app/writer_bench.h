// How fast the order writer moves orders from the log into the store: the real log, the real
// writer, the real store (SQLite, or a database that is named), and nothing else going on. Blocks;
// the main thread calls it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "app/load/result_file.h"
#include "base/result.h"

namespace doorbuster {

struct WriterBenchOptions {
    std::string folder; // empty of doorbuster's files
    std::uint64_t orders = 500'000;
    std::uint64_t sales = 1; // the orders are spread over these
    std::uint64_t batch_max = 5'000;
    int rounds = 3;
    // A database without tables, for one round, since a store takes its orders from one log only;
    // the tables stay in it. Empty: a new SQLite store in each round.
    std::string store_url;

    std::string version; // for the report
    std::string command; // as it was typed
};

struct WriterBenchRound {
    double append_seconds = 0; // until every order was durable in the log
    double store_seconds = 0;  // until every order was in the store
};

struct WriterBenchReport {
    WriterBenchOptions options;
    ResultHead head;
    std::string store; // where the orders went, for people; without password
    std::vector<WriterBenchRound> rounds;

    // The median of the rounds.
    [[nodiscard]] double appended_per_second() const;
    [[nodiscard]] double stored_per_second() const;
};

// How far one part of one round is.
struct WriterBenchProgress {
    std::string step; // "round 1 of 3, into the log"
    std::uint64_t orders = 0;
    double seconds = 0;
};
using WriterBenchSink = std::function<void(const WriterBenchProgress&)>;

// Errc::invalid for options that do not go together. `progress` is called a few times a second on
// the calling thread; it may be empty.
[[nodiscard]] Result<WriterBenchReport> run_writer_bench(const WriterBenchOptions& options,
                                                         const WriterBenchSink& progress);

[[nodiscard]] std::string to_json(const WriterBenchReport& report);
[[nodiscard]] std::string to_markdown(const WriterBenchReport& report);
// For people, a few lines.
[[nodiscard]] std::string to_text(const WriterBenchReport& report);

} // namespace doorbuster
