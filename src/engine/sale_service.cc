#include "engine/sale_service.h"

#include <memory>

namespace doorbuster {
namespace {

const std::optional<OrderStore::ChangeKey> kNoKey;

} // namespace

Task<Result<std::pair<SaleTerms, bool>>> SaleService::create(const SaleTerms& terms,
                                                             const std::string& created_as) {
    auto insert = [this, &terms, &created_as] { return store_.create_sale(terms, created_as); };
    auto created = co_await blocking_.run(insert);
    if (!created) co_return tl::make_unexpected(std::move(created.error()));
    const auto& [sale, is_new] = *created;
    // Known from here on, and cold: purchases hear 503 until it is built, not 404.
    co_await rebuild_.publish(std::make_shared<const SaleTerms>(sale.terms));
    auto built = co_await rebuild_.run_if_cold(sale.terms.no);
    if (!built) co_return tl::make_unexpected(std::move(built.error()));
    co_return std::pair(sale.terms, is_new);
}

Task<Result<SaleTerms>> SaleService::change(const std::string& id,
                                            const OrderStore::TermsChange& change,
                                            const std::optional<OrderStore::ChangeKey>& key) {
    auto commit = [this, &id, &change, &key] { return store_.change_sale(id, change, key); };
    const auto changed = co_await blocking_.run(commit);
    if (!changed) co_return tl::make_unexpected(changed.error());
    // A cold sale does not know yet; its rebuild reads the terms once more when it is done.
    auto known = co_await inventory_.set_terms(changed->terms);
    if (!known && !known.error().is(Errc::not_found)) {
        co_return tl::make_unexpected(std::move(known.error()));
    }
    co_await rebuild_.publish(std::make_shared<const SaleTerms>(changed->terms));
    co_return changed->terms;
}

Task<Result<SaleTerms>> SaleService::edit(const std::string& id, const SaleEdit& edit) {
    const TimePoint now = clock_.now();
    const OrderStore::TermsChange apply = [&edit, now](StoredSale& sale) -> Result<void> {
        SaleTerms& terms = sale.terms;
        // A sale that merely ended opens again when its end moves.
        if (terms.closed_at || (state_of(terms, now) == SaleState::closed && !edit.ends_at)) {
            return fail(Errc::wrong_state, "The sale is closed.");
        }
        if (edit.title) terms.title = *edit.title;
        if (edit.per_user_limit) terms.per_user_limit = *edit.per_user_limit;
        if (edit.starts_at) terms.starts_at = *edit.starts_at;
        if (edit.ends_at) terms.ends_at = *edit.ends_at;
        if (edit.paused) terms.paused = *edit.paused;
        if (terms.ends_at && *terms.ends_at <= terms.starts_at) {
            return fail(Errc::invalid, "must be later than starts_at");
        }
        return {};
    };
    co_return co_await change(id, apply, kNoKey);
}

Task<Result<SaleTerms>> SaleService::raise_stock(const std::string& id, Units add,
                                                 const std::optional<OrderStore::ChangeKey>& key) {
    const TimePoint now = clock_.now();
    const OrderStore::TermsChange raise = [add, now](StoredSale& sale) -> Result<void> {
        if (state_of(sale.terms, now) == SaleState::closed) {
            return fail(Errc::wrong_state, "The sale is closed.");
        }
        if (sale.terms.stock + add > kStockMax) {
            return fail(Errc::invalid, "would raise the stock above " + std::to_string(kStockMax));
        }
        sale.terms.stock += add;
        return {};
    };
    co_return co_await change(id, raise, key);
}

Task<Result<SaleTerms>> SaleService::close(const std::string& id) {
    const TimePoint now = clock_.now();
    const OrderStore::TermsChange close = [now](StoredSale& sale) -> Result<void> {
        if (!sale.terms.closed_at) sale.terms.closed_at = now;
        return {};
    };
    co_return co_await change(id, close, kNoKey);
}

Task<Result<std::vector<StoredSale>>> SaleService::list(const std::string& after,
                                                        std::size_t limit) {
    auto read = [this, &after, limit] { return store_.list_sales(after, limit); };
    co_return co_await blocking_.run(read);
}

} // namespace doorbuster
