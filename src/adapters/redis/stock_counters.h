// The published system's keys of a sale in Redis: stock_count_, stock_sale_ and stock_version_ with
// the sale's number. A look reads them one after the other (GET, GET, GET), and an order raises the
// last two one after the other, inside its database transaction; nothing makes either of them one
// step, and nothing undoes the second when the transaction fails. That is the point:
// docs/stages.md.
//
// One object for all cores, with a client a core.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis/client.h"
#include "ports/stock_look.h"
#include "runtime/core.h"

namespace doorbuster::redis {

class StockCounters final : public StockLook {
public:
    // clients[i] is core i's; they and the cores outlive this. `prefix` is what every key begins
    // with.
    StockCounters(Cores& cores, std::vector<Client*> clients, std::string prefix);

    // GET count, GET sale. Errc::unavailable where a key is missing or is no number.
    Task<Result<StockSighting>> look_at_units(SaleNo sale) override;
    // GET version.
    Task<Result<void>> look_at_version(SaleNo sale, StockSighting& seen) override;
    // SET all three.
    Task<Result<void>> preheat(SaleNo sale, const StockSighting& stored) override;

    // INCRBY sale, INCR version.
    Task<Result<void>> raise(SaleNo sale, Units units);
    // The same for a thread that is no core's: it blocks until a core has done it, for a bounded
    // time. Errc::unavailable, Errc::timeout.
    [[nodiscard]] Result<void> raise_blocking(SaleNo sale, Units units);

private:
    [[nodiscard]] Client& client_here() const;
    [[nodiscard]] std::string key_of(std::string_view what, SaleNo sale) const;
    Task<Result<std::int64_t>> get(std::string key);
    Task<Result<void>> write(std::string command, std::string key, std::string value);

    Cores& cores_;
    std::vector<Client*> clients_;
    std::string prefix_;
};

} // namespace doorbuster::redis
