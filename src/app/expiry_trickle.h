// Purchases that are due at a steady rate, whatever became of those before: what buyers see of a
// shop that does something else at the same time. Lives on one core but for start(), phase() and
// stop(); their thread reads the phases when the cores have been joined.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "base/fingerprint.h"
#include "base/histogram.h"
#include "engine/purchase_service.h"
#include "engine/sale_directory.h"
#include "runtime/clock.h"
#include "runtime/core.h"
#include "runtime/task.h"

namespace doorbuster {

class ExpiryTrickle {
public:
    enum class During : std::uint8_t { warm_up, alone, together, between, singles };
    struct Phase {
        Histogram latency_ns; // of purchases that were due in it
        std::uint64_t refused = 0;
    };
    struct Parts { // all outlive the trickle
        Core& core;
        const Clock& clock;
        const Fingerprinter& prints;
        PurchaseService& service; // the core's
        SaleView& sale;           // the core's
    };
    ExpiryTrickle(Parts parts, std::uint64_t per_second)
        : parts_(parts), gap_ns_(1'000'000'000 / static_cast<std::int64_t>(per_second)) {}

    void start();
    // Purchases that are due from now on belong to it.
    void phase(During during) { during_.store(during, std::memory_order_relaxed); }
    // Nothing more is due. False: purchases in flight do not end.
    [[nodiscard]] bool stop();

    [[nodiscard]] const Phase& of(During during) const {
        return phases_[static_cast<std::size_t>(during)];
    }

private:
    Task<void> run();
    Task<void> buy(std::uint64_t number, std::int64_t due_ns, During during);

    Parts parts_;
    std::int64_t gap_ns_;
    std::array<Phase, 5> phases_;
    std::atomic<During> during_{During::warm_up};
    std::atomic<bool> is_stopping_{false};
    std::atomic<std::uint64_t> running_{0}; // run() and what it started
};

} // namespace doorbuster
