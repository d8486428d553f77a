#include "engine/lifecycle.h"

#include <algorithm>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <spdlog/spdlog.h>

#include "runtime/resume.h"
#include "runtime/thread.h"

namespace doorbuster {
namespace {

// The store is asked at least this often for what is due. A payment time-out is a second or more:
// an order that comes after a look is not due before the next one.
constexpr Duration kLookEvery{1'000};
constexpr std::int64_t kLookEveryNs = 1'000'000'000;
// Rows of what is released are ticked off when nothing else is to do, or when there are so many.
constexpr std::size_t kReleasedMax = 20'000;
constexpr std::size_t kSweepRows = 2'000;
// Released in one turn of the sale's core: some 0.3 ms.
constexpr std::size_t kReleaseTurn = 1'000;
constexpr std::int64_t kReleasePauseNs = 1'000'000'000;
// What is due by this process's clock may not be due by the store's yet.
constexpr Duration kDuePauseMin{5};
constexpr Duration kBackoff{100};

using Steady = std::chrono::steady_clock;
using Timer = boost::asio::basic_waitable_timer<Steady, boost::asio::wait_traits<Steady>, Executor>;

Error stopping() { return Error{make_error_code(Errc::unavailable), "the server is stopping"}; }
Error too_many() {
    return Error{make_error_code(Errc::unavailable), "too many changes of orders wait"};
}

} // namespace

struct Lifecycle::Asked {
    Asked(OrderChange wanted, Executor core)
        : change(std::move(wanted)), home(std::move(core)), timer(home) {}

    const OrderChange change;
    const Executor home;                  // the caller's core
    std::atomic<bool> is_given_up{false}; // nobody waits any more
    // That core's alone: a timer must not even be destroyed elsewhere. Empty once it is answered.
    std::optional<Timer> timer;
    Resume<Result<Change>> resume;
};

Lifecycle::Lifecycle(Cores& cores, OrderStore& store, Inventory& inventory, const Clock& clock,
                     Options options)
    : cores_(cores),
      store_(store),
      inventory_(inventory),
      clock_(clock),
      options_(std::move(options)) {}

Lifecycle::~Lifecycle() { stop(); }

void Lifecycle::start() {
    thread_ = std::thread([this] {
        lower_priority_of_this_thread(Lag::somewhat);
        run();
    });
}

void Lifecycle::open() {
    {
        const std::lock_guard lock(mutex_);
        is_open_ = true;
    }
    changed_.notify_all();
}

void Lifecycle::stop() {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    refuse_waiting(stopping());
}

void Lifecycle::look_again() {
    {
        const std::lock_guard lock(mutex_);
        must_look_ = true;
    }
    changed_.notify_all();
}

void Lifecycle::sweep_soon() {
    {
        const std::lock_guard lock(mutex_);
        must_sweep_ = true;
    }
    changed_.notify_all();
}

bool Lifecycle::is_sweep_due() {
    const std::lock_guard lock(mutex_);
    return is_open_ && (must_sweep_ || clock_.steady_ns() >= next_sweep_ns_);
}

Task<Result<Lifecycle::Change>> Lifecycle::change(OrderChange change) {
    const Executor home = co_await boost::asio::this_coro::executor;
    const auto asked = std::make_shared<Asked>(std::move(change), home);
    auto keep = [this, asked](Resume<Result<Change>> resume) {
        asked->resume = std::move(resume);
        asked->timer->expires_after(options_.answer_wait);
        asked->timer->async_wait([asked](const boost::system::error_code& error) {
            if (error || !asked->resume) return;
            asked->is_given_up = true;
            asked->timer.reset();
            asked->resume(fail(Errc::unavailable, "the order store does not answer"));
        });
        std::optional<Error> refused;
        {
            const std::lock_guard lock(mutex_);
            if (is_stopping_) {
                refused = stopping();
            } else if (waiting_.size() >= options_.waiting_max) {
                refused = too_many();
            } else {
                waiting_.push_back(asked);
            }
        }
        if (refused) return answer(asked, tl::make_unexpected(std::move(*refused)));
        changed_.notify_all();
    };
    co_return co_await suspend<Result<Change>>(std::move(keep));
}

void Lifecycle::answer(const Waiting& asked, Result<Change> result) {
    auto deliver = [asked, result = std::move(result)]() mutable {
        if (!asked->resume) return;
        asked->timer.reset();
        asked->resume(std::move(result));
    };
    boost::asio::post(asked->home, std::move(deliver));
}

void Lifecycle::refuse_waiting(const Error& error) {
    std::deque<Waiting> refused;
    {
        const std::lock_guard lock(mutex_);
        refused.swap(waiting_);
    }
    for (const Waiting& each : refused) answer(each, tl::make_unexpected(error));
}

bool Lifecycle::is_stopping() {
    const std::lock_guard lock(mutex_);
    return is_stopping_;
}

bool Lifecycle::wait_for_work() {
    std::unique_lock lock(mutex_);
    Duration pause = kLookEvery;
    if (next_due_) pause = std::clamp(*next_due_ - clock_.now(), kDuePauseMin, kLookEvery);
    // Never past the next look, however often changes wake us meanwhile.
    const auto since = Duration((clock_.steady_ns() - looked_ns_) / 1'000'000);
    pause = std::min(pause, std::max(kLookEvery - since, Duration(0)));
    if (!is_open_) pause = kLookEvery;
    changed_.wait_for(lock, pause, [&] {
        return is_stopping_ || !waiting_.empty() || (is_open_ && (must_look_ || must_sweep_));
    });
    return !is_stopping_;
}

void Lifecycle::run() {
    while (wait_for_work()) {
        for (bool is_busy = true; is_busy && !is_stopping();) {
            // In turn, so that neither a storm of payments nor a mass expiry starves the other.
            const bool more_changes = change_batch();
            const bool more_due = expire_batch();
            is_busy = more_changes || more_due;
            if (orders_released_ >= kReleasedMax) tick_off();
            if (is_sweep_due()) sweep();
        }
        if (orders_released_ > 0) tick_off();
    }
}

bool Lifecycle::change_batch() {
    std::vector<Waiting> batch;
    {
        const std::lock_guard lock(mutex_);
        while (!waiting_.empty() && batch.size() < options_.batch_max) {
            if (!waiting_.front()->is_given_up) batch.push_back(std::move(waiting_.front()));
            waiting_.pop_front();
        }
    }
    if (batch.empty()) return false;
    std::vector<OrderChange> changes;
    for (const Waiting& each : batch) changes.push_back(each->change);
    const std::int64_t decided_ns = clock_.steady_ns();
    auto report = store_.change_orders(changes);
    if (!report) {
        for (const Waiting& each : batch) answer(each, tl::make_unexpected(report.error()));
        note_failure(report.error());
        return false;
    }
    is_store_up_ = true;
    std::vector<OrderId> changed;
    for (const Change& change : report->changes) {
        if (change.verdict == ChangeVerdict::unknown || change.before == change.order.status) {
            continue;
        }
        changed.push_back(change.order.id);
        if (options_.tally != nullptr) {
            options_.tally->move(change.order.id.sale(), change.before, change.order.status, 1);
        }
        switch (change.order.status) {
        case OrderStatus::paid: totals_.paid.fetch_add(1, std::memory_order_relaxed); break;
        case OrderStatus::cancelled:
            totals_.cancelled.fetch_add(1, std::memory_order_relaxed);
            break;
        case OrderStatus::expired: totals_.expired.fetch_add(1, std::memory_order_relaxed); break;
        case OrderStatus::queued:
        case OrderStatus::confirmed:
        case OrderStatus::refused: break;
        }
    }
    // Who hears that an order is over (cancelled, or expired when he came to pay) may buy again at
    // once: its units are for sale by then. A payment that was taken waits for nobody.
    std::vector<std::size_t> over;
    if (options_.on_changed && !changed.empty()) options_.on_changed(changed);
    for (std::size_t i = 0; i < batch.size(); ++i) {
        if (is_live(report->changes[i].order.status)) {
            answer(batch[i], std::move(report->changes[i]));
        } else {
            over.push_back(i);
        }
    }
    give_back(report->given_back, decided_ns);
    for (const std::size_t i : over) answer(batch[i], std::move(report->changes[i]));
    return true;
}

bool Lifecycle::expire_batch() {
    {
        const std::lock_guard lock(mutex_);
        if (!is_open_) return false;
        const std::int64_t now_ns = clock_.steady_ns();
        const bool is_due = next_due_ && *next_due_ <= clock_.now();
        if (!must_look_ && !is_due && now_ns - looked_ns_ < kLookEveryNs) return false;
        must_look_ = false;
        looked_ns_ = now_ns;
    }
    const std::int64_t decided_ns = clock_.steady_ns();
    auto report = store_.expire_due(options_.expire_max);
    if (!report) {
        note_failure(report.error());
        return false;
    }
    is_store_up_ = true;
    {
        const std::lock_guard lock(mutex_);
        next_due_ = report->next_due;
    }
    give_back(report->given_back, decided_ns);
    for (const GiveBack& each : report->given_back) {
        totals_.expired.fetch_add(each.orders.size(), std::memory_order_relaxed);
        if (options_.tally != nullptr) {
            options_.tally->move(each.sale.terms.no, OrderStatus::confirmed, OrderStatus::expired,
                                 static_cast<std::int64_t>(each.orders.size()));
        }
        if (options_.on_changed) options_.on_changed(each.orders);
    }
    // More at once only behind some: what is due by our clock may not be by the store's, or another
    // process has it at hand.
    return !report->given_back.empty() && report->next_due && *report->next_due <= clock_.now();
}

void Lifecycle::give_back(std::span<const GiveBack> given_back, std::int64_t decided_ns) {
    // Without the sale's terms: a withdrawal may have changed them whose hold still stands, and its
    // units would be missing twice.
    SaleTerms nothing_new;
    nothing_new.version = 0;
    for (const GiveBack& each : given_back) {
        nothing_new.no = each.sale.terms.no;
        if (!release(nothing_new, each)) continue; // being rebuilt: its rows wait for a sweep
        totals_.release_seconds.add(clock_.steady_ns() - decided_ns);
        note_released(each);
    }
}

void Lifecycle::note_released(const GiveBack& each) {
    totals_.released.fetch_add(each.orders.size(), std::memory_order_relaxed);
    orders_released_ += each.orders.size();
    GiveBack& row = released_[{each.sale.terms.no, each.sale.epoch}];
    row.sale = each.sale;
    row.orders.insert(row.orders.end(), each.orders.begin(), each.orders.end());
}

// On the sale's core, and waits for it: this thread has nothing better to do.
bool Lifecycle::release(const SaleTerms& terms, const GiveBack& each) {
    if (clock_.steady_ns() < release_again_ns_) return false;
    struct Call { // outlives us, should the core be stuck
        SaleTerms terms;
        std::vector<OrderId> orders;
        std::promise<bool> is_released;
    };
    for (std::size_t at = 0; at < each.orders.size(); at += kReleaseTurn) {
        const std::size_t end = std::min(at + kReleaseTurn, each.orders.size());
        auto call = std::make_shared<Call>();
        call->terms = terms;
        call->orders.assign(each.orders.begin() + static_cast<std::ptrdiff_t>(at),
                            each.orders.begin() + static_cast<std::ptrdiff_t>(end));
        auto is_released = call->is_released.get_future();
        auto turn = [this, call, epoch = each.sale.epoch]() -> Task<void> {
            const auto done = co_await inventory_.release(call->terms, epoch, call->orders);
            call->is_released.set_value(done.has_value());
        };
        boost::asio::co_spawn(cores_.at(0).executor(), std::move(turn), rethrow);
        if (is_released.wait_for(options_.release_wait) != std::future_status::ready) {
            release_again_ns_ = clock_.steady_ns() + kReleasePauseNs;
            return false;
        }
        if (!is_released.get()) return false;
    }
    return true;
}

void Lifecycle::tick_off() {
    std::vector<GiveBack> ticked;
    for (auto& [sale, each] : released_) ticked.push_back(std::move(each));
    const auto done = store_.give_backs_done(ticked);
    // What could not be ticked off is met again by a sweep, and its release changes nothing then.
    if (!done) note_failure(done.error());
    released_.clear();
    orders_released_ = 0;
}

// Rows that were left over: by a crash, by a sale that was cold, by another process.
void Lifecycle::sweep() {
    if (orders_released_ > 0) tick_off(); // or we would meet them again
    {
        const std::lock_guard lock(mutex_);
        must_sweep_ = false;
        next_sweep_ns_ = clock_.steady_ns() + kLookEveryNs;
    }
    std::optional<OrderId> after;
    while (!is_stopping()) {
        const auto pending = store_.pending_give_backs(after, kSweepRows);
        if (!pending) return note_failure(pending.error());
        if (pending->empty()) return;
        std::size_t rows = 0;
        for (const GiveBack& each : *pending) {
            rows += each.orders.size();
            after = std::max(after.value_or(OrderId()), each.orders.back());
            if (!release(each.sale.terms, each)) {
                // Cold: the rest of this sale waits for the next sweep.
                after = OrderId::last_of(each.sale.terms.no);
                continue;
            }
            note_released(each);
            if (options_.on_swept) options_.on_swept(each.sale.terms);
        }
        if (orders_released_ > 0) tick_off();
        if (rows < kSweepRows) return;
    }
}

void Lifecycle::note_failure(const Error& error) {
    if (!error.is(Errc::unavailable)) {
        options_.on_fatal(error);
    } else if (is_store_up_) {
        is_store_up_ = false;
        spdlog::warn("lifecycle: {}; trying again", error.message());
    }
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kBackoff, [&] { return is_stopping_; });
}

} // namespace doorbuster
