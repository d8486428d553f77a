#include "adapters/redis/pipeline.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace doorbuster::redis {

void Pipeline::push(Waiting waiting, Time deadline, Time reply_due) {
    calls_.push_back({std::move(waiting), deadline, reply_due});
}

Pipeline::Waiting Pipeline::answer() {
    DB_ASSERT(!calls_.empty());
    Waiting waiting = std::move(calls_.front().waiting);
    calls_.pop_front();
    if (sent_ > 0) --sent_;
    return waiting;
}

std::vector<Pipeline::Waiting> Pipeline::expire(Time now) {
    std::vector<Waiting> expired;
    for (Call& call : calls_) {
        if (call.waiting && call.deadline <= now) expired.push_back(std::move(call.waiting));
    }
    return expired;
}

bool Pipeline::is_stalled(Time now) const {
    return !calls_.empty() && calls_.front().reply_due <= now;
}

Pipeline::Time Pipeline::next_check() const {
    if (calls_.empty()) return Time::max();
    Time at = calls_.front().reply_due;
    for (const Call& call : calls_) {
        if (call.waiting) at = std::min(at, call.deadline);
    }
    return at;
}

Pipeline::Lost Pipeline::take_all() {
    Lost lost;
    std::size_t index = 0;
    for (Call& call : calls_) {
        auto& where = index++ < sent_ ? lost.sent : lost.unsent;
        if (call.waiting) where.push_back(std::move(call.waiting));
    }
    calls_.clear();
    sent_ = 0;
    return lost;
}

} // namespace doorbuster::redis
