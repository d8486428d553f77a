#include "app/log_tail.h"

#include <algorithm>

namespace doorbuster {

Result<LogTail> LogTail::read(std::unique_ptr<OfflineLog> log, const Stretch& stretch,
                              std::size_t part_max) {
    LogTail tail(std::move(log), stretch, part_max);
    auto read = tail.for_each([&tail](LogRecord& record) { tail.ids_.push_back(record.order); });
    if (!read) return tl::make_unexpected(std::move(read.error()));
    std::ranges::sort(tail.ids_);
    const auto repeated = std::ranges::unique(tail.ids_);
    tail.ids_.erase(repeated.begin(), repeated.end());
    tail.is_left_out_.resize(tail.ids_.size());
    if (tail.ids_.size() > part_max) return tail;
    if (auto loaded = tail.load(0); !loaded) return tl::make_unexpected(std::move(loaded.error()));
    tail.log_.reset(); // as long as it is open, a running server cannot tidy up the log's file
    return tail;
}

Result<void> LogTail::for_each(const std::function<void(LogRecord& record)>& visit) {
    Epoch barrier = stretch_.barrier;
    const auto take = [&](AuditTail::Entry&& entry) -> Result<void> {
        LogRecord& record = entry.record;
        if (record.sale != stretch_.sale) return {};
        if (record.kind == LogRecordKind::barrier) barrier = std::max(barrier, record.epoch);
        if (record.kind == LogRecordKind::order && record.epoch == barrier) visit(record);
        return {};
    };
    return log_->for_each(stretch_.from, stretch_.to, take);
}

Result<void> LogTail::load(std::size_t begin) {
    part_.clear();
    if (begin == ids_.size()) return {};
    const std::size_t end = std::min(ids_.size(), begin + part_max_);
    const OrderId first = ids_[begin];
    const OrderId last = ids_[end - 1];
    auto read = for_each([&](LogRecord& record) {
        if (record.order >= first && record.order <= last) part_.push_back(std::move(record));
    });
    if (!read) return read;
    std::ranges::sort(part_, {}, &LogRecord::order);
    const auto repeated = std::ranges::unique(part_, {}, &LogRecord::order);
    part_.erase(repeated.begin(), repeated.end());
    return {};
}

void LogTail::leave_out(const OrderId& order) {
    const auto at = std::ranges::lower_bound(ids_, order);
    if (at == ids_.end() || *at != order) return;
    is_left_out_[static_cast<std::size_t>(at - ids_.begin())] = true;
}

Result<void> LogTail::give(const Take& take) {
    for (std::size_t begin = 0; begin < ids_.size(); begin += part_.size()) {
        if (log_) {
            if (auto loaded = load(begin); !loaded) return loaded;
        }
        for (std::size_t i = 0; i < part_.size(); ++i) {
            if (is_left_out_[begin + i]) continue;
            if (auto taken = take(std::move(part_[i])); !taken) return taken;
        }
    }
    return {};
}

} // namespace doorbuster
