#include "engine/order_writer.h"

#include <algorithm>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <iterator>
#include <spdlog/spdlog.h>

#include "runtime/thread.h"

namespace doorbuster {
namespace {

constexpr Duration kLogWait{200};
// A batch smaller than this waits a little for more: a transaction costs the same sync whether it
// holds one order or a thousand. Twenty milliseconds more of `queued` are not noticed.
constexpr std::size_t kGatherOrders = 1'000;
constexpr Duration kGather{20};
constexpr Duration kLookEvery{2};
constexpr Duration kBackoffFirst{50};
constexpr Duration kBackoffMax{2'000};

} // namespace

OrderWriter::OrderWriter(OrderLogReader& log, OrderStore& store, const Clock& clock,
                         Options options)
    : own_log_(&log),
      own_feed_(log),
      feed_(*own_feed_),
      store_(store),
      clock_(clock),
      options_(std::move(options)) {}

OrderWriter::OrderWriter(LogFeed& feed, OrderStore& store, const Clock& clock, Options options)
    : feed_(feed), store_(store), clock_(clock), options_(std::move(options)) {}

OrderWriter::~OrderWriter() { stop(Duration(0)); }

void OrderWriter::start(LogPosition from) {
    next_ = from;
    own_feed_->start(from);
    start();
}

void OrderWriter::start() {
    thread_ = std::thread([this] {
        lower_priority_of_this_thread(Lag::somewhat);
        run();
    });
}

void OrderWriter::stop(Duration wait_max) {
    if (!thread_.joinable()) return;
    if (own_log_ != nullptr && wait_max.count() > 0 && own_log_->end().get() > 1) {
        static_cast<void>(wait_for(LogPosition(own_log_->end().get() - 1), wait_max));
    }
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    moved_.notify_all();
    feed_.wake();
    thread_.join();
}

Result<void> OrderWriter::wait_for(LogPosition position, Duration wait_max) {
    std::unique_lock lock(mutex_);
    ++waiting_;
    moved_.notify_all();
    const bool is_there =
        moved_.wait_for(lock, wait_max, [&] { return next_ > position || is_stopping_; });
    --waiting_;
    if (is_there && next_ > position) return {};
    return fail(Errc::timeout, "the order writer is at log position " +
                                   std::to_string(next_.get()) + ", not yet at " +
                                   std::to_string(position.get()));
}

// Looks now and then: a batch takes longer than the pause, and nobody is waited for by a thread.
Task<bool> OrderWriter::reached(LogPosition position, Duration wait_max) {
    using Steady = std::chrono::steady_clock;
    using Timer =
        boost::asio::basic_waitable_timer<Steady, boost::asio::wait_traits<Steady>, Executor>;
    const auto look = [this, position](int waiting) {
        {
            const std::lock_guard lock(mutex_);
            waiting_ += waiting;
            if (next_ > position) return true;
        }
        if (waiting > 0) moved_.notify_all();
        return false;
    };
    bool is_there = look(1);
    Timer timer(co_await boost::asio::this_coro::executor);
    const auto end = Steady::now() + wait_max;
    while (!is_there && Steady::now() < end) {
        timer.expires_after(kLookEvery);
        co_await timer.async_wait(use_task);
        is_there = look(0);
    }
    look(-1);
    co_return is_there;
}

Task<bool> OrderWriter::stored(const OrderId&, Duration wait_max) {
    return caught_up(kOnlyPartition, wait_max);
}

Task<bool> OrderWriter::caught_up(LogPartition, Duration wait_max) {
    return reached(LogPosition(own_log_->end().get() - 1), wait_max);
}

bool OrderWriter::gather(Duration at_most) {
    std::unique_lock lock(mutex_);
    moved_.wait_for(lock, at_most, [&] { return is_stopping_ || waiting_ > 0; });
    return !is_stopping_;
}

bool OrderWriter::back_off(Duration time) {
    std::unique_lock lock(mutex_);
    moved_.wait_for(lock, time, [&] { return is_stopping_; });
    return !is_stopping_;
}

Result<LogBatch> OrderWriter::read() {
    if (ahead_) return *std::exchange(ahead_, std::nullopt);
    auto batch = feed_.next(options_.batch_max, kLogWait);
    if (!batch || batch->records.empty() || batch->records.size() >= kGatherOrders) return batch;
    if (!gather(kGather)) return batch;
    auto more = feed_.next(options_.batch_max - batch->records.size(), Duration(0));
    if (!more || more->records.empty()) return batch; // an error comes again
    if (more->partition != batch->partition || more->first != batch->next) {
        ahead_ = std::move(*more);
        return batch;
    }
    std::ranges::move(more->records, std::back_inserter(batch->records));
    batch->next = more->next;
    return batch;
}

void OrderWriter::run() {
    for (;;) {
        {
            const std::lock_guard lock(mutex_);
            if (is_stopping_) return;
        }
        auto batch = read();
        if (!batch && batch.error().is(Errc::unavailable)) { // busy: nothing is lost by waiting
            if (!back_off(kBackoffFirst)) return;
            continue;
        }
        if (!batch) {
            options_.on_fatal(batch.error());
            return;
        }
        if (!batch->records.empty() && !write(*batch)) return;
    }
}

bool OrderWriter::write(const LogBatch& batch) {
    for (Duration backoff = kBackoffFirst;; backoff = std::min(backoff * 2, kBackoffMax)) {
        switch (try_write(batch)) {
        case Written::yes:
        case Written::elsewhere: return true;
        case Written::not_now: break;
        case Written::ended: return false;
        }
        if (!back_off(backoff)) return false;
    }
}

OrderWriter::Written OrderWriter::try_write(const LogBatch& batch) {
    const LogPlace from(batch.partition, batch.first);
    const std::int64_t start = clock_.steady_ns();
    auto report = store_.apply(from, batch.next, batch.records, options_.guard);
    if (report) {
        if (!store_up_.exchange(true)) spdlog::info("order store: writing again");
        note(*report, clock_.steady_ns() - start);
        conclude(batch);
        return Written::yes;
    }
    if (report.error().is(Errc::fenced) && own_log_ == nullptr) {
        // Another writer has, or had, the partition. Batches that follow from this one would be
        // refused in the same way.
        if (ahead_ && ahead_->partition == batch.partition) ahead_.reset();
        auto rewound = feed_.rewind(batch.partition);
        if (rewound || rewound.error().is(Errc::unavailable)) return Written::elsewhere;
        options_.on_fatal(rewound.error());
        return Written::ended;
    }
    if (!report.error().is(Errc::unavailable)) {
        options_.on_fatal(report.error());
        return Written::ended;
    }
    if (store_up_.exchange(false)) {
        spdlog::warn("order store: {}; orders stay in the log, trying again",
                     report.error().message());
    }
    return Written::not_now;
}

void OrderWriter::conclude(const LogBatch& batch) {
    feed_.stored({batch.partition, batch.next});
    if (own_log_ != nullptr) {
        {
            const std::lock_guard lock(mutex_);
            next_ = batch.next;
        }
        moved_.notify_all();
    }
    if (options_.on_stored) options_.on_stored(batch.records);
}

void OrderWriter::note(const ApplyReport& report, std::int64_t took_ns) {
    constexpr auto relaxed = std::memory_order_relaxed;
    if (options_.tally != nullptr) options_.tally->add(report);
    totals_.batches.fetch_add(1, relaxed);
    totals_.orders.fetch_add(report.confirmed, relaxed);
    totals_.conflicts.fetch_add(report.conflicts, relaxed);
    totals_.refused.fetch_add(report.refused, relaxed);
    totals_.voided.fetch_add(report.voided, relaxed);
    totals_.dead_letters.fetch_add(report.dead_letters, relaxed);
    totals_.batch_seconds.add(took_ns);
    std::size_t bucket = 0;
    for (std::size_t bound = 1;
         bucket + 1 < totals_.batch_orders.size() && report.confirmed > bound; bound *= 4) {
        ++bucket;
    }
    totals_.batch_orders[bucket].fetch_add(1, relaxed);
    const bool is_demonstration = options_.guard != StockGuard::version_and_stock;
    if (report.refused > 0 && is_demonstration) { // that is what it does
        spdlog::debug("order store: {} orders named a version that was gone", report.refused);
    } else if (report.refused > 0) {
        spdlog::error("order store: its guard refused {} orders that the log had accepted; the "
                      "audit lists them",
                      report.refused);
    }
    if (report.dead_letters > 0) {
        spdlog::error("order store: {} orders could not be stored and are in dead_letters",
                      report.dead_letters);
    }
    if (report.voided > 0) {
        // A rebuild's barrier overtook them. A hold that is still wanted was appended again.
        spdlog::warn("order writer: {} orders were void: a rebuild had closed their epoch before "
                     "they reached the log, and nobody was told yes",
                     report.voided);
    }
}

} // namespace doorbuster
