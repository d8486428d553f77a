// Who was refused, and until when: asking Redis again before that would bring the same no. In a
// rush nearly every answer is one, and it should cost no hop. One core; times are of a steady
// clock.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <cstdint>

#include "base/fingerprint.h"

namespace doorbuster::redis {

class RefusedSubjects {
public:
    // Three megabytes a core.
    static constexpr std::size_t kMax = 65'536;

    void add(const Fingerprint& subject, std::int64_t until_ns, std::int64_t now_ns) {
        if (next_sweep_ns_ <= now_ns) make_room(now_ns);
        if (subjects_.size() >= kMax) return; // Redis says it again
        subjects_[subject] = until_ns;
    }
    // 0: Redis must be asked.
    [[nodiscard]] std::int64_t wait_ns(const Fingerprint& subject, std::int64_t now_ns) const {
        const auto at = subjects_.find(subject);
        return at == subjects_.end() || at->second <= now_ns ? 0 : at->second - now_ns;
    }
    [[nodiscard]] std::size_t size() const { return subjects_.size(); }

private:
    static constexpr std::int64_t kSweepEveryNs = 1'000'000'000;

    void make_room(std::int64_t now_ns) {
        next_sweep_ns_ = now_ns + kSweepEveryNs;
        erase_if(subjects_, [&](const auto& entry) { return entry.second <= now_ns; });
    }

    boost::unordered_flat_map<Fingerprint, std::int64_t, FingerprintHash> subjects_;
    std::int64_t next_sweep_ns_ = 0;
};

} // namespace doorbuster::redis
