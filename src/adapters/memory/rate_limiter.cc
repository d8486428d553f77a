#include "adapters/memory/rate_limiter.h"

#include <chrono>

namespace doorbuster::memory {
namespace {

constexpr std::int64_t kSweepEveryNs = 1'000'000'000;

Refusal refuse(const char* policy, const Rate& rate, std::int64_t retry_after_ns) {
    Refusal refusal;
    refusal.reason = PurchaseOutcome::rate_limited;
    refusal.retry_after = std::chrono::ceil<Duration>(std::chrono::nanoseconds(retry_after_ns));
    const double window_s = rate.burst / rate.per_second;
    refusal.rate = RateRefusal{policy, static_cast<std::int64_t>(rate.burst),
                               Duration(static_cast<std::int64_t>(window_s * 1e3))};
    return refusal;
}

} // namespace

SubjectLimit::SubjectLimit(const Rate& rate, std::size_t entries_max)
    : rate_(rate), shard_entries_max_(entries_max / kShards + 1) {}

RateDecision SubjectLimit::take(const Fingerprint& subject, std::int64_t now_ns) {
    Shard& shard = shards_[subject.high % kShards];
    const std::lock_guard lock(shard.mutex);
    auto at = shard.arrivals.find(subject);
    const std::int64_t arrival = at == shard.arrivals.end() ? 0 : at->second;
    const RateDecision decision = decide_rate(rate_, arrival, now_ns);
    if (!decision.allowed) return decision;
    if (at == shard.arrivals.end()) {
        make_room(shard, now_ns);
        shard.arrivals.emplace(subject, decision.arrival_ns);
    } else {
        at->second = decision.arrival_ns;
    }
    return decision;
}

void SubjectLimit::give_back(const Fingerprint& subject) {
    Shard& shard = shards_[subject.high % kShards];
    const std::lock_guard lock(shard.mutex);
    const auto at = shard.arrivals.find(subject);
    if (at != shard.arrivals.end()) at->second -= rate_.interval_ns();
}

// Forgets the idle, at most once a second. If the shard is full all the same, one subject is
// forgotten: it gets a fresh burst, and memory stays bounded.
void SubjectLimit::make_room(Shard& shard, std::int64_t now_ns) {
    const bool is_full = shard.arrivals.size() >= shard_entries_max_;
    if (now_ns >= shard.next_sweep_ns) {
        shard.next_sweep_ns = now_ns + kSweepEveryNs;
        erase_if(shard.arrivals, [&](const auto& entry) { return entry.second <= now_ns; });
    }
    if (is_full && shard.arrivals.size() >= shard_entries_max_) {
        shard.arrivals.erase(shard.arrivals.begin());
    }
}

std::size_t SubjectLimit::entries() {
    std::size_t sum = 0;
    for (Shard& shard : shards_) {
        const std::lock_guard lock(shard.mutex);
        sum += shard.arrivals.size();
    }
    return sum;
}

MemoryRateLimiter::MemoryRateLimiter(const RateLimits& limits, const Clock& clock)
    : limits_(limits),
      clock_(clock),
      users_(limits.user, limits.entries_max),
      addresses_(limits.address, limits.entries_max) {}

bool MemoryRateLimiter::is_on() const {
    return limits_.system.is_set() || limits_.user.is_set() || limits_.address.is_set();
}

RateDecision MemoryRateLimiter::take_system(std::int64_t now_ns) {
    std::int64_t arrival = system_arrival_ns_.load(std::memory_order_relaxed);
    for (;;) {
        const RateDecision decision = decide_rate(limits_.system, arrival, now_ns);
        if (!decision.allowed || system_arrival_ns_.compare_exchange_weak(
                                     arrival, decision.arrival_ns, std::memory_order_relaxed)) {
            return decision;
        }
    }
}

// The narrowest limit first, so that one noisy address does not use up what all share.
Task<std::optional<Refusal>> MemoryRateLimiter::check(const RateSubject& subject) {
    const std::int64_t now_ns = clock_.steady_ns();
    const bool by_address = limits_.address.is_set() && subject.address.has_value();
    const bool by_user = limits_.user.is_set() && subject.user.has_value();
    if (by_address) {
        const RateDecision decision = addresses_.take(*subject.address, now_ns);
        if (!decision.allowed) co_return refuse("ip", limits_.address, decision.retry_after_ns);
    }
    if (by_user) {
        const RateDecision decision = users_.take(*subject.user, now_ns);
        if (!decision.allowed) {
            if (by_address) addresses_.give_back(*subject.address);
            co_return refuse("user", limits_.user, decision.retry_after_ns);
        }
    }
    if (limits_.system.is_set() && subject.counts_for_system) {
        const RateDecision decision = take_system(now_ns);
        if (!decision.allowed) {
            if (by_address) addresses_.give_back(*subject.address);
            if (by_user) users_.give_back(*subject.user);
            co_return refuse("system", limits_.system, decision.retry_after_ns);
        }
    }
    co_return std::nullopt;
}

} // namespace doorbuster::memory
