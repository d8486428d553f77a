// The log transport: a partitioned, durable log to which other processes append as well. What is a
// yes, an epoch or a hold is not known here: engine/read_back_log turns this into an OrderLog.
//
// A record is an opaque run of bytes. Records of one partition have one order, the same for every
// reader, and positions that rise (not always by one: a log may use up positions for itself).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/ids.h"
#include "domain/time.h"

namespace doorbuster {

struct RawRecord {
    LogPosition position;
    std::string bytes;
};

class LogTransport {
public:
    // Called on the transport's own threads; must not block and must not call stop(). What the
    // spans point to is gone when the call returns.
    struct Listener {
        // Records of one partition, everybody's, in order. Calls for one partition never overlap.
        std::function<void(LogPartition, std::span<const RawRecord>)> on_records;
        // Given up on: the tags of produce(). Each of them may be in the log all the same, or
        // still get there. Calls never overlap.
        std::function<void(std::span<const std::uint64_t> tags, const Error&)> on_failed;
        // At most once: the log is not what it was (deleted and created anew, cut off below us:
        // Errc::foreign_log), nothing is read back any more. The process should stop.
        std::function<void(const Error&)> on_broken;
    };

    virtual ~LogTransport() = default;

    // Any thread: the mark by which the store knows this log (design.md section 4, rule 2).
    [[nodiscard]] virtual const std::string& id() const = 0;
    // Any thread. Fixed while this object lives.
    [[nodiscard]] virtual std::uint32_t partitions() const = 0;
    // Once, blocking. Reads every partition from its entry of `from` (one each) on, for good.
    // Errc::foreign_log when one of them is outside what the partition holds.
    [[nodiscard]] virtual Result<void> start(std::span<const LogPosition> from,
                                             Listener listener) = 0;
    // Any thread, never blocks. Copies the bytes. False: the queue is full, the partition does not
    // exist, or the transport is not started, between two producers, or stopped; nothing was taken.
    // True: the record will be read back, or on_failed will name the tag, or both.
    [[nodiscard]] virtual bool produce(LogPartition partition, std::string_view bytes,
                                       std::uint64_t tag) = 0;
    // Any thread. Do the brokers answer?
    [[nodiscard]] virtual bool is_up() const = 0;
    // Any thread. "up", or what is wrong, in an operator's words.
    [[nodiscard]] virtual std::string state() const = 0;
    // Blocking, any thread. The position behind the last record of every partition, asked now: it
    // covers every record that anybody's produce was confirmed for before the call.
    [[nodiscard]] virtual Result<std::vector<LogPosition>> ends(Duration wait_max) = 0;
    // Blocking, any thread; callers take turns. Records of one partition in [from, to), about
    // `records_max` of them at most. None: there is none in [from, to). Errc::timeout when nothing
    // came within `wait_max`; Errc::foreign_log when `from` is not in the log (any more).
    [[nodiscard]] virtual Result<std::vector<RawRecord>>
    read(LogPlace from, LogPosition to, std::size_t records_max, Duration wait_max) = 0;
    // Blocking. Produces what was taken, up to `wait_max`; on_failed names what is left. Then no
    // callback comes any more. A destructor does it with no wait.
    virtual void stop(Duration wait_max) = 0;
};

} // namespace doorbuster
