// How long to wait before the next attempt: twice as long each time, up to a bound, and spread, so
// that many processes do not come back in step. One thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace doorbuster::redis {

class Backoff {
public:
    using Pause = std::chrono::milliseconds;

    Backoff(Pause first, Pause most) : first_(first), most_(most) {}

    // Between a half and the whole of the pause that is due.
    [[nodiscard]] Pause next() {
        const Pause whole = std::min(most_, first_ * (1 << doublings_));
        if (doublings_ < kDoublingsMax) ++doublings_;
        std::uniform_int_distribution<std::int64_t> spread(whole.count() / 2, whole.count());
        return Pause(spread(random_));
    }
    // It worked: the next pause is a first one.
    void reset() { doublings_ = 0; }

private:
    static constexpr int kDoublingsMax = 16;

    Pause first_;
    Pause most_;
    int doublings_ = 0;
    std::minstd_rand random_{std::random_device()()};
};

// To connect again: from what a restarting Redis takes to what an operator notices.
inline constexpr Backoff::Pause kConnectPauseMin{20};
inline constexpr Backoff::Pause kConnectPauseMax{2'000};

} // namespace doorbuster::redis
