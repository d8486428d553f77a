#include "adapters/redis/signal_board.h"

#include <algorithm>

namespace doorbuster::redis {

SignalBoard::Entry* SignalBoard::find(SaleNo sale) const {
    const std::shared_lock lock(mutex_);
    const auto at = entries_.find(sale);
    return at == entries_.end() ? nullptr : at->second.get();
}

SignalBoard::Entry& SignalBoard::make(SaleNo sale) {
    const std::unique_lock lock(mutex_);
    auto& entry = entries_[sale];
    if (!entry) entry = std::make_unique<Entry>();
    return *entry;
}

std::shared_ptr<const StockSignals> SignalBoard::show(SaleNo sale, const SaleStatus& status) {
    Entry& entry = make(sale);
    const std::lock_guard lock(entry.mutex);
    const bool is_newer = entry.epoch != status.epoch || status.stamp() >= entry.stamp;
    if (is_newer) {
        entry.epoch = status.epoch;
        entry.stamp = status.stamp();
        entry.signals->remaining.store(status.remaining, std::memory_order_release);
    }
    entry.version = std::max(entry.version, status.version);
    ++entry.shows;
    entry.signals->is_cold.store(false, std::memory_order_release);
    return entry.signals;
}

SignalBoard::Shows SignalBoard::shows(SaleNo sale) const {
    Entry* const entry = find(sale);
    if (entry == nullptr) return kNever;
    const std::lock_guard lock(entry->mutex);
    return entry->shows;
}

void SignalBoard::observe(SaleNo sale, const SaleStatus& status, Shows asked) {
    Entry* const entry = find(sale);
    if (entry == nullptr) return; // nobody looks at it
    bool became_cold = false;
    bool has_new_terms = false;
    {
        const std::lock_guard lock(entry->mutex);
        using Health = SaleStatus::Health;
        // Of a time before what is attached now: it came late.
        const bool is_older = status.health == Health::building  ? status.epoch <= entry->epoch
                              : status.health == Health::missing ? false
                                                                 : status.epoch < entry->epoch;
        if (is_older && asked != entry->shows) return;
        if (!status.is_ok() || status.epoch != entry->epoch) {
            became_cold = !entry->signals->is_cold.exchange(true, std::memory_order_acq_rel);
        } else if (status.stamp() >= entry->stamp) {
            entry->stamp = status.stamp();
            entry->signals->remaining.store(status.remaining, std::memory_order_release);
        }
        if (status.is_ok() && status.version > entry->version) {
            entry->version = status.version;
            has_new_terms = true;
        }
    }
    if (became_cold && callbacks_.on_cold) callbacks_.on_cold(sale);
    if (has_new_terms && callbacks_.on_terms) callbacks_.on_terms(sale, status.version);
}

void SignalBoard::knows_terms(SaleNo sale, std::int64_t version) {
    Entry* const entry = find(sale);
    if (entry == nullptr) return;
    const std::lock_guard lock(entry->mutex);
    entry->version = std::max(entry->version, version);
}

void SignalBoard::hear(std::string_view text) {
    const auto message = parse_message(text);
    if (!message) return; // of another version, or of somebody else
    observe(message->sale, message->status);
    if (message->what == "installed" && callbacks_.on_installed) {
        callbacks_.on_installed(message->sale, message->status.epoch);
    }
}

std::vector<SaleNo> SignalBoard::shown(Which which) const {
    std::vector<SaleNo> sales;
    const std::shared_lock lock(mutex_);
    for (const auto& [sale, entry] : entries_) {
        if (entry->signals->is_cold.load(std::memory_order_acquire)) continue;
        if (which == Which::all || entry->signals->sold_out()) sales.push_back(sale);
    }
    return sales;
}

} // namespace doorbuster::redis
