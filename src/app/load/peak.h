// peak: how many durable orders a second a running server accepts at most (closed loop, several
// numbers of connections, several rounds), and how long buyers wait at half of that (open loop).
// The work of `doorbuster bench peak`. Blocks; one thread calls it.
//
// Every buyer is new and every sale has stock enough, so that each attempt is an order. The load
// shares the machine with the server: its own cost is in the figures.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "app/load/load.h"
#include "app/load/result_file.h"
#include "base/result.h"
#include "domain/time.h"

namespace doorbuster {

struct PeakOptions {
    std::string url;
    std::string admin_token; // for making the sales; empty where the server needs none
    // Measure on this sale, which has stock enough. Empty: make a sale for each run,
    // "bench-peak-" and the time and a number, and close it after.
    std::string sale;
    std::vector<std::uint64_t> connections{16, 64, 256};
    std::uint64_t rounds = 3;   // of each number of connections, alternating; the median counts
    Duration warm_up{2'000};    // before the first round; not counted
    Duration closed_for{4'000}; // each round
    Duration open_for{15'000};
    double open_share = 0.5; // of the peak
    std::uint64_t threads = 1;
    bool insecure = false;
    std::string ca_file;

    std::string version; // of the program that is measured: a commit
    std::string command; // as it was typed
};

struct PeakPoint {
    std::uint64_t connections = 0;
    std::vector<LoadReport> rounds;

    // The round in the middle by accepted orders per second (the lower one of two).
    [[nodiscard]] const LoadReport& median() const;
};

struct PeakReport {
    ResultHead head;
    std::vector<PeakPoint> points;
    std::uint64_t peak_connections = 0;
    double peak_accepted_per_second = 0;
    double open_rate = 0; // attempts per second that were due
    LoadReport open;
    std::uint64_t errors = 0; // of all runs: above 0 the figures mean nothing
    std::vector<std::string> examples;
};

// What is being measured now, in words, and how far it is.
using PeakSink = std::function<void(std::string_view step, const LoadProgress& progress)>;

// Errors: those of run_load, and of ServerClient where a sale cannot be made or closed; invalid
// also where the server does not accept anything; unavailable when `stop` ended it early.
[[nodiscard]] Result<PeakReport> run_peak(const PeakOptions& options, const std::atomic<bool>& stop,
                                          const PeakSink& progress);

[[nodiscard]] std::string to_json(const PeakReport& report);
[[nodiscard]] std::string to_markdown(const PeakReport& report);
// The table for people, several lines.
[[nodiscard]] std::string to_table(const PeakReport& report);
// As write_result.
[[nodiscard]] Result<void> write_report(const PeakReport& report, const std::string& path);

} // namespace doorbuster
