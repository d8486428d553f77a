#include "engine/sale_directory.h"

#include "base/assert.h"

namespace doorbuster {

SaleView* SaleDirectory::find(std::string_view id) {
    const auto at = by_id_.find(id);
    return at == by_id_.end() ? nullptr : at->second.get();
}

SaleView* SaleDirectory::find(SaleNo no) {
    const auto at = by_no_.find(no);
    return at == by_no_.end() ? nullptr : at->second;
}

void SaleDirectory::set_terms(const std::shared_ptr<const SaleTerms>& terms) {
    std::unique_ptr<SaleView>& slot = by_id_[terms->id];
    if (!slot) {
        slot = std::make_unique<SaleView>();
        by_no_[terms->no] = slot.get();
        in_order_.push_back(slot.get());
    }
    if (!slot->terms || slot->terms->version < terms->version) slot->terms = terms;
}

void SaleDirectory::set_signals(SaleNo no, const std::shared_ptr<const StockSignals>& signals) {
    SaleView* view = find(no);
    DB_ASSERT(view != nullptr);
    view->signals = signals;
}

void SaleDirectory::for_each(const std::function<void(const SaleView&)>& visit) const {
    for (const auto& [id, view] : by_id_) visit(*view);
}

} // namespace doorbuster
