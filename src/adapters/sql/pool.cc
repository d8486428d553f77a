#include "adapters/sql/pool.h"

#include <algorithm>
#include <chrono>

namespace doorbuster::sql {
namespace {

constexpr std::chrono::seconds kLeaseWaitMax{10}; // longer than any statement but a long read

} // namespace

Pool::Pool(StoreUrl url, const SessionOptions& options, std::size_t size) : url_(std::move(url)) {
    SessionOptions counted = options;
    counted.meter = &meter_;
    for (std::size_t i = 0; i < std::max<std::size_t>(size, 1); ++i) {
        sessions_.push_back(std::make_unique<Session>(url_, counted));
        free_.push_back(sessions_.back().get());
    }
}

void Pool::open() {
    for (const auto& session : sessions_) session->open();
}

Session* Pool::take() {
    std::unique_lock lock(mutex_);
    if (!returned_.wait_for(lock, kLeaseWaitMax, [this] { return !free_.empty(); })) {
        throw StoreFailure(Errc::unavailable, "all " + std::to_string(sessions_.size()) +
                                                  " connections have been in use for 10 s");
    }
    Session* session = free_.back(); // the one used last is the one that is connected
    free_.pop_back();
    return session;
}

void Pool::give_back(Session* session) {
    {
        const std::lock_guard lock(mutex_);
        free_.push_back(session);
    }
    returned_.notify_one();
}

std::size_t Pool::in_use() const {
    const std::lock_guard lock(mutex_);
    return sessions_.size() - free_.size();
}

std::size_t Pool::idle() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::ranges::count_if(free_, [](const Session* session) { return session->is_open(); }));
}

} // namespace doorbuster::sql
