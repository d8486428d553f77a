// What a store's sessions cost its database: the statements that were sent, and the connections
// that were at work. Any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "ports/order_store.h"

namespace doorbuster::sql {

class UsageMeter {
public:
    void sent(std::uint64_t statements) { statements_.fetch_add(statements, kRelaxed); }

    [[nodiscard]] OrderStore::Usage read() const {
        OrderStore::Usage usage;
        usage.statements = statements_.load(kRelaxed);
        usage.in_use_max = at_work_max_.load(kRelaxed);
        usage.in_use_ns = at_work_ns_.load(kRelaxed);
        return usage;
    }

private:
    friend class AtWork;
    static constexpr auto kRelaxed = std::memory_order_relaxed;

    std::atomic<std::uint64_t> statements_{0};
    std::atomic<std::size_t> at_work_{0};
    std::atomic<std::size_t> at_work_max_{0};
    std::atomic<std::int64_t> at_work_ns_{0};
};

// A connection at work, until the end of the scope.
class AtWork {
public:
    explicit AtWork(UsageMeter& meter) : meter_(meter) {
        const std::size_t now = meter_.at_work_.fetch_add(1, UsageMeter::kRelaxed) + 1;
        std::size_t most = meter_.at_work_max_.load(UsageMeter::kRelaxed);
        while (now > most && !meter_.at_work_max_.compare_exchange_weak(most, now)) {
        }
    }
    ~AtWork() {
        const auto took = std::chrono::steady_clock::now() - since_;
        meter_.at_work_ns_.fetch_add(std::chrono::nanoseconds(took).count(), UsageMeter::kRelaxed);
        meter_.at_work_.fetch_sub(1, UsageMeter::kRelaxed);
    }
    AtWork(const AtWork&) = delete;
    AtWork& operator=(const AtWork&) = delete;

private:
    UsageMeter& meter_;
    std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

} // namespace doorbuster::sql
