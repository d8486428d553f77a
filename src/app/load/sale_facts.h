// What a server says of a sale, before and after a run. Any thread; blocks.
#pragma once

#include <string_view>

#include "app/load/books.h"
#include "app/load/connection.h"
#include "base/result.h"
#include "domain/time.h"

namespace doorbuster::load {

// Errors: those of http_call; not_found; corrupt where the answer is not a sale.
[[nodiscard]] Result<SaleFacts> read_sale(const Target& target, std::string_view sale_id,
                                          Duration timeout);

} // namespace doorbuster::load
