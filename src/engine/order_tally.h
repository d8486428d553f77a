// How many orders of each sale stand in which status in the store: kept up as batches are written,
// so that metrics need no scan. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "domain/order.h"
#include "ports/order_store.h"

namespace doorbuster {

class OrderTally {
public:
    using Counts = std::array<std::int64_t, kOrderStatuses>;

    // What a rebuild found.
    void set(SaleNo sale, const Counts& counts) {
        const std::lock_guard lock(mutex_);
        counts_[sale] = counts;
    }
    void add(const ApplyReport& report) {
        const std::lock_guard lock(mutex_);
        for (const ApplyReport::Sale& sale : report.sales) {
            Counts& counts = counts_[sale.no];
            counts[static_cast<std::size_t>(OrderStatus::confirmed)] +=
                static_cast<std::int64_t>(sale.confirmed);
            counts[static_cast<std::size_t>(OrderStatus::refused)] +=
                static_cast<std::int64_t>(sale.refused);
        }
    }
    void move(SaleNo sale, OrderStatus from, OrderStatus to, std::int64_t orders) {
        const std::lock_guard lock(mutex_);
        Counts& counts = counts_[sale];
        counts[static_cast<std::size_t>(from)] -= orders;
        counts[static_cast<std::size_t>(to)] += orders;
    }
    [[nodiscard]] std::map<SaleNo, Counts> counts() const {
        const std::lock_guard lock(mutex_);
        return counts_;
    }
    // Of some sales, in their order; of one without orders, zeros.
    [[nodiscard]] std::vector<Counts> counts(std::span<const SaleNo> sales) const {
        std::vector<Counts> found(sales.size());
        const std::lock_guard lock(mutex_);
        for (std::size_t i = 0; i < sales.size(); ++i) {
            if (const auto at = counts_.find(sales[i]); at != counts_.end()) found[i] = at->second;
        }
        return found;
    }

private:
    mutable std::mutex mutex_;
    std::map<SaleNo, Counts> counts_;
};

} // namespace doorbuster
