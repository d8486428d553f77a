// What the order log holds, and its bytes. Pure.
//
//   u8 kind | u32 sale | u64 epoch | but for a barrier: 20 bytes id | u32 quantity
//   | u16 length, user | u16 length, key                  (little endian)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/ids.h"

namespace doorbuster {

// Stable numbers: they are in every log.
enum class LogRecordKind : std::uint8_t {
    // Never written: what a reader of a log that others write to hands on in place of bytes that it
    // cannot read. `user` is the cause, `key` the first kUnreadableMax of the bytes.
    unreadable = 0,
    order = 1,    // a hold that became an order
    barrier = 2,  // opens an epoch: older epochs' orders behind it are void
    withdraw = 3, // units that an operator takes out of the stock: `user` is who, `order` its id
};

inline constexpr std::size_t kUnreadableMax = 4'096; // enough to see what it is

struct LogRecord {
    LogRecordKind kind = LogRecordKind::order;
    SaleNo sale;
    Epoch epoch;
    OrderId order; // the rest is an order's or a withdrawal's
    Units quantity = 0;
    std::string user;
    std::string key; // empty: none
};

// The same, as it is enqueued, and where: the texts are the caller's.
struct LogRecordView {
    LogRecordKind kind = LogRecordKind::order;
    SaleNo sale;
    Epoch epoch;
    OrderId order;
    Units quantity = 0;
    std::string_view user;
    std::string_view key;
    LogPartition partition; // not among the bytes
};

void append_record(std::string& out, const LogRecordView& record);

// Reads the `count` records that make up `bytes`, all of it. Error: Errc::too_new for a kind that
// this version does not know, Errc::corrupt for anything else.
[[nodiscard]] Result<std::vector<LogRecord>> parse_records(std::string_view bytes,
                                                           std::size_t count);

} // namespace doorbuster
