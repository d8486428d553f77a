// Running a sale: what an operator may do to it. A change commits in the store, then reaches the
// inventory and every core, and only then is answered. Any core.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/rebuild.h"
#include "ports/order_store.h"
#include "runtime/blocking_pool.h"
#include "runtime/task.h"

namespace doorbuster {

// What an operator may change of a sale's terms; what is not named stays.
struct SaleEdit {
    std::optional<std::string> title;
    std::optional<Units> per_user_limit;
    std::optional<TimePoint> starts_at;
    std::optional<std::optional<TimePoint>> ends_at; // an empty inside: no end
    std::optional<bool> paused;
};

class SaleService {
public:
    SaleService(Rebuild& rebuild, OrderStore& store, Inventory& inventory, BlockingPool& blocking,
                const Clock& clock)
        : rebuild_(rebuild),
          store_(store),
          inventory_(inventory),
          blocking_(blocking),
          clock_(clock) {}

    // second: true when it is new. Errc::conflict: the id is taken by another sale.
    Task<Result<std::pair<SaleTerms, bool>>> create(const SaleTerms& terms,
                                                    const std::string& created_as);
    // The changes below fail with Errc::not_found, and Errc::wrong_state for a closed sale.
    Task<Result<SaleTerms>> edit(const std::string& id, const SaleEdit& edit);
    // Errc::conflict: the key is bound to another change. Errc::invalid: beyond kStockMax.
    Task<Result<SaleTerms>> raise_stock(const std::string& id, Units add,
                                        const std::optional<OrderStore::ChangeKey>& key);
    Task<Result<SaleTerms>> close(const std::string& id);
    Task<Result<std::vector<StoredSale>>> list(const std::string& after, std::size_t limit);

private:
    Task<Result<SaleTerms>> change(const std::string& id, const OrderStore::TermsChange& change,
                                   const std::optional<OrderStore::ChangeKey>& key);

    Rebuild& rebuild_;
    OrderStore& store_;
    Inventory& inventory_;
    BlockingPool& blocking_;
    const Clock& clock_;
};

} // namespace doorbuster
