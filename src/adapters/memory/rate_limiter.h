// Rate limits in memory: GCRA (domain/rate.h) with one number a limited thing. The maps are split
// into shards with a mutex each (docs/adr/0005); a shard forgets whoever is idle, that is, whose
// whole burst is free again, and never holds more than its share of entries_max.
#pragma once

#include <array>
#include <atomic>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "domain/rate.h"
#include "ports/rate_limiter.h"
#include "runtime/clock.h"

namespace doorbuster::memory {

struct RateLimits {
    Rate system;
    Rate user;
    Rate address;
    std::size_t entries_max = 1'000'000; // of users, and as many addresses
};

// One limit for many subjects. Any thread.
class SubjectLimit {
public:
    SubjectLimit(const Rate& rate, std::size_t entries_max);

    // The arrival time is written only if the request is allowed.
    [[nodiscard]] RateDecision take(const Fingerprint& subject, std::int64_t now_ns);
    // Undoes a take() whose request was refused elsewhere.
    void give_back(const Fingerprint& subject);
    [[nodiscard]] std::size_t entries();

private:
    static constexpr std::size_t kShards = 64; // far more than cores: two rarely meet
    struct alignas(64) Shard {
        std::mutex mutex;
        boost::unordered_flat_map<Fingerprint, std::int64_t, FingerprintHash> arrivals;
        std::int64_t next_sweep_ns = 0;
    };
    void make_room(Shard& shard, std::int64_t now_ns);

    Rate rate_;
    std::size_t shard_entries_max_;
    std::array<Shard, kShards> shards_;
};

class MemoryRateLimiter final : public RateLimiter {
public:
    MemoryRateLimiter(const RateLimits& limits, const Clock& clock);

    Task<std::optional<Refusal>> check(const RateSubject& subject) override;
    [[nodiscard]] bool is_on() const override;

private:
    [[nodiscard]] RateDecision take_system(std::int64_t now_ns);

    RateLimits limits_;
    const Clock& clock_;
    std::atomic<std::int64_t> system_arrival_ns_{0};
    SubjectLimit users_;
    SubjectLimit addresses_;
};

} // namespace doorbuster::memory
