// The orders of one sale that stood in the log alone when it was looked at, for an export that must
// not grow with them: 20 bytes an order stay in memory, and the records of a part at a time. A
// store that was down may be millions of orders behind. Used on one thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "app/offline_log.h"
#include "base/result.h"
#include "domain/ids.h"
#include "domain/log_record.h"

namespace doorbuster {

class LogTail {
public:
    // The records in [from, to) of the sale's partition; at `from` the epoch `barrier` is open.
    struct Stretch {
        LogPlace from;
        LogPosition to;
        SaleNo sale;
        Epoch barrier;
    };
    [[nodiscard]] static Result<LogTail>
    read(std::unique_ptr<OfflineLog> log, const Stretch& stretch, std::size_t part_max = 100'000);

    // This order has come from the store meanwhile.
    void leave_out(const OrderId& order);
    // Gives the others to `take`, oldest first; ends with the first error that it returns. Once.
    using Take = std::function<Result<void>(LogRecord&& record)>;
    [[nodiscard]] Result<void> give(const Take& take);

private:
    LogTail(std::unique_ptr<OfflineLog> log, const Stretch& stretch, std::size_t part_max)
        : log_(std::move(log)), stretch_(stretch), part_max_(part_max) {}

    // Calls `visit` with each record that became or becomes an order of the sale.
    [[nodiscard]] Result<void> for_each(const std::function<void(LogRecord& record)>& visit);
    // The records of the orders from ids_[begin] on, at most part_max_ of them.
    [[nodiscard]] Result<void> load(std::size_t begin);

    std::unique_ptr<OfflineLog> log_; // null when all of it is in part_
    Stretch stretch_;
    std::size_t part_max_;
    std::vector<OrderId> ids_;      // sorted
    std::vector<bool> is_left_out_; // by place in ids_
    std::vector<LogRecord> part_;   // sorted by id
};

} // namespace doorbuster
