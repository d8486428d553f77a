#include "base/histogram.h"

#include <algorithm>
#include <cmath>

namespace doorbuster {

void Histogram::merge(const Histogram& other) {
    for (std::size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
}

std::uint64_t Histogram::percentile(double q) const {
    if (count_ == 0) return 0;
    const double wanted = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_));
    const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, count_);
    std::uint64_t seen = 0;
    // The last bucket also holds what was cut down to kValueMax: max_ answers for it.
    for (std::size_t i = 0; i + 1 < kBuckets; ++i) {
        seen += buckets_[i];
        if (seen >= rank) return std::min(histogram::upper_end(i), max_);
    }
    return max_;
}

} // namespace doorbuster
