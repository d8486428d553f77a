// What the order log holds, and its bytes. Pure.
//
//   u8 kind | u32 sale | u64 epoch | but for a barrier: 20 bytes id | u32 quantity
//   | u16 length, user | u16 length, key
//   | an order of kind 4 only: i64 stock, i64 sold, i64 version      (little endian)
#pragma once

#include <cstdint>
#include <optional>
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

// What a stock that is only looked at showed (design.md section 3). Whether it was still so when
// the order came to the store is for the store's guard.
struct StockSighting {
    Units stock = 0;
    Units sold = 0;
    std::int64_t version = 0; // the sale's row's, where all three were read in one moment

    friend bool operator==(const StockSighting&, const StockSighting&) = default;
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
    // Of an order for which nothing was held. Among the bytes it makes the order's kind 4.
    std::optional<StockSighting> sighting = {};
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
    std::optional<StockSighting> sighting = {};
};

void append_record(std::string& out, const LogRecordView& record);

// Reads the `count` records that make up `bytes`, all of it. Error: Errc::too_new for a kind that
// this version does not know, Errc::corrupt for anything else.
[[nodiscard]] Result<std::vector<LogRecord>> parse_records(std::string_view bytes,
                                                           std::size_t count);

} // namespace doorbuster
