// An order as everybody outside sees it: the contract's JSON object. Pure.
#pragma once

#include <string>

#include "domain/order.h"

namespace doorbuster {

[[nodiscard]] std::string order_json(const Order& order, const std::string& sale_id);

} // namespace doorbuster
