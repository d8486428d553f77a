#include "app/load/run.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace doorbuster::load {

void Complaints::add(LoadErrorKind kind, std::string_view who, std::string_view what) {
    const std::scoped_lock lock(mutex_);
    ++counts_[static_cast<std::size_t>(kind)];
    if (examples_.size() < kExamplesMax) {
        examples_.push_back(
            fmt::format("{}: {}{}{}", to_string(kind), who, who.empty() ? "" : ": ", what));
    }
}

Schedule::Schedule(const LoadOptions& options)
    : options_(options), ns_per_attempt_(1e9 / options.rate.value_or(1)) {}

Clock::time_point Schedule::due(std::uint64_t index) const {
    const double ns = static_cast<double>(index) * ns_per_attempt_;
    return start_ + std::chrono::nanoseconds(static_cast<std::int64_t>(ns));
}

std::uint64_t Schedule::due_count(std::uint64_t attempts) const {
    if (!is_open_loop() || !options_.duration) return attempts;
    const double ns = static_cast<double>(options_.duration->count()) * 1e6;
    const double count = std::ceil(ns / ns_per_attempt_);
    return count < static_cast<double>(attempts) ? static_cast<std::uint64_t>(count) : attempts;
}

} // namespace doorbuster::load
