// Histogram: how often which value was seen, in fixed memory (36 KiB), for latencies.
//
// Log-linear, after Gil Tene's HdrHistogram: values below 256 are counted exactly, each further
// power of two is split into 128 equal buckets, so that a percentile is off by less than 1/128 =
// 0.8 % up to kValueMax. One thread owns it; merge() brings several threads' together.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace doorbuster {

namespace histogram {

inline constexpr int kSplitBits = 7;
inline constexpr std::size_t kSplit = std::size_t{1} << kSplitBits; // buckets a power of two

constexpr std::size_t bucket_of(std::uint64_t value) {
    if (value < 2 * kSplit) return value;
    const int shift = static_cast<int>(std::bit_width(value)) - kSplitBits - 1;
    return static_cast<std::size_t>(shift) * kSplit + (value >> shift);
}
// The largest value that is counted in `bucket`.
constexpr std::uint64_t upper_end(std::size_t bucket) {
    if (bucket < 2 * kSplit) return bucket;
    const std::size_t shift = bucket / kSplit - 1;
    return ((static_cast<std::uint64_t>(bucket - shift * kSplit) + 1) << shift) - 1;
}

} // namespace histogram

class Histogram {
public:
    // An hour in nanoseconds. Larger values are counted as this one; max() stays exact.
    static constexpr std::uint64_t kValueMax = 3'600'000'000'000;

    void record(std::uint64_t value) {
        ++buckets_[histogram::bucket_of(value < kValueMax ? value : kValueMax)];
        ++count_;
        if (value > max_) max_ = value;
    }
    void merge(const Histogram& other);

    [[nodiscard]] std::uint64_t count() const { return count_; }
    // The largest value recorded, exactly; 0 when empty.
    [[nodiscard]] std::uint64_t max() const { return max_; }
    // A value that the share `q` (0 to 1) of all recorded values does not exceed: never less than
    // the true one, and at most 0.8 % more. 0 when empty.
    [[nodiscard]] std::uint64_t percentile(double q) const;

private:
    static constexpr std::size_t kBuckets = histogram::bucket_of(kValueMax) + 1;

    std::array<std::uint64_t, kBuckets> buckets_{};
    std::uint64_t count_ = 0;
    std::uint64_t max_ = 0;
};

} // namespace doorbuster
