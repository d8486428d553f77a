// What a store's sessions cost its database: the statements that were sent, and the connections
// that were at work. Any thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "ports/order_store.h"

namespace doorbuster::sql {

// The greatest level of the window that runs and of the one before it, so that a peak can be told
// from one of an hour ago. Windows are numbered by the caller, upwards.
class RecentPeak {
public:
    void note(std::uint32_t window, std::uint32_t level) {
        std::atomic<std::uint64_t>& slot = slots_[window % slots_.size()];
        std::uint64_t known = slot.load(std::memory_order_relaxed);
        for (;;) {
            if (window_of(known) > window) return; // we come late
            if (window_of(known) == window && level_of(known) >= level) return;
            const std::uint64_t next = std::uint64_t{window} << 32U | level;
            if (slot.compare_exchange_weak(known, next, std::memory_order_relaxed)) return;
        }
    }
    [[nodiscard]] std::uint32_t read(std::uint32_t window) const {
        std::uint32_t most = 0;
        for (const auto& slot : slots_) {
            const std::uint64_t known = slot.load(std::memory_order_relaxed);
            if (window - window_of(known) <= 1) most = std::max(most, level_of(known));
        }
        return most;
    }

private:
    static std::uint32_t window_of(std::uint64_t slot) {
        return static_cast<std::uint32_t>(slot >> 32U);
    }
    static std::uint32_t level_of(std::uint64_t slot) { return static_cast<std::uint32_t>(slot); }

    std::array<std::atomic<std::uint64_t>, 2> slots_{};
};

class UsageMeter {
public:
    using Clock = std::chrono::steady_clock;
    // A reader that comes more often than this misses no peak.
    static constexpr std::chrono::milliseconds kWindow{500};

    void sent(std::uint64_t statements) { statements_.fetch_add(statements, kRelaxed); }

    [[nodiscard]] OrderStore::Usage read() const {
        OrderStore::Usage usage;
        usage.statements = statements_.load(kRelaxed);
        const auto now = static_cast<std::uint32_t>(at_work_.load(kRelaxed));
        usage.in_use_max = std::max(peak_.read(window_of(Clock::now())), now);
        usage.in_use_ns = at_work_ns_.load(kRelaxed);
        return usage;
    }

private:
    friend class AtWork;
    static constexpr auto kRelaxed = std::memory_order_relaxed;
    static std::uint32_t window_of(Clock::time_point time) {
        return static_cast<std::uint32_t>(time.time_since_epoch() / kWindow);
    }

    std::atomic<std::uint64_t> statements_{0};
    std::atomic<std::size_t> at_work_{0};
    RecentPeak peak_;
    std::atomic<std::int64_t> at_work_ns_{0};
};

// A connection at work, until the end of the scope.
class AtWork {
public:
    explicit AtWork(UsageMeter& meter) : meter_(meter) {
        const std::size_t now = meter_.at_work_.fetch_add(1, UsageMeter::kRelaxed) + 1;
        meter_.peak_.note(UsageMeter::window_of(since_), static_cast<std::uint32_t>(now));
    }
    ~AtWork() {
        const auto took = UsageMeter::Clock::now() - since_;
        meter_.at_work_ns_.fetch_add(std::chrono::nanoseconds(took).count(), UsageMeter::kRelaxed);
        meter_.at_work_.fetch_sub(1, UsageMeter::kRelaxed);
    }
    AtWork(const AtWork&) = delete;
    AtWork& operator=(const AtWork&) = delete;

private:
    UsageMeter& meter_;
    UsageMeter::Clock::time_point since_ = UsageMeter::Clock::now();
};

} // namespace doorbuster::sql
