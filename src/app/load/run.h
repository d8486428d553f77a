// Run: what the threads of one load share. Made by run_load before the threads and read by it
// after them; what is not const in between is atomic or has a lock.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "app/load/books.h"
#include "app/load/connection.h"
#include "app/load/load.h"
#include "app/load/plan.h"
#include "app/load/request_bytes.h"

namespace doorbuster::load {

using Clock = std::chrono::steady_clock;

// Errors by kind, and the first few in words. Any thread.
class Complaints {
public:
    static constexpr std::size_t kExamplesMax = 10; // enough to see what is wrong

    void add(LoadErrorKind kind, std::string_view who, std::string_view what);
    // Once the threads have ended.
    [[nodiscard]] const std::array<std::uint64_t, kLoadErrorKinds>& counts() const {
        return counts_;
    }
    [[nodiscard]] const std::vector<std::string>& examples() const { return examples_; }

private:
    std::mutex mutex_;
    std::array<std::uint64_t, kLoadErrorKinds> counts_{};
    std::vector<std::string> examples_;
};

// When attempts are due and when it is over. Set up once all connections are open.
class Schedule {
public:
    explicit Schedule(const LoadOptions& options);

    void begin(Clock::time_point now) {
        start_ = now;
        end_ = options_.duration ? now + *options_.duration : Clock::time_point::max();
    }
    [[nodiscard]] bool is_open_loop() const { return options_.rate.has_value(); }
    [[nodiscard]] Clock::time_point start() const { return start_; }
    [[nodiscard]] Clock::time_point end() const { return end_; }
    // Open loop only.
    [[nodiscard]] Clock::time_point due(std::uint64_t index) const;
    // How many of `attempts` are due before the end.
    [[nodiscard]] std::uint64_t due_count(std::uint64_t attempts) const;

private:
    const LoadOptions& options_;
    double ns_per_attempt_;
    Clock::time_point start_;
    Clock::time_point end_ = Clock::time_point::max();
};

struct Run {
    const LoadOptions& options;
    const std::vector<Target>& targets; // the lanes take turns; at least one
    const std::atomic<bool>& stop;
    SaleFacts sale; // before the run
    AttemptPlan plan;
    RequestShape request;
    Books books;
    Complaints complaints;

    // Lanes that have not tried to connect yet; the one that makes it 0 begins the schedule.
    std::atomic<std::uint64_t> connecting;
    std::atomic<bool> has_begun = false;
    Schedule schedule; // written before has_begun is set, read after

    std::atomic<std::size_t> next_target = 0;
    std::atomic<std::uint64_t> next_attempt = 0;
    // Since when nothing but failures came, as nanoseconds of Clock; 0: the last was an answer.
    std::atomic<std::int64_t> failing_since_ns = 0;
    std::atomic<bool> has_given_up = false;

    [[nodiscard]] const Target& take_target() {
        return targets[next_target.fetch_add(1, std::memory_order_relaxed) % targets.size()];
    }
    [[nodiscard]] bool is_ending() const {
        return stop.load(std::memory_order_relaxed) || has_given_up.load(std::memory_order_relaxed);
    }
};

} // namespace doorbuster::load
