// How fast the order writer moves orders from the log into the store: the real log, the real
// writer, the real store, and nothing else going on. Blocks; the main thread calls it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace doorbuster {

struct WriterBenchOptions {
    std::string folder; // empty of doorbuster's files
    std::uint64_t orders = 500'000;
    std::uint64_t sales = 1; // the orders are spread over these
    std::uint64_t batch_max = 5'000;
    int rounds = 3;
};

struct WriterBenchRound {
    double append_seconds = 0; // until every order was durable in the log
    double store_seconds = 0;  // until every order was in the store
};

struct WriterBenchReport {
    WriterBenchOptions options;
    std::vector<WriterBenchRound> rounds;

    // The median of the rounds.
    [[nodiscard]] double appended_per_second() const;
    [[nodiscard]] double stored_per_second() const;
};

[[nodiscard]] Result<WriterBenchReport> run_writer_bench(const WriterBenchOptions& options);

} // namespace doorbuster
