// The sales as one core sees them, by name. Each core has a directory of its own, so that a request
// finds its sale, its terms and whether it is sold out without a hop. Used on its core only.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "domain/sale.h"
#include "engine/purchase_counters.h"
#include "ports/inventory.h"

namespace doorbuster {

struct SaleView {
    std::shared_ptr<const SaleTerms> terms;      // shared by the cores: one copy of the texts
    std::shared_ptr<const StockSignals> signals; // the inventory's; null while the sale is cold
    OutcomeCounts counts;
    StepCounts steps;

    [[nodiscard]] Units remaining() const {
        return signals ? signals->remaining.load(std::memory_order_acquire) : 0;
    }
};

class SaleDirectory {
public:
    // Null: no such sale. The view stays where it is as long as the directory.
    [[nodiscard]] SaleView* find(std::string_view id);
    [[nodiscard]] SaleView* find(SaleNo no);

    // Older terms than those known change nothing.
    void set_terms(const std::shared_ptr<const SaleTerms>& terms);
    void set_signals(SaleNo no, const std::shared_ptr<const StockSignals>& signals);

    void for_each(const std::function<void(const SaleView&)>& visit) const;
    // In the order in which they came to this core: from 0 to below size().
    [[nodiscard]] const SaleView& at(std::size_t index) const { return *in_order_[index]; }
    [[nodiscard]] std::size_t size() const { return by_id_.size(); }

private:
    struct TextHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>{}(text);
        }
    };
    boost::unordered_flat_map<std::string, std::unique_ptr<SaleView>, TextHash, std::equal_to<>>
        by_id_;
    boost::unordered_flat_map<SaleNo, SaleView*, std::hash<SaleNo>> by_no_;
    std::vector<const SaleView*> in_order_; // for those who look at some at a time
};

} // namespace doorbuster
