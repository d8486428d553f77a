// The signals of every sale that this process shows: one StockSignals a sale, for all cores. Made
// once, never taken away. Any thread; a short lock a sale.
//
// Replies and messages come late and in any order. What says how many units remain carries its
// epoch and a stamp that grows with every change: an older one never replaces a newer one, so a
// late answer cannot show a sale as sold out again whose units came back (design.md section 4,
// rule 16).
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "adapters/redis/inventory_wire.h"
#include "ports/inventory.h"

namespace doorbuster::redis {

class SignalBoard {
public:
    // Called on whatever thread learned it, without a lock; they do not wait.
    struct Callbacks {
        // Somebody else changed the terms: this is their version now.
        std::function<void(SaleNo sale, std::int64_t version)> on_terms = {};
        // The sale has become cold: rebuild or attach it.
        std::function<void(SaleNo sale)> on_cold = {};
        // Somebody has installed this epoch: attach it.
        std::function<void(SaleNo sale, Epoch epoch)> on_installed = {};
    };
    explicit SignalBoard(Callbacks callbacks) : callbacks_(std::move(callbacks)) {}

    // The sale is attached, or was installed here, and stands like this: not cold any more.
    std::shared_ptr<const StockSignals> show(SaleNo sale, const SaleStatus& status);
    // A message says how the sale stands, or a reply of whenever.
    void observe(SaleNo sale, const SaleStatus& status) { observe(sale, status, kNever); }
    // How often the sale has been shown: read before a call of Redis, it tells whether the reply
    // may be from before what is shown.
    using Shows = std::uint64_t;
    [[nodiscard]] Shows shows(SaleNo sale) const;
    // A reply to what was asked when the sale had been shown so often. One that was asked since the
    // last time is believed even if its epoch is an older one: then this Redis has lost what is
    // shown, or is another one.
    void observe(SaleNo sale, const SaleStatus& status, Shows asked);
    // This process knows the terms of this version.
    void knows_terms(SaleNo sale, std::int64_t version);
    // A message of a script.
    void hear(std::string_view text);

    enum class Which : std::uint8_t { sold_out, all };
    // The sales that are shown (and not cold).
    [[nodiscard]] std::vector<SaleNo> shown(Which which) const;

private:
    static constexpr Shows kNever = 0;
    struct Entry {
        std::mutex mutex;
        const std::shared_ptr<StockSignals> signals =
            std::make_shared<StockSignals>(0, StockSignals::Keys::others_add);
        Epoch epoch;              // that is attached
        std::int64_t stamp = 0;   // of what is shown
        std::int64_t version = 0; // of the terms
        Shows shows = 0;
    };
    [[nodiscard]] Entry* find(SaleNo sale) const;
    [[nodiscard]] Entry& make(SaleNo sale);

    const Callbacks callbacks_;
    mutable std::shared_mutex mutex_; // guards the map, not what it points to
    boost::unordered_flat_map<SaleNo, std::unique_ptr<Entry>, std::hash<SaleNo>> entries_;
};

} // namespace doorbuster::redis
