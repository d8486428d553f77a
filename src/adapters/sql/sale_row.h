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
[[nodiscard]] std::vector<SaleRow> select_sales(soci::session& session, const std::string& tail,
                                                const std::optional<std::string>& id = {});

// A number of a dynamic row, whatever integer type the database gave it.
[[nodiscard]] Integer number_at(const soci::row& row, std::size_t column);

} // namespace doorbuster::sql
