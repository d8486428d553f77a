// What a server says of a sale, before and after a run. Any thread; blocks.
#pragma once

#include <string_view>

#include "app/commands/server_client.h"
#include "app/load/books.h"
#include "base/result.h"

namespace doorbuster::load {

// Over a connection of its own. Errors: those of ServerClient; corrupt where the answer is not a
// sale.
[[nodiscard]] Result<SaleFacts> read_sale(const ServerOptions& server, std::string_view sale_id);

} // namespace doorbuster::load
