// Looking orders up, wherever they stand: in the store, or still in the log only. Any core.
#pragma once

#include <optional>
#include <vector>

#include "domain/log_record.h"
#include "domain/order.h"
#include "engine/order_writer.h"
#include "ports/order_log.h"
#include "ports/order_store.h"
#include "runtime/blocking_pool.h"
#include "runtime/task.h"

namespace doorbuster {

// An order that only the log has yet.
[[nodiscard]] Order queued_order(LogRecord record);

class OrderService {
public:
    OrderService(OrderStore& store, OrderLog& log, OrderWriter& writer, BlockingPool& blocking)
        : store_(store), log_(log), writer_(writer), blocking_(blocking) {}

    // `queued` while only the log has it, never not_found after its 202.
    Task<Result<Order>> find(const OrderId& id);
    // Oldest first. Waits a little for the writer, so that every order accepted before the call is
    // there; while the store lags behind for longer, what it has.
    Task<Result<std::vector<Order>>> list(SaleNo sale, const OrderFilter& filter,
                                          const std::optional<OrderId>& after, std::size_t limit);

private:
    [[nodiscard]] Result<Order> find_blocking(const OrderId& id);

    OrderStore& store_;
    OrderLog& log_;
    OrderWriter& writer_;
    BlockingPool& blocking_;
};

} // namespace doorbuster
