// Where a stock is looked at that nobody holds units of (design.md section 3): what is seen may not
// be so any more when the order comes to the store. Owned by the assembly.
#pragma once

#include "base/result.h"
#include "domain/ids.h"
#include "domain/log_record.h"
#include "runtime/task.h"

namespace doorbuster {

class StockLook {
public:
    virtual ~StockLook() = default;

    // A look has two steps, because the published one has: what lies between them can be torn.

    // Any core. How many there are, and how many are sold; with the version where it is part of the
    // same look.
    virtual Task<Result<StockSighting>> look_at_units(SaleNo sale) = 0;
    // Any core, afterwards. The version that the order will name.
    virtual Task<Result<void>> look_at_version(SaleNo sale, StockSighting& seen) = 0;
    // Any core. From here on a look shows this: a sale begins, or an operator has changed it.
    virtual Task<Result<void>> preheat(SaleNo sale, const StockSighting& stored) = 0;
};

} // namespace doorbuster
