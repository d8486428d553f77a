// A row of the table `sales`, and reading such rows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "adapters/sql/session.h"
#include "domain/ids.h"
#include "ports/order_store.h"

namespace doorbuster::sql {

struct SaleRow {
    StoredSale sale;
    Epoch barrier; // the last one applied from the log
    Integer log_accepted_orders = 0;
    Integer log_accepted_units = 0;
    Integer per_user_limit_ever = 0;
    Integer voided_orders = 0;
    std::string created_as;
};

// `tail` is what follows FROM: a WHERE with at most the one parameter `id`, an ORDER BY.
[[nodiscard]] std::vector<SaleRow> select_sales(Session& session, const std::string& tail,
                                                const std::optional<std::string>& id = {});

enum class RowLock { none, update }; // update: nobody else writes it before the transaction ends
// One sale, if it is there.
[[nodiscard]] std::optional<SaleRow> select_sale(Session& session, SaleNo no, RowLock lock);
[[nodiscard]] std::optional<SaleRow> select_sale(Session& session, const std::string& id,
                                                 RowLock lock);

// How far the store has come in each partition of its log.
[[nodiscard]] LogPositions select_positions(Session& session);

} // namespace doorbuster::sql
