// The orders of one sale that stood in the log alone when it was looked at, for an export that must
// not grow with them: 20 bytes an order stay in memory, and the records of a part at a time. A
// store that was down may be millions of orders behind. Used on one thread.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "adapters/sqlite/log_file.h"
#include "base/result.h"
#include "domain/ids.h"
#include "domain/log_record.h"

namespace doorbuster {

class LogTail {
public:
    // The records from `from` on, where the epoch `barrier` is open.
    [[nodiscard]] static Result<LogTail> read(sqlite::LogSnapshot log, LogPosition from,
                                              SaleNo sale, Epoch barrier,
                                              std::size_t part_max = 100'000);

    // This order has come from the store meanwhile.
    void leave_out(const OrderId& order);
    // Gives the others to `take`, oldest first; ends with the first error that it returns. Once.
    using Take = std::function<Result<void>(LogRecord&& record)>;
    [[nodiscard]] Result<void> give(const Take& take);

private:
    LogTail(sqlite::LogSnapshot log, LogPosition from, SaleNo sale, Epoch barrier,
            std::size_t part_max)
        : log_(std::move(log)), from_(from), sale_(sale), barrier_(barrier), part_max_(part_max) {}

    // Calls `visit` with each record that became or becomes an order of the sale.
    [[nodiscard]] Result<void> for_each(const std::function<void(LogRecord& record)>& visit);
    // The records of the orders from ids_[begin] on, at most part_max_ of them.
    [[nodiscard]] Result<void> load(std::size_t begin);

    std::optional<sqlite::LogSnapshot> log_; // none when all of it is in part_
    LogPosition from_;
    SaleNo sale_;
    Epoch barrier_;
    std::size_t part_max_;
    std::vector<OrderId> ids_;      // sorted
    std::vector<bool> is_left_out_; // by place in ids_
    std::vector<LogRecord> part_;   // sorted by id
};

} // namespace doorbuster
