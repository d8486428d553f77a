// What an order writer reads: the partitions of the log that are its own at the moment. Several
// writers share a log's partitions; who has which may change at any time, and two may believe for
// a while to have the same one. That is harmless: the store takes a batch only at its own position
// (design.md section 4, rule 1).
//
// Owned by the writer's thread: next(), stored() and rewind() are called there only.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "base/result.h"
#include "domain/ids.h"
#include "domain/time.h"
#include "ports/order_log.h"

namespace doorbuster {

// Where the store is in a partition: its next position. Called by a feed in next() and rewind(),
// on the writer's thread, whenever a partition is gained or rewound.
using PositionOf = std::function<Result<LogPosition>(LogPartition)>;

class LogFeed {
public:
    virtual ~LogFeed() = default;

    // Any thread: the mark by which the store knows this log (design.md section 4, rule 2).
    [[nodiscard]] virtual const std::string& id() const = 0;
    // Blocking. Records of ONE partition, about `records_max` at most, that follow what was handed
    // out of it before. Empty: nothing within `wait_max`. Bytes that are no record come as
    // LogRecordKind::unreadable. Errors: PositionOf's own (asked again at the next call);
    // Errc::foreign_log when the store's position is outside the log; Errc::unavailable when the
    // brokers refuse to let us read (tried again at the next call).
    [[nodiscard]] virtual Result<LogBatch> next(std::size_t records_max, Duration wait_max) = 0;
    // Everything below `next` is in the store. For monitoring only: it becomes the group's
    // committed offset, which nobody starts from.
    virtual void stored(LogPlace next) = 0;
    // The store is elsewhere: drops what is buffered of the partition, asks PositionOf again and
    // goes there. A partition that is not ours any more: nothing happens.
    [[nodiscard]] virtual Result<void> rewind(LogPartition partition) = 0;
    // Any thread. Ends a next() that waits, or the next one that would.
    virtual void wake() = 0;
};

} // namespace doorbuster
