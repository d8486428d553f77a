#include "domain/log_record.h"

#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/assert.h"

namespace doorbuster {
namespace {

static_assert(std::endian::native == std::endian::little, "the log's integers are little endian");

template <class Integer> void put(std::string& out, Integer value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out.append(bytes, sizeof value);
}

void put_text(std::string& out, std::string_view text) {
    DB_ASSERT(text.size() <= UINT16_MAX);
    put(out, static_cast<std::uint16_t>(text.size()));
    out.append(text);
}

class Reader {
public:
    explicit Reader(std::string_view bytes) : rest_(bytes) {}

    template <class Integer> [[nodiscard]] bool get(Integer& out) {
        if (rest_.size() < sizeof out) return false;
        std::memcpy(&out, rest_.data(), sizeof out);
        rest_.remove_prefix(sizeof out);
        return true;
    }
    [[nodiscard]] bool get_text(std::string& out) {
        std::uint16_t length = 0;
        if (!get(length) || rest_.size() < length) return false;
        out.assign(rest_.substr(0, length));
        rest_.remove_prefix(length);
        return true;
    }
    [[nodiscard]] bool get_order(OrderId& out) {
        if (rest_.size() < OrderId::kBytes) return false;
        out = OrderId::from_bytes(reinterpret_cast<const std::uint8_t*>(rest_.data()));
        rest_.remove_prefix(OrderId::kBytes);
        return true;
    }
    [[nodiscard]] bool done() const { return rest_.empty(); }

private:
    std::string_view rest_;
};

// The kind, among the bytes, of an order that a sighting follows.
constexpr std::uint8_t kSightedOrder = 4;
constexpr std::uint64_t kEpochMax = std::numeric_limits<std::int64_t>::max();

Result<LogRecord> parse_one(Reader& in) {
    std::uint8_t kind = 0;
    std::uint32_t sale = 0;
    std::uint64_t epoch = 0;
    if (!in.get(kind) || !in.get(sale) || !in.get(epoch)) {
        return fail(Errc::corrupt, "a log record is cut short");
    }
    LogRecord record;
    const bool is_sighted = kind == kSightedOrder;
    record.kind = is_sighted ? LogRecordKind::order : static_cast<LogRecordKind>(kind);
    switch (record.kind) {
    case LogRecordKind::order:
    case LogRecordKind::barrier:
    case LogRecordKind::withdraw: break;
    case LogRecordKind::unreadable: // in no log
    default: return fail(Errc::too_new, "log record of kind " + std::to_string(kind));
    }
    // No store could look it up: such a record is a stranger's.
    if (sale > kSaleNoMax || epoch > kEpochMax) {
        return fail(Errc::corrupt, "a log record of a sale or an epoch that cannot be");
    }
    record.sale = SaleNo(sale);
    record.epoch = Epoch(epoch);
    if (record.kind == LogRecordKind::barrier) return record;
    std::uint32_t quantity = 0;
    if (!in.get_order(record.order) || !in.get(quantity) || !in.get_text(record.user) ||
        !in.get_text(record.key)) {
        return fail(Errc::corrupt, "an order in the log is cut short");
    }
    record.quantity = quantity;
    if (!is_sighted) return record;
    StockSighting& seen = record.sighting.emplace();
    if (!in.get(seen.stock) || !in.get(seen.sold) || !in.get(seen.version)) {
        return fail(Errc::corrupt, "an order in the log is cut short");
    }
    return record;
}

} // namespace

void append_record(std::string& out, const LogRecordView& record) {
    const bool is_sighted = record.sighting && record.kind == LogRecordKind::order;
    put(out, is_sighted ? kSightedOrder : static_cast<std::uint8_t>(record.kind));
    put(out, record.sale.get());
    put(out, record.epoch.get());
    if (record.kind == LogRecordKind::barrier) return;
    const auto& id = record.order.bytes();
    out.append(reinterpret_cast<const char*>(id.data()), id.size());
    put(out, static_cast<std::uint32_t>(record.quantity));
    put_text(out, record.user);
    put_text(out, record.key);
    if (!is_sighted) return;
    put(out, record.sighting->stock);
    put(out, record.sighting->sold);
    put(out, record.sighting->version);
}

Result<std::vector<LogRecord>> parse_records(std::string_view bytes, std::size_t count) {
    std::vector<LogRecord> records;
    Reader in(bytes);
    for (std::size_t i = 0; i < count; ++i) {
        auto record = parse_one(in);
        if (!record) return tl::make_unexpected(std::move(record.error()));
        records.push_back(std::move(*record));
    }
    if (!in.done()) return fail(Errc::corrupt, "bytes behind the last log record");
    return records;
}

} // namespace doorbuster
