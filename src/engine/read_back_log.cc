#include "engine/read_back_log.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <spdlog/spdlog.h>

#include "base/assert.h"
#include "runtime/sleep.h"

namespace doorbuster {
namespace {

// How long a purchase waits for its read-back before its buyer hears 503. A healthy one takes
// milliseconds, the election of a partition's new leader a few seconds.
constexpr std::int64_t kDurableWaitNsMax = 5'000'000'000;
// A partition that has not let us read a record for so long takes no more: it has no leader, or too
// few replicas. Those that wait have their answer within three seconds more.
constexpr std::int64_t kStalledNs = 2'000'000'000;
// How long find() waits until this process has read what the log has by now.
constexpr Duration kFindWaitMax{2'000};
constexpr Duration kLookEvery{2};
// Numbers of our own that became void: whoever asks for one does so within its deadline.
constexpr std::size_t kVoidedMax = 100'000;
// A line position is the partition and a number in it.
constexpr int kNumberBits = 48;
constexpr std::uint64_t kNumberMask = (std::uint64_t{1} << kNumberBits) - 1;

using Steady = std::chrono::steady_clock;

} // namespace

// Resumed by one post a core, after the lock is given back.
class ReadBackLog::Wakeups {
public:
    explicit Wakeups(Cores& cores) : cores_(cores), by_core_(cores.size()) {}
    ~Wakeups() {
        for (std::size_t i = 0; i < by_core_.size(); ++i) {
            if (by_core_[i].empty()) continue;
            boost::asio::post(cores_.at(i).executor(), [all = std::move(by_core_[i])]() mutable {
                for (auto& [resume, is_durable] : all) resume(is_durable);
            });
        }
    }
    Wakeups(const Wakeups&) = delete;
    Wakeups& operator=(const Wakeups&) = delete;

    void add(Waiter&& waiter, bool is_durable) {
        by_core_[waiter.core].emplace_back(std::move(waiter.resume), is_durable);
    }

private:
    Cores& cores_;
    std::vector<std::vector<std::pair<Resume<bool>, bool>>> by_core_;
};

ReadBackLog::ReadBackLog(LogTransport& transport, Cores& cores, const Clock& clock, Options options)
    : transport_(transport), cores_(cores), clock_(clock), options_(std::move(options)) {
    set_store_up(true);
    for (std::uint32_t i = 0; i < transport.partitions(); ++i) {
        lines_.push_back(std::make_unique<Line>());
    }
}

ReadBackLog::~ReadBackLog() { stop(Duration(0)); }

Result<void> ReadBackLog::start(const LogPositions& from, std::map<SaleNo, Epoch> open) {
    std::vector<LogPosition> starts;
    for (std::uint32_t i = 0; i < lines_.size(); ++i) {
        Line& line = *lines_[i];
        starts.push_back(from.at(LogPartition(i)));
        line.read_next = line.stored_next = starts.back();
        line.open = open; // of a sale elsewhere nothing is ever read here
    }
    LogTransport::Listener listener;
    listener.on_records = [this](LogPartition partition, std::span<const RawRecord> records) {
        on_records(partition, records);
    };
    listener.on_failed = [this](std::span<const std::uint64_t> tags, const Error& error) {
        spdlog::warn("order log: {} records were not delivered: {}; producing them again",
                     tags.size(), error.message());
        on_failed(tags);
    };
    listener.on_broken = options_.on_fatal;
    if (auto started = transport_.start(starts, std::move(listener)); !started) return started;
    is_started_ = true;
    if (options_.ticks == Ticks::when_told) return {};
    thread_ = std::thread([this] {
        std::unique_lock lock(mutex_);
        while (!stopping_.wait_for(lock, kTick, [this] { return is_stopping_; })) {
            lock.unlock();
            tick();
            lock.lock();
        }
    });
    return {};
}

void ReadBackLog::stop(Duration wait_max) {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    stopping_.notify_all();
    if (!std::exchange(is_started_, false)) return;
    if (thread_.joinable()) thread_.join();
    transport_.stop(wait_max);
}

// --- appending -------------------------------------------------------------------------------

// An order's own id; of a barrier one that no order can have: it would be of the year 1970.
OrderId ReadBackLog::mark_of(LogRecordKind kind, SaleNo sale, Epoch epoch, const OrderId& order) {
    if (kind != LogRecordKind::barrier) return order;
    return {sale, TimePoint(), 0, epoch.get()};
}

LogPosition ReadBackLog::position_of(LogPartition partition, std::uint64_t number) {
    return LogPosition(std::uint64_t{partition.get()} << kNumberBits | number);
}

std::uint64_t ReadBackLog::number_of(LogPosition position) { return position.get() & kNumberMask; }

ReadBackLog::Line& ReadBackLog::line_of(LogPosition position) const {
    const std::size_t partition = position.get() >> kNumberBits;
    DB_ASSERT(partition < lines_.size());
    return *lines_[partition];
}

bool ReadBackLog::is_stalled(LogPartition partition) const {
    if (!transport_.is_up()) return true;
    const std::int64_t oldest_ns = lines_[partition.get()]->oldest_ns.load();
    return oldest_ns != 0 && clock_.steady_ns() - oldest_ns > kStalledNs;
}

bool ReadBackLog::take_room(LogPartition partition) {
    if (is_stalled(partition) || lag_records() >= options_.lag_max) return false;
    Line& line = *lines_[partition.get()];
    if (line.in_window.fetch_add(1) < options_.window_max) return true;
    line.in_window.fetch_sub(1);
    return false;
}

void ReadBackLog::return_room(LogPartition partition) {
    lines_[partition.get()]->in_window.fetch_sub(1);
}

LogPosition ReadBackLog::append(const LogRecordView& record) { return add(record); }

std::optional<LogPosition> ReadBackLog::enqueue(const LogRecordView& record) {
    if (record.kind == LogRecordKind::barrier) {
        lines_[record.partition.get()]->in_window.fetch_add(1); // it is what a rebuild waits for
    } else if (!take_room(record.partition)) {
        return std::nullopt;
    }
    return add(record);
}

LogPosition ReadBackLog::add(const LogRecordView& record) {
    DB_ASSERT(record.partition.get() < lines_.size());
    Entry entry;
    entry.sale = record.sale;
    entry.epoch = record.epoch;
    entry.mark = mark_of(record.kind, record.sale, record.epoch, record.order);
    append_record(entry.bytes, record);
    entry.appended_ns = clock_.steady_ns();
    totals_.appended.fetch_add(1, std::memory_order_relaxed);
    Line& line = *lines_[record.partition.get()];
    const std::lock_guard lock(line.mutex);
    const std::uint64_t number = line.first + line.entries.size();
    const LogPosition position = position_of(record.partition, number);
    if (record.kind == LogRecordKind::barrier) line.own[record.sale] = record.epoch;
    // In the order of the numbers, so that the log's order is ours.
    if (!transport_.produce(record.partition, entry.bytes, position.get())) {
        entry.state = State::failed; // tick() tries again
    }
    std::uint64_t& latest_copy = line.by_mark[entry.mark];
    entry.earlier_copy = std::exchange(latest_copy, number);
    if (line.entries.empty()) line.oldest_ns.store(entry.appended_ns);
    line.entries.push_back(std::move(entry));
    return position;
}

LogPosition ReadBackLog::last_enqueued(LogPartition partition) const {
    const Line& line = *lines_[partition.get()];
    const std::lock_guard lock(line.mutex);
    return position_of(partition, line.first + line.entries.size() - 1);
}

std::size_t ReadBackLog::here() const {
    for (std::size_t i = 0; i < cores_.size(); ++i) {
        if (cores_.at(i).is_here()) return i;
    }
    DB_ASSERT(!"durable() is awaited on a core");
}

bool ReadBackLog::is_durable(LogPosition position) const {
    const std::uint64_t number = number_of(position);
    const Line& line = line_of(position);
    const std::lock_guard lock(line.mutex);
    return number < line.first && !line.voided.contains(number);
}

Task<Step<void>> ReadBackLog::durable(LogPosition position) {
    const std::uint64_t number = number_of(position);
    Line& line = line_of(position);
    const std::size_t core = here();
    auto keep = [&](Resume<bool> resume) {
        Waiter waiter{core, clock_.steady_ns() + kDurableWaitNsMax, std::move(resume)};
        Wakeups wakeups(cores_);
        const std::lock_guard lock(line.mutex);
        if (number < line.first) {
            wakeups.add(std::move(waiter), !line.voided.contains(number));
        } else {
            line.entries[number - line.first].waiters.push_back(std::move(waiter));
        }
    };
    const bool is_valid = co_await suspend<bool>(std::move(keep));
    if (is_valid) co_return Step<void>();
    Refusal late;
    late.reason = PurchaseOutcome::unavailable;
    co_return tl::make_unexpected(Stop(late));
}

// --- reading back ----------------------------------------------------------------------------

void ReadBackLog::on_records(LogPartition partition, std::span<const RawRecord> records) {
    std::vector<std::pair<SaleNo, Epoch>> foreign;
    {
        Wakeups wakeups(cores_);
        Line& line = *lines_[partition.get()];
        const std::lock_guard lock(line.mutex);
        for (const RawRecord& raw : records) {
            auto parsed = parse_records(raw.bytes, 1);
            // What cannot be read is the writer's business; it is no yes of ours.
            if (parsed) {
                read_back(line, raw.position, std::move(parsed->front()), foreign);
            }
            lag_.fetch_add(static_cast<std::int64_t>(raw.position.next().get()) -
                           static_cast<std::int64_t>(line.read_next.get()));
            line.read_next = raw.position.next();
        }
        pop_settled(line, wakeups);
    }
    { const std::lock_guard lock(reading_mutex_); }
    reading_.notify_all();
    for (const auto& [sale, epoch] : foreign) {
        if (options_.on_barrier) options_.on_barrier(sale, epoch);
    }
}

void ReadBackLog::read_back(Line& line, LogPosition position, LogRecord record,
                            std::vector<std::pair<SaleNo, Epoch>>& foreign) {
    const OrderId mark = mark_of(record.kind, record.sale, record.epoch, record.order);
    const auto ours = line.by_mark.find(mark);
    Epoch& open = line.open[record.sale];
    bool is_valid = record.epoch == open;
    if (record.kind == LogRecordKind::barrier) {
        is_valid = record.epoch > open;
        if (is_valid) {
            open = record.epoch;
            // Whatever copy of an older epoch's record is still to come, it is void.
            void_older(line, record.sale, record.epoch);
            const auto own = line.own.find(record.sale);
            if (own != line.own.end() && own->second < record.epoch) {
                foreign.emplace_back(record.sale, record.epoch);
            }
        }
    }
    if (ours != line.by_mark.end()) {
        settle(line, ours->second, is_valid ? State::valid : State::is_void, position);
    }
    if (is_valid && record.kind == LogRecordKind::order && position >= line.stored_next) {
        const OrderId order = record.order;
        const auto [at, is_new] =
            line.unstored.try_emplace(order, Unstored{std::move(record), position});
        if (is_new) line.unstored_in_order.emplace_back(position, order);
    }
}

void ReadBackLog::settle(Line& line, std::uint64_t latest_copy, State state, LogPosition position) {
    for (std::uint64_t number = latest_copy; number >= line.first;) {
        Entry& entry = line.entries[number - line.first];
        const bool is_open = entry.state == State::flying || entry.state == State::failed;
        if (is_open) {
            entry.state = state;
            entry.position = position;
        }
        number = entry.earlier_copy;
    }
}

void ReadBackLog::void_older(Line& line, SaleNo sale, Epoch than) {
    for (Entry& entry : line.entries) {
        const bool is_open = entry.state == State::flying || entry.state == State::failed;
        if (entry.sale == sale && entry.epoch < than && is_open) entry.state = State::is_void;
    }
}

void ReadBackLog::pop_settled(Line& line, Wakeups& wakeups) {
    const std::int64_t now = clock_.steady_ns();
    while (!line.entries.empty()) {
        Entry& entry = line.entries.front();
        if (entry.state != State::valid && entry.state != State::is_void) return;
        const bool is_valid = entry.state == State::valid;
        if (is_valid) {
            append_seconds_.add(now - entry.appended_ns);
            if (entry.position >= line.stored_next) {
                line.own_unstored.emplace_back(line.first, entry.position);
            }
        } else {
            totals_.voided.fetch_add(1, std::memory_order_relaxed);
            line.voided.insert(line.first);
            if (line.voided.size() > kVoidedMax) line.voided.erase(line.voided.begin());
        }
        for (Waiter& waiter : entry.waiters) wakeups.add(std::move(waiter), is_valid);
        const auto mark = line.by_mark.find(entry.mark);
        if (mark != line.by_mark.end() && mark->second == line.first) line.by_mark.erase(mark);
        line.entries.pop_front();
        ++line.first;
        line.in_window.fetch_sub(1);
        line.oldest_ns.store(line.entries.empty() ? 0 : line.entries.front().appended_ns);
    }
}

void ReadBackLog::on_failed(std::span<const std::uint64_t> tags) {
    for (const std::uint64_t tag : tags) {
        Line& line = line_of(LogPosition(tag));
        const std::uint64_t number = tag & kNumberMask;
        const std::lock_guard lock(line.mutex);
        if (number < line.first) continue;
        Entry& entry = line.entries[number - line.first];
        if (entry.state == State::flying) entry.state = State::failed;
    }
}

void ReadBackLog::tick() {
    const std::int64_t now = clock_.steady_ns();
    const bool is_up = transport_.is_up();
    for (std::uint32_t i = 0; i < lines_.size(); ++i) {
        Line& line = *lines_[i];
        Wakeups wakeups(cores_);
        const std::lock_guard lock(line.mutex);
        bool has_room = is_up;
        for (std::uint64_t at = 0; at < line.entries.size(); ++at) {
            Entry& entry = line.entries[at];
            if (entry.state == State::failed && has_room) {
                const LogPosition tag = position_of(LogPartition(i), line.first + at);
                has_room = transport_.produce(LogPartition(i), entry.bytes, tag.get());
                if (has_room) {
                    entry.state = State::flying;
                    totals_.produced_again.fetch_add(1, std::memory_order_relaxed);
                }
            }
            std::erase_if(entry.waiters, [&](Waiter& waiter) {
                if (waiter.deadline_ns > now) return false;
                wakeups.add(std::move(waiter), false);
                return true;
            });
        }
        pop_settled(line, wakeups);
    }
}

// --- behind the log --------------------------------------------------------------------------

void ReadBackLog::stored(const LogPositions& next) {
    std::vector<OrderId> orders;
    for (std::uint32_t i = 0; i < lines_.size(); ++i) {
        Line& line = *lines_[i];
        const LogPosition to = next.at(LogPartition(i));
        const std::lock_guard lock(line.mutex);
        if (to <= line.stored_next) continue;
        lag_.fetch_sub(static_cast<std::int64_t>(to.get()) -
                       static_cast<std::int64_t>(line.stored_next.get()));
        line.stored_next = to;
        while (!line.own_unstored.empty() && line.own_unstored.front().second < to) {
            line.own_unstored.pop_front();
        }
        while (!line.unstored_in_order.empty() && line.unstored_in_order.front().first < to) {
            orders.push_back(line.unstored_in_order.front().second);
            line.unstored.erase(orders.back());
            line.unstored_in_order.pop_front();
        }
    }
    if (!orders.empty() && options_.on_stored) options_.on_stored(orders);
}

// The store may be ahead of us for a moment.
std::uint64_t ReadBackLog::lag_records() const {
    const std::int64_t lag = lag_.load(std::memory_order_relaxed);
    return lag > 0 ? static_cast<std::uint64_t>(lag) : 0;
}

std::optional<LogRecord> ReadBackLog::look_up(const OrderId& order) const {
    for (const auto& line : lines_) {
        const std::lock_guard lock(line->mutex);
        const auto at = line->unstored.find(order);
        if (at != line->unstored.end()) return at->second.record;
    }
    return std::nullopt;
}

Result<std::vector<LogPosition>> ReadBackLog::ends_now(Duration wait_max) {
    const std::uint64_t asked_before = ends_asked_.load();
    const std::lock_guard turn(ends_turn_);
    if (ends_no_ > asked_before) return ends_;
    ends_no_ = ends_asked_.fetch_add(1) + 1;
    ends_ = transport_.ends(wait_max);
    return ends_;
}

// Another node's yes may not have come by here yet: what the log has by now, it has.
Result<std::optional<LogRecord>> ReadBackLog::find(const OrderId& order) {
    if (auto known = look_up(order)) return known;
    if (!transport_.is_up()) return fail(Errc::unavailable, "the order log's brokers are away");
    const auto until = Steady::now() + kFindWaitMax;
    const auto ends = ends_now(kFindWaitMax);
    if (!ends) return tl::make_unexpected(ends.error());
    const auto has_read_it_all = [&] {
        for (std::size_t i = 0; i < lines_.size() && i < ends->size(); ++i) {
            const std::lock_guard lock(lines_[i]->mutex);
            if (lines_[i]->read_next < (*ends)[i]) return false;
        }
        return true;
    };
    std::unique_lock lock(reading_mutex_);
    if (!reading_.wait_until(lock, until, has_read_it_all)) {
        return fail(Errc::unavailable, "the order log is read too slowly");
    }
    lock.unlock();
    return look_up(order);
}

template <class Condition> Task<bool> ReadBackLog::poll(Condition is_so, Duration wait_max) {
    const std::int64_t end = clock_.steady_ns() + std::chrono::nanoseconds(wait_max).count();
    while (!is_so()) {
        if (clock_.steady_ns() >= end) co_return false;
        co_await sleep_for(clock_, kLookEvery);
    }
    co_return true;
}

bool ReadBackLog::is_in_store(const Line& line, std::uint64_t number) {
    const std::lock_guard lock(line.mutex);
    if (number >= line.first) return false;
    return line.own_unstored.empty() || line.own_unstored.front().first > number;
}

Task<bool> ReadBackLog::reached(LogPosition position, Duration wait_max) {
    const Line& line = line_of(position);
    const auto is_there = [&line, number = number_of(position)] {
        return is_in_store(line, number);
    };
    co_return co_await poll(is_there, wait_max);
}

Task<bool> ReadBackLog::stored(const OrderId& order, Duration wait_max) {
    // The line that it came by on, for whoever waits looks often.
    const Line* line = nullptr;
    for (const auto& each : lines_) {
        const std::lock_guard lock(each->mutex);
        if (each->unstored.contains(order)) line = each.get();
    }
    if (line == nullptr) co_return true;
    const auto is_there = [line, &order] {
        const std::lock_guard lock(line->mutex);
        return !line->unstored.contains(order);
    };
    co_return co_await poll(is_there, wait_max);
}

Task<bool> ReadBackLog::caught_up(LogPartition partition, Duration wait_max) {
    const Line& line = *lines_[partition.get()];
    LogPosition end;
    {
        const std::lock_guard lock(line.mutex);
        end = line.read_next;
    }
    const auto is_there = [&line, end] {
        const std::lock_guard lock(line.mutex);
        return line.stored_next >= end;
    };
    co_return co_await poll(is_there, wait_max);
}

} // namespace doorbuster
