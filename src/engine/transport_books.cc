#include "engine/transport_books.h"

#include <utility>

namespace doorbuster {
namespace {

constexpr Duration kWaitMax{5'000}; // of one answer; an audit that waits longer gives up
constexpr std::size_t kReadRecords = 10'000;

} // namespace

Result<std::vector<LogPosition>> TransportBooks::ends() { return transport_.ends(kWaitMax); }

Result<std::vector<AuditTail::Entry>> TransportBooks::read(LogPlace from, LogPosition to) {
    std::vector<AuditTail::Entry> entries;
    while (from.position < to) {
        const auto records = transport_.read(from, to, kReadRecords, kWaitMax);
        if (!records) return tl::make_unexpected(records.error());
        if (records->empty()) break;
        for (const RawRecord& raw : *records) {
            auto parsed = parse_records(raw.bytes, 1);
            if (parsed) entries.push_back({raw.position, std::move(parsed->front())});
        }
        from.position = records->back().position.next();
    }
    return entries;
}

} // namespace doorbuster
