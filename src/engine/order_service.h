// Orders behind the purchase: looking them up, wherever they stand (in the store, or still in the
// log only), and changing them. Any core.
#pragma once

#include <optional>
#include <vector>

#include "domain/log_record.h"
#include "domain/order.h"
#include "domain/order_life.h"
#include "engine/lifecycle.h"
#include "engine/store_progress.h"
#include "ports/order_log.h"
#include "ports/order_store.h"
#include "runtime/blocking_pool.h"
#include "runtime/task.h"

namespace doorbuster {

// An order that only the log has yet.
[[nodiscard]] Order queued_order(LogRecord record);

class OrderService {
public:
    OrderService(OrderStore& store, OrderLog& log, StoreProgress& progress, Lifecycle& lifecycle,
                 BlockingPool& blocking)
        : store_(store),
          log_(log),
          progress_(progress),
          lifecycle_(lifecycle),
          blocking_(blocking) {}

    // `queued` while only the log has it, never not_found after its 202. Errc::unavailable when
    // store and log do not answer within two seconds.
    Task<Result<Order>> find(const OrderId& id);
    // Pays or cancels. An order that only the log has waits a little for the writer, then it is
    // Errc::unavailable. Errc::not_found; whatever the store decided is the Change's verdict.
    Task<Result<Lifecycle::Change>> change(OrderChange change);
    // Oldest first. Waits a little for the writer, so that every order accepted before the call is
    // there; while the store lags behind for longer, what it has.
    Task<Result<OrderPage>> list(const SaleTerms& sale, const OrderFilter& filter,
                                 const std::optional<OrderId>& after, std::size_t limit);

private:
    [[nodiscard]] Result<Order> find_blocking(const OrderId& id);

    OrderStore& store_;
    OrderLog& log_;
    StoreProgress& progress_;
    Lifecycle& lifecycle_;
    BlockingPool& blocking_;
};

} // namespace doorbuster
