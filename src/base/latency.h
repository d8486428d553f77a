// LatencyBuckets: how long something took, counted in fixed buckets for a Prometheus histogram.
// Any thread may add and read; a reader may see a sum that is an observation ahead of the counts.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace doorbuster {

class LatencyBuckets {
public:
    // Upper bounds in nanoseconds: 50 µs, then doubling to 1.6 s. Steps of two are enough to tell
    // where a percentile lies, and 17 numbers a label set are cheap to scrape.
    static constexpr std::size_t kBounds = 16;
    static constexpr std::int64_t kFirstBoundNs = 50'000;
    [[nodiscard]] static constexpr double bound_seconds(std::size_t i) {
        return static_cast<double>(kFirstBoundNs << i) * 1e-9;
    }

    void add(std::int64_t ns) {
        std::size_t i = 0;
        while (i < kBounds && ns > (kFirstBoundNs << i)) ++i;
        counts_[i].fetch_add(1, std::memory_order_relaxed);
        sum_ns_.fetch_add(ns, std::memory_order_relaxed);
    }
    // The last bucket has no upper bound.
    [[nodiscard]] std::uint64_t count(std::size_t bucket) const {
        return counts_[bucket].load(std::memory_order_relaxed);
    }
    [[nodiscard]] double sum_seconds() const {
        return static_cast<double>(sum_ns_.load(std::memory_order_relaxed)) * 1e-9;
    }

private:
    std::array<std::atomic<std::uint64_t>, kBounds + 1> counts_{};
    std::atomic<std::int64_t> sum_ns_{0};
};

} // namespace doorbuster
