// Whether Redis is away, as one core's rate limiter sees it: after a call that failed nobody waits
// for Redis, except for one call now and then that tries. One core.
#pragma once

#include <cstdint>

namespace doorbuster::redis {

class Outage {
public:
    // How often it is tried: a slow Redis then stalls one call in so long, not every purchase.
    static constexpr std::int64_t kTryEveryNs = 250'000'000;

    // May this call be made now? During an outage only one in kTryEveryNs.
    [[nodiscard]] bool lets_call(std::int64_t now_ns) {
        if (!is_on_) return true;
        if (now_ns < try_at_ns_) return false;
        try_at_ns_ = now_ns + kTryEveryNs;
        return true;
    }
    [[nodiscard]] bool is_on() const { return is_on_; }
    // True: it has just begun.
    bool failed(std::int64_t now_ns) {
        try_at_ns_ = now_ns + kTryEveryNs;
        const bool begins = !is_on_;
        is_on_ = true;
        return begins;
    }
    // True: it has just ended.
    bool worked() {
        const bool ends = is_on_;
        is_on_ = false;
        return ends;
    }

private:
    bool is_on_ = false;
    std::int64_t try_at_ns_ = 0;
};

} // namespace doorbuster::redis
