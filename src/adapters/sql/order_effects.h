// What a transaction that changes orders does besides the orders' own rows: units that are given
// back, give-back rows, events.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "adapters/sql/rows.h"
#include "base/result.h"
#include "domain/order.h"
#include "ports/order_store.h"

namespace doorbuster::sql {

class Effects {
public:
    Effects(TimePoint now, bool with_events) : now_(to_ms(now)), events_(with_events) {}

    void changed(const OrderId& id, OrderStatus status, std::int64_t version, Units quantity);
    // Ended in a transaction that is over: it is only to be told of.
    void ended_before(const OrderId& id) { ended_[id.sale()].orders.push_back(id); }

    // Writes it all, locking sales by number, and says what was given back in which sale.
    [[nodiscard]] Result<std::vector<GiveBack>> write(Session& session);

private:
    struct Ended {
        Integer units = 0;
        std::vector<OrderId> orders;
    };

    Integer now_;
    bool events_;
    Rows::Texts order_;
    Rows::Numbers status_, version_;
    std::map<SaleNo, Ended> ended_;
};

} // namespace doorbuster::sql
