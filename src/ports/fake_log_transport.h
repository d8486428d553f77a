// For tests: a partitioned log in memory, and the ways of several processes to it. Nothing moves by
// itself: the test says when what was produced reaches the log, comes twice or is given up on, and
// when a process reads what is there.
//
// Any thread may produce; the test's side is one thread's, and a Listener is called on that one,
// within the call that says so.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "domain/log_record.h"
#include "ports/log_transport.h"

namespace doorbuster::fixture {

// What the brokers have.
class FakeLog {
public:
    explicit FakeLog(std::uint32_t partitions) : partitions_(partitions) {}

    // Anybody's record.
    LogPosition append(LogPartition partition, std::string_view bytes) {
        const std::lock_guard lock(mutex_);
        Partition& in = partitions_[partition.get()];
        in.records.push_back({in.end, std::string(bytes)});
        in.end = in.end.next();
        return in.records.back().position;
    }
    LogPosition append(const LogRecordView& record) {
        std::string bytes;
        append_record(bytes, record);
        return append(record.partition, bytes);
    }
    // The log uses up positions for itself.
    void skip(LogPartition partition, std::uint64_t positions) {
        const std::lock_guard lock(mutex_);
        LogPosition& end = partitions_[partition.get()].end;
        end = LogPosition(end.get() + positions);
    }
    [[nodiscard]] std::vector<RawRecord> read(LogPlace from, LogPosition to,
                                              std::size_t records_max) const {
        const std::lock_guard lock(mutex_);
        const auto& records = partitions_[from.partition.get()].records;
        std::vector<RawRecord> found;
        auto at = std::ranges::lower_bound(records, from.position, {}, &RawRecord::position);
        for (; at != records.end() && at->position < to && found.size() < records_max; ++at) {
            found.push_back(*at);
        }
        return found;
    }
    [[nodiscard]] std::size_t size(LogPartition partition) const {
        const std::lock_guard lock(mutex_);
        return partitions_[partition.get()].records.size();
    }
    // Behind the last record.
    [[nodiscard]] LogPosition end(LogPartition partition) const {
        const std::lock_guard lock(mutex_);
        const auto& records = partitions_[partition.get()].records;
        return records.empty() ? LogPosition(1) : records.back().position.next();
    }
    [[nodiscard]] const std::string& id() const { return id_; }
    [[nodiscard]] std::uint32_t partitions() const {
        return static_cast<std::uint32_t>(partitions_.size());
    }

private:
    struct Partition {
        std::vector<RawRecord> records;
        LogPosition end{1};
    };
    const std::string id_ = "fake log";
    mutable std::mutex mutex_; // guards what the partitions hold
    std::vector<Partition> partitions_;
};

// One process's. The log outlives it.
class FakeLogTransport final : public LogTransport {
public:
    struct Flight {
        std::uint64_t tag = 0;
        std::string bytes;
    };
    static constexpr std::size_t kAll = SIZE_MAX;

    explicit FakeLogTransport(FakeLog& log) : log_(log), ways_(log.partitions()) {}

    // The test's side.
    [[nodiscard]] std::size_t flying(LogPartition partition) const {
        const std::lock_guard lock(mutex_);
        return ways_[partition.get()].flying.size();
    }
    [[nodiscard]] std::uint64_t produced() const { // produces that were taken, ever
        const std::lock_guard lock(mutex_);
        return produced_;
    }
    // The oldest reach the log. Returns their tags.
    std::vector<std::uint64_t> land(LogPartition partition, std::size_t count = kAll) {
        std::vector<std::uint64_t> tags;
        while (tags.size() < count) {
            const auto flight = take(partition);
            if (!flight) break;
            log_.append(partition, flight->bytes);
            tags.push_back(flight->tag);
        }
        return tags;
    }
    // The oldest reaches the log twice.
    void land_twice(LogPartition partition) {
        const auto flight = take(partition);
        if (!flight) return;
        log_.append(partition, flight->bytes);
        log_.append(partition, flight->bytes);
    }
    // The oldest is given up on. It did not get into the log, or it did; what is returned may be
    // appended later.
    enum class Landed { no, yes };
    std::optional<Flight> fail(LogPartition partition, Landed landed = Landed::no) {
        auto flight = take(partition);
        if (!flight) return std::nullopt;
        if (landed == Landed::yes) log_.append(partition, flight->bytes);
        report(std::span(&flight->tag, 1));
        return flight;
    }
    // The oldest is under way alone: the test appends it to the log, or gives up on it.
    std::optional<Flight> take(LogPartition partition) {
        const std::lock_guard lock(mutex_);
        auto& flying = ways_[partition.get()].flying;
        if (flying.empty()) return std::nullopt;
        Flight oldest = std::move(flying.front());
        flying.pop_front();
        return oldest;
    }
    void give_up(std::uint64_t tag) { report(std::span(&tag, 1)); }
    // The process reads on: what is in the log by now, at most so many.
    std::size_t hand_on(LogPartition partition, std::size_t count = kAll) {
        LogPosition from;
        {
            const std::lock_guard lock(mutex_);
            if (!is_started_) return 0;
            from = ways_[partition.get()].next;
        }
        const auto records = log_.read({partition, from}, log_.end(partition), count);
        if (records.empty()) return 0;
        {
            const std::lock_guard lock(mutex_);
            ways_[partition.get()].next = records.back().position.next();
        }
        listener_.on_records(partition, records);
        return records.size();
    }
    // Everything that is under way arrives.
    void settle() {
        for (std::uint32_t i = 0; i < partitions(); ++i) {
            land(LogPartition(i));
            hand_on(LogPartition(i));
        }
    }
    void set_up(bool is_up) {
        const std::lock_guard lock(mutex_);
        is_up_ = is_up;
    }
    void set_room(std::size_t flying_max) { // of a partition: past it produce() says no
        const std::lock_guard lock(mutex_);
        room_ = flying_max;
    }
    void break_off(const Error& error) { listener_.on_broken(error); }

    // LogTransport
    [[nodiscard]] const std::string& id() const override { return log_.id(); }
    [[nodiscard]] std::uint32_t partitions() const override { return log_.partitions(); }
    [[nodiscard]] Result<void> start(std::span<const LogPosition> from,
                                     Listener listener) override {
        const std::lock_guard lock(mutex_);
        for (std::uint32_t i = 0; i < partitions(); ++i) {
            if (from[i] > log_.end(LogPartition(i))) return fail_foreign();
            ways_[i].next = from[i];
        }
        listener_ = std::move(listener);
        is_started_ = true;
        return {};
    }
    [[nodiscard]] bool produce(LogPartition partition, std::string_view bytes,
                               std::uint64_t tag) override {
        const std::lock_guard lock(mutex_);
        if (!is_started_ || partition.get() >= ways_.size()) return false;
        Way& way = ways_[partition.get()];
        if (way.flying.size() >= room_) return false;
        way.flying.push_back({tag, std::string(bytes)});
        ++produced_;
        return true;
    }
    [[nodiscard]] bool is_up() const override {
        const std::lock_guard lock(mutex_);
        return is_up_;
    }
    [[nodiscard]] std::string state() const override { return is_up() ? "up" : "away"; }
    [[nodiscard]] Result<std::vector<LogPosition>> ends(Duration) override {
        if (!is_up()) return doorbuster::fail(Errc::unavailable, "the brokers are away");
        std::vector<LogPosition> all;
        for (std::uint32_t i = 0; i < partitions(); ++i) all.push_back(log_.end(LogPartition(i)));
        return all;
    }
    [[nodiscard]] Result<std::vector<RawRecord>> read(LogPlace from, LogPosition to,
                                                      std::size_t records_max, Duration) override {
        if (!is_up()) return doorbuster::fail(Errc::unavailable, "the brokers are away");
        return log_.read(from, to, records_max);
    }
    void stop(Duration wait_max) override {
        for (std::uint32_t i = 0; i < partitions(); ++i) {
            if (wait_max.count() > 0 && is_up()) land(LogPartition(i));
            while (fail(LogPartition(i))) {
            }
        }
        const std::lock_guard lock(mutex_);
        is_started_ = false;
    }

private:
    struct Way {
        std::deque<Flight> flying;
        LogPosition next{1};
    };
    static tl::unexpected<Error> fail_foreign() {
        return doorbuster::fail(Errc::foreign_log, "a position outside the log");
    }
    void report(std::span<const std::uint64_t> tags) {
        Error gave_up;
        gave_up.code = make_error_code(Errc::timeout);
        listener_.on_failed(tags, gave_up);
    }

    FakeLog& log_;
    Listener listener_;
    mutable std::mutex mutex_; // guards the rest
    std::vector<Way> ways_;
    std::uint64_t produced_ = 0;
    std::size_t room_ = kAll;
    bool is_up_ = true;
    bool is_started_ = false;
};

} // namespace doorbuster::fixture
