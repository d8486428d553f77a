#include "engine/direct_log.h"

#include <array>
#include <spdlog/spdlog.h>
#include <string>
#include <utility>

namespace doorbuster {
namespace {

// A record that stands in no log has no place, and moves no position: see OrderStore::apply.
const LogPlace kNowhere{LogPosition(1)};

LogRecord owned(const LogRecordView& view) {
    LogRecord record;
    record.kind = view.kind;
    record.sale = view.sale;
    record.epoch = view.epoch;
    record.order = view.order;
    record.quantity = view.quantity;
    record.user = view.user;
    record.key = view.key;
    record.sighting = view.sighting;
    return record;
}

} // namespace

bool DirectLog::take_room(LogPartition) {
    if (room_taken_.fetch_add(1) < options_.waiting_max) return true;
    room_taken_.fetch_sub(1);
    return false;
}

void DirectLog::return_room(LogPartition) { room_taken_.fetch_sub(1); }

LogPosition DirectLog::append(const LogRecordView& record) {
    const std::lock_guard lock(mutex_);
    ++last_;
    waiting_.emplace(last_, owned(record));
    unwritten_.insert(last_);
    return LogPosition(last_);
}

std::optional<LogPosition> DirectLog::enqueue(const LogRecordView& record) {
    if (record.kind == LogRecordKind::barrier) {
        room_taken_.fetch_add(1); // it is what a rebuild waits for
    } else if (!take_room(record.partition)) {
        return std::nullopt;
    }
    return append(record);
}

std::vector<LogRecord> DirectLog::take(LogPosition position) {
    std::vector<LogRecord> taken;
    const std::lock_guard lock(mutex_);
    const auto last = waiting_.find(position.get());
    if (last == waiting_.end()) return taken;
    const bool is_barrier = last->second.kind == LogRecordKind::barrier;
    for (auto at = is_barrier ? waiting_.begin() : last; at != waiting_.end();) {
        const bool is_last = at == last;
        if (at->second.kind == last->second.kind) {
            taken.push_back(std::move(at->second));
            if (!is_last) unwritten_.erase(at->first);
            if (!is_last) room_taken_.fetch_sub(1);
            at = is_last ? at : waiting_.erase(at);
        } else {
            ++at;
        }
        if (is_last) break;
    }
    waiting_.erase(last);
    return taken;
}

void DirectLog::done(LogPosition position) {
    room_taken_.fetch_sub(1);
    const std::lock_guard lock(mutex_);
    unwritten_.erase(position.get());
}

Result<ApplyReport> DirectLog::write(std::span<const LogRecord> records) {
    const std::int64_t start_ns = parts_.clock.steady_ns();
    ApplyReport last;
    for (const LogRecord& record : records) {
        auto report =
            parts_.store.apply(kNowhere, kNowhere.position, std::span(&record, 1), options_.guard);
        const bool is_up =
            report || !(report.error().is(Errc::unavailable) || report.error().is(Errc::timeout));
        if (is_store_up_.exchange(is_up) != is_up) {
            spdlog::warn("order store: {}", is_up ? "writing again" : report.error().message());
        }
        if (!report) return report;
        last = std::move(*report);
    }
    append_seconds_.add(parts_.clock.steady_ns() - start_ns);
    return last;
}

Task<Step<void>> DirectLog::durable(LogPosition position) {
    const std::vector<LogRecord> records = take(position);
    if (records.empty()) co_return Step<void>(); // written before
    auto call = [this, &records] { return write(records); };
    const auto report = co_await parts_.blocking.run(call);
    done(position);
    if (!report && report.error().is(Errc::timeout)) {
        Refusal refusal; // the COMMIT was not answered: it may be there
        refusal.reason = PurchaseOutcome::unavailable;
        refusal.order_id = records.front().order;
        co_return tl::make_unexpected(Stop(refusal));
    }
    if (!report) co_return tl::make_unexpected(Stop(report.error()));
    if (report->refused > 0) {
        Refusal refusal;
        refusal.reason = PurchaseOutcome::lost_race;
        co_return tl::make_unexpected(Stop(refusal));
    }
    if (report->confirmed == 0) co_return Step<void>(); // a barrier
    parts_.tally.add(*report);
    const std::array<OrderId, 1> order{records.front().order};
    if (options_.on_stored) options_.on_stored(order);
    co_return Step<void>();
}

bool DirectLog::is_durable(LogPosition position) const {
    const std::lock_guard lock(mutex_);
    return !unwritten_.contains(position.get());
}

LogPosition DirectLog::last_enqueued(LogPartition) const {
    const std::lock_guard lock(mutex_);
    return LogPosition(last_);
}

} // namespace doorbuster
