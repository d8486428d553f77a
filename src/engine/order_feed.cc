#include "engine/order_feed.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/system/error_code.hpp>
#include <utility>

#include "base/assert.h"

namespace doorbuster {
namespace {

constexpr Duration kPollMin{1'000};
// Of all watches together; a few per cent of what the store can answer.
constexpr std::int64_t kPollsPerSecondMax = 500;

} // namespace

OrderWatch::OrderWatch(OrderFeed& feed, const OrderId& order, Executor core)
    : feed_(feed), order_(order), bell_(std::make_shared<Bell>(core)) {}

OrderWatch::~OrderWatch() { feed_.leave(*this); }

Task<bool> OrderWatch::changed(Duration at_most) {
    const auto end = Steady::now() + at_most;
    while (!is_stopped_) {
        if (bell_->has_rung.exchange(false)) co_return true;
        if (Steady::now() >= end) break;
        boost::system::error_code ignored;
        bell_->timer.expires_at(end);
        co_await bell_->timer.async_wait(boost::asio::redirect_error(use_task, ignored));
    }
    co_return false;
}

void OrderWatch::stop() {
    is_stopped_ = true;
    bell_->timer.cancel();
}

OrderFeed::~OrderFeed() { DB_ASSERT(taken_ == 0); }

OrderFeed::Shard& OrderFeed::shard_of(const OrderId& order) {
    return shards_[OrderIdHash{}(order) % shards_.size()];
}

std::unique_ptr<OrderWatch> OrderFeed::watch(const OrderId& order, const Executor& core) {
    if (taken_.fetch_add(1) >= places_max_) {
        taken_.fetch_sub(1);
        return nullptr;
    }
    auto watch = std::make_unique<OrderWatch>(*this, order, core);
    Shard& shard = shard_of(order);
    const std::lock_guard lock(shard.mutex);
    shard.bells.emplace(order, watch->bell_);
    return watch;
}

void OrderFeed::leave(const OrderWatch& watch) {
    {
        Shard& shard = shard_of(watch.order_);
        const std::lock_guard lock(shard.mutex);
        const auto [first, last] = shard.bells.equal_range(watch.order_);
        const auto mine = std::find_if(
            first, last, [&watch](const auto& entry) { return entry.second == watch.bell_; });
        DB_ASSERT(mine != last);
        shard.bells.erase(mine);
    }
    taken_.fetch_sub(1);
}

// A watch that began before the store changed is seen here; one that begins later reads what is
// new.
void OrderFeed::changed(std::span<const OrderId> orders) {
    if (taken_.load() == 0) return;
    for (const OrderId& order : orders) ring(order);
}

void OrderFeed::changed(std::span<const LogRecord> records) {
    if (taken_.load() == 0) return;
    for (const LogRecord& record : records) {
        if (record.kind == LogRecordKind::order) ring(record.order);
    }
}

void OrderFeed::ring(const OrderId& order) {
    Shard& shard = shard_of(order);
    const std::lock_guard lock(shard.mutex);
    const auto [first, last] = shard.bells.equal_range(order);
    for (auto entry = first; entry != last; ++entry) {
        const std::shared_ptr<Bell>& bell = entry->second;
        if (bell->has_rung.exchange(true)) continue; // its core knows, or will before it waits
        boost::asio::post(bell->core, [bell] { bell->timer.cancel(); });
    }
}

Duration OrderFeed::poll_interval() const {
    const auto taken = static_cast<std::int64_t>(taken_.load(std::memory_order_relaxed));
    return std::max(kPollMin, Duration(taken * 1'000 / kPollsPerSecondMax));
}

} // namespace doorbuster
