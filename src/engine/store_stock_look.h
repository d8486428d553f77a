// Looking at the stock in the order store: the sale's row, in one statement.
#pragma once

#include "ports/order_store.h"
#include "ports/stock_look.h"
#include "runtime/blocking_pool.h"

namespace doorbuster {

class StoreStockLook final : public StockLook {
public:
    StoreStockLook(OrderStore& store, BlockingPool& blocking)
        : store_(store), blocking_(blocking) {} // both outlive this

    Task<Result<StockSighting>> look_at_units(SaleNo sale) override {
        auto look = [this, sale] { return store_.look_at_stock(sale); };
        co_return co_await blocking_.run(look);
    }
    Task<Result<void>> look_at_version(SaleNo, StockSighting&) override {
        co_return Result<void>();
    }
    Task<Result<void>> preheat(SaleNo, const StockSighting&) override { co_return Result<void>(); }

private:
    OrderStore& store_;
    BlockingPool& blocking_;
};

} // namespace doorbuster
