// How purchases ended, counted where they end. Written by one core, read by any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/latency.h"
#include "domain/purchase.h"

namespace doorbuster {

// Counters of one owner: adding needs no locked instruction, because only one thread adds.
class OutcomeCounts {
public:
    void add(PurchaseOutcome outcome) {
        auto& count = counts_[static_cast<std::size_t>(outcome)];
        count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t of(PurchaseOutcome outcome) const {
        return counts_[static_cast<std::size_t>(outcome)].load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t total() const {
        std::uint64_t sum = 0;
        for (const auto& count : counts_) sum += count.load(std::memory_order_relaxed);
        return sum;
    }

private:
    std::array<std::atomic<std::uint64_t>, kPurchaseOutcomes> counts_{};
};

// How far purchases came that were not refused on the way: a funnel. Written by one core.
class StepCounts {
public:
    void admit() { add(admitted_); }
    void reserve() { add(reserved_); }
    // Past the sale's state, the limits and the in-flight window: these ask for stock.
    [[nodiscard]] std::uint64_t admitted() const {
        return admitted_.load(std::memory_order_relaxed);
    }
    // Those that got units; they become durable, or may.
    [[nodiscard]] std::uint64_t reserved() const {
        return reserved_.load(std::memory_order_relaxed);
    }

private:
    static void add(std::atomic<std::uint64_t>& count) {
        count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    std::atomic<std::uint64_t> admitted_{0};
    std::atomic<std::uint64_t> reserved_{0};
};

// One core's.
struct PurchaseCounters {
    std::array<LatencyBuckets, kPurchaseOutcomes> duration;
    std::array<std::atomic<std::uint64_t>, 3> rate_limited{}; // system, user, ip
};

} // namespace doorbuster
