// How sales, orders and audits look from outside: the contract's JSON objects.
#pragma once

#include <string>

#include "domain/order_json.h"
#include "domain/sale.h"
#include "domain/time.h"
#include "engine/audit.h"
#include "engine/sale_directory.h"
#include "ports/order_store.h"

namespace doorbuster::http {

[[nodiscard]] std::string sale_json(const SaleTerms& terms, Units remaining, TimePoint now);
// A row of a list. `live` is the core's view of it: null while it does not know the sale. A sale
// whose stock is not counted now is shown as the store has it.
[[nodiscard]] std::string sale_json(const StoredSale& stored, const SaleView* live, TimePoint now);
// The body of a 202; the same for every replay of it.
[[nodiscard]] std::string accepted_json(const OrderId& order, const std::string& sale_id,
                                        std::string_view user, Units quantity);
[[nodiscard]] std::string journal_json(const JournalEntry& entry);
[[nodiscard]] std::string audit_json(const SaleAudit& row);

} // namespace doorbuster::http
