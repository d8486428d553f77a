// The names of a sale's keys in Redis: they share a hash tag and so a slot. Values.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "domain/ids.h"

namespace doorbuster::redis {

class SaleKeys {
public:
    // "PREFIX:{SALE}:sale" and so on, in the order that the scripts expect.
    SaleKeys(std::string_view prefix, SaleNo sale);

    [[nodiscard]] std::vector<std::string_view> views() const {
        return {names_.begin(), names_.end()};
    }
    // In a cluster, what belongs to the sale goes where this does.
    [[nodiscard]] const std::string& routing_key() const { return names_.front(); }

private:
    std::array<std::string, 7> names_;
};

// Of a rebuild's image that is not installed yet: users, orders, keys. No two attempts to install
// have the same `attempt`.
[[nodiscard]] std::array<std::string, 3> staged_keys(std::string_view prefix, SaleNo sale,
                                                     Epoch epoch, std::uint64_t attempt);

// Where every node hears of every sale.
[[nodiscard]] std::string channel_of(std::string_view prefix);

} // namespace doorbuster::redis
