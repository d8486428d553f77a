// For tests of the read-back log: processes on one log, all of them in the test's own thread. That
// is core 0 in turn() and the transport's thread in the calls of FakeLogTransport; time passes in
// pass().
#pragma once

#include <future>
#include <gtest/gtest.h>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/read_back_log.h"
#include "ports/fake_log_transport.h"
#include "runtime/task_fixture.h"
#include "runtime/virtual_time.h"

namespace doorbuster::fixture {

inline const TimePoint kStart(Duration(1'700'000'000'000));
inline const SaleNo kSale(7);
inline constexpr LogPartition kHere(0);
inline constexpr LogPartition kElsewhere(1);
inline constexpr Duration kDeadline{5'000}; // of durable()
inline constexpr Duration kLong{60'000};

template <class T> bool is_ready(const std::future<T>& answer) {
    return answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

// What durable() says: nothing yet, yes, or `unavailable`.
inline std::string said(std::future<Step<void>>& answer) {
    if (!is_ready(answer)) return "nothing";
    const auto result = answer.get();
    if (result) return "yes";
    const auto* refusal = std::get_if<Refusal>(&result.error());
    return refusal != nullptr ? to_string(refusal->reason) : "error";
}
inline std::string said(std::future<bool>& answer) {
    if (!is_ready(answer)) return "nothing";
    return answer.get() ? "yes" : "no";
}

// One process on the shared log.
struct Process {
    explicit Process(FakeLog& shared, VirtualTime& time, ReadBackLog::Options options = {})
        : transport(shared), time(time), log(transport, cores, time, finish(std::move(options))) {}

    ReadBackLog::Options finish(ReadBackLog::Options options) {
        if (options.lag_max == 0) options.lag_max = 1'000;
        options.ticks = ReadBackLog::Ticks::when_told;
        options.on_barrier = [this](SaleNo sale, Epoch epoch) { seen.emplace_back(sale, epoch); };
        options.on_stored = [this](std::span<const OrderId> orders) {
            stored.insert(stored.end(), orders.begin(), orders.end());
        };
        options.on_fatal = [this](const Error&) { is_broken = true; };
        return options;
    }
    void start(Epoch open = Epoch(1)) {
        ASSERT_TRUE(log.start({}, std::map<SaleNo, Epoch>{{kSale, open}}).has_value());
    }
    void turn() { cores.at(0).context().poll(); }
    void pass(Duration wait) {
        bool is_over = false;
        time.in(wait, [&is_over] { is_over = true; });
        while (!is_over) {
            time.step();
            turn();
        }
    }
    template <class T> std::future<T> ask(Task<T> task) {
        auto answer = start_on(cores.at(0), std::move(task));
        turn();
        return answer;
    }
    void hand_on(LogPartition partition = kHere) {
        transport.hand_on(partition);
        turn();
    }
    void settle() {
        transport.settle();
        turn();
    }
    void tick() {
        log.tick();
        turn();
    }
    void store_up_to(LogPartition partition, LogPosition next) {
        LogPositions all;
        all.set(partition, next);
        log.stored(all);
        turn();
    }

    FakeLogTransport transport;
    VirtualTime& time;
    Cores cores{1};                             // never started
    std::vector<std::pair<SaleNo, Epoch>> seen; // foreign barriers
    std::vector<OrderId> stored;
    bool is_broken = false;
    ReadBackLog log;
};

class ReadBackLogTest : public testing::Test {
protected:
    ReadBackLogTest() { us.start(); }

    [[nodiscard]] LogRecordView order(Epoch epoch = Epoch(1), LogPartition partition = kHere) {
        return copy_of(ids.make(kSale, time.now()), epoch, partition);
    }
    [[nodiscard]] static LogRecordView copy_of(const OrderId& id, Epoch epoch = Epoch(1),
                                               LogPartition partition = kHere) {
        LogRecordView record;
        record.sale = kSale;
        record.epoch = epoch;
        record.order = id;
        record.quantity = 1;
        record.user = "user";
        record.partition = partition;
        return record;
    }
    [[nodiscard]] static LogRecordView barrier(Epoch epoch, LogPartition partition = kHere) {
        LogRecordView record;
        record.kind = LogRecordKind::barrier;
        record.sale = kSale;
        record.epoch = epoch;
        record.partition = partition;
        return record;
    }
    [[nodiscard]] LogPosition append(const LogRecordView& record) {
        const auto position = us.log.enqueue(record);
        EXPECT_TRUE(position.has_value());
        return *position;
    }

    VirtualTime time{kStart};
    OrderIdSource ids{1, 1};
    FakeLog shared{2};
    Process us{shared, time};
    Process them{shared, time};
};

} // namespace doorbuster::fixture
