// The names of things. Values.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fingerprint.h"
#include "base/strong.h"
#include "domain/time.h"

namespace doorbuster {

// A sale's number in the store: small, so that every record and order id can carry it.
using SaleNo = Strong<struct SaleNoTag, std::uint32_t>;
inline constexpr std::uint32_t kSaleNoMax = 2'147'483'647; // what every store can number
// Counts the rebuilds of a sale's inventory (design.md section 4, rule 4).
using Epoch = Strong<struct EpochTag, std::uint64_t>;
// The order log has partitions, which do not know each other's order; SQLite's has this one.
using LogPartition = Strong<struct LogPartitionTag, std::uint32_t>;
inline constexpr LogPartition kOnlyPartition{0};
// A record's place in its partition; the first record has position 1.
using LogPosition = Strong<struct LogPositionTag, std::uint64_t>;

// A record's place in the whole log.
struct LogPlace {
    LogPartition partition;
    LogPosition position{1};

    LogPlace() = default;
    LogPlace(LogPartition in, LogPosition at) : partition(in), position(at) {}
    // In a log with one partition a position says it all.
    LogPlace(LogPosition at) : position(at) {} // NOLINT(google-explicit-constructor)

    friend auto operator<=>(const LogPlace&, const LogPlace&) = default;
};

// How far somebody has come in each partition of the log.
class LogPositions {
public:
    // 1 where nothing was set.
    [[nodiscard]] LogPosition at(LogPartition partition) const {
        const std::size_t i = partition.get();
        return i < positions_.size() ? positions_[i] : LogPosition(1);
    }
    void set(LogPartition partition, LogPosition position) {
        const std::size_t i = partition.get();
        if (i >= positions_.size()) positions_.resize(i + 1, LogPosition(1));
        positions_[i] = position;
    }

private:
    std::vector<LogPosition> positions_;
};

// Units of a sale's stock. 64 bits, so that sums over a sale cannot overflow.
using Units = std::int64_t;

inline constexpr Units kStockMax = 1'000'000'000; // keeps every sum of units far from overflow
inline constexpr Units kQuantityMax = 1'000'000;  // of one purchase; more is a typing error
inline constexpr std::size_t kSaleIdMax = 63;     // contract: [a-z0-9][a-z0-9-]{0,62}
inline constexpr std::size_t kTitleMax = 200;     // characters that a page can show
inline constexpr std::size_t kUserIdMax = 128;    // contract section 3
inline constexpr std::size_t kIdempotencyKeyMax = 255;

// The name of a sale in addresses: a slug.
[[nodiscard]] bool is_sale_id(std::string_view text);
// 1 to 128 printable characters (UTF-8, no control characters), no spaces at the ends.
[[nodiscard]] bool is_user_id(std::string_view text);
// 1 to 255 printable characters (UTF-8, no control characters), spaces anywhere.
[[nodiscard]] bool is_idempotency_key(std::string_view text);

// An order's id: 160 bits, written as 32 characters of Crockford's base 32 in lower case. It leads
// with the sale and the time, so that a sale's orders lie together and in order in every store, and
// any node can tell from an id alone which sale, and so which partition, it belongs to.
//
//   32 bits sale | 48 bits milliseconds since 1970 | 80 bits unique (see OrderIdSource)
class OrderId {
public:
    static constexpr std::size_t kBytes = 20;
    static constexpr std::size_t kTextLength = 32;

    OrderId() = default;
    OrderId(SaleNo sale, TimePoint created_at, std::uint16_t unique_high, std::uint64_t unique_low);

    [[nodiscard]] static std::optional<OrderId> parse(std::string_view text);
    [[nodiscard]] static OrderId from_bytes(const std::uint8_t* bytes);
    // The lowest and the highest id that an order of the sale can have.
    [[nodiscard]] static OrderId first_of(SaleNo sale);
    [[nodiscard]] static OrderId last_of(SaleNo sale);

    [[nodiscard]] std::string text() const;
    [[nodiscard]] SaleNo sale() const;
    // When the purchase was accepted; the order's created_at is this, everywhere.
    [[nodiscard]] TimePoint created_at() const;
    [[nodiscard]] const std::array<std::uint8_t, kBytes>& bytes() const { return bytes_; }

    friend auto operator<=>(const OrderId&, const OrderId&) = default;

private:
    std::array<std::uint8_t, kBytes> bytes_{};
};

struct OrderIdHash {
    std::size_t operator()(const OrderId& id) const noexcept;
};

// Makes order ids that are unique across cores, processes and restarts: a random start of 64 bits a
// source, counted up, beside 16 bits that name the source. One core owns one source.
class OrderIdSource {
public:
    OrderIdSource(std::uint16_t source, std::uint64_t random_start)
        : source_(source), next_(random_start) {}

    [[nodiscard]] OrderId make(SaleNo sale, TimePoint now) { return {sale, now, source_, next_++}; }

private:
    std::uint16_t source_;
    std::uint64_t next_;
};

} // namespace doorbuster
