// The order log: decides who got a unit (design.md section 4). Two faces: cores append to it and
// wait until what they appended is durable, the order writer's thread reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "domain/ids.h"
#include "domain/log_record.h"
#include "domain/purchase.h"
#include "domain/time.h"
#include "runtime/task.h"

namespace doorbuster {

class OrderLog {
public:
    virtual ~OrderLog() = default;

    // Positions on this face are this process's own: in the order of its enqueue() within one
    // partition, and comparable within it only. A log that nobody else writes to has no others.

    // Any core. Takes room for one record of the partition, before anything is held for it. False
    // when the log is full (too much not yet durable, or not yet stored) or stalled.
    virtual bool take_room(LogPartition partition) = 0;
    // Any core. The room is not needed after all.
    virtual void return_room(LogPartition partition) = 0;
    // Any core. Takes the record's place now, in the caller's turn, in room that was taken; it will
    // be written.
    virtual LogPosition append(const LogRecordView& record) = 0;
    // Any core. Both at once. nullopt when the log is full: nothing was taken. A barrier always
    // gets its place.
    virtual std::optional<LogPosition> enqueue(const LogRecordView& record) = 0;
    // Any core. Completes when the record at `position`, and everything enqueued to its partition
    // before, has been read back as valid or is known to be on disk. A Refusal `unavailable` when
    // its epoch was closed, or when it takes longer than the deadline: then the record may still
    // become durable.
    virtual Task<Step<void>> durable(LogPosition position) = 0;
    // Any core. Has it become durable already?
    [[nodiscard]] virtual bool is_durable(LogPosition position) const = 0;
    // Any core. Does it refuse because nothing can be written now (a full disk, brokers that are
    // away), rather than because it is busy? One partition's stall is no other's.
    [[nodiscard]] virtual bool is_stalled(LogPartition) const { return false; }
    // Any core. The last position of the partition that was given out; 0 when none was.
    [[nodiscard]] virtual LogPosition last_enqueued(LogPartition partition) const = 0;
    // Any core. Records that were enqueued and are not in the store yet.
    [[nodiscard]] virtual std::uint64_t lag_records() const = 0;
    // Blocking: never on a core. The record of an order that is durable but may not be in the
    // store yet, wherever it stands.
    [[nodiscard]] virtual Result<std::optional<LogRecord>> find(const OrderId& order) = 0;
};

struct LogBatch {
    LogPartition partition;
    std::vector<LogRecord> records; // consecutive
    LogPosition first{1};           // position of records.front()
    LogPosition next{1};            // behind the last record
};

// Keeps the log's records from being pruned while somebody outside the writer reads them.
class LogPin {
public:
    virtual ~LogPin() = default;
};

// Reads one partition of the log. Blocking: never on a core. Any one thread at a time per instance.
class OrderLogReader {
public:
    virtual ~OrderLogReader() = default;

    // A random id that is part of the log itself.
    [[nodiscard]] virtual const std::string& id() const = 0;
    // The log holds the positions [first, end).
    [[nodiscard]] virtual LogPosition first() const = 0;
    [[nodiscard]] virtual LogPosition end() const = 0;
    // Durable records from `from` on, about `records_max` of them at most. Waits up to `wait_max`
    // for the first. `from` outside [first, end] is Errc::foreign_log.
    [[nodiscard]] virtual Result<LogBatch> read_batch(LogPosition from, std::size_t records_max,
                                                      Duration wait_max) = 0;
    // Everything below `next` is in the store: it may be pruned.
    virtual void stored(LogPosition next) = 0;
    [[nodiscard]] virtual std::unique_ptr<LogPin> pin() = 0;
};

} // namespace doorbuster
