// How fast units come back that were not paid for: the real log, writer, store, inventory and
// lifecycle, a sale whose orders are all due at once, orders that are due one by one, and purchases
// of another sale all the while. Blocks; the main thread calls it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "app/expiry_report.h"
#include "base/result.h"

namespace doorbuster {

// How far one part of the run is.
struct ExpiryBenchProgress {
    std::string step; // "expiring together"
    std::uint64_t done = 0;
    std::uint64_t of = 0;
    double seconds = 0;
};
using ExpiryBenchSink = std::function<void(const ExpiryBenchProgress&)>;

// `progress` is called a few times a second on the calling thread; it may be empty. Errc::corrupt
// when the books do not balance at the end.
[[nodiscard]] Result<ExpiryBenchReport> run_expiry_bench(const ExpiryBenchOptions& options,
                                                         const ExpiryBenchSink& progress);

} // namespace doorbuster
