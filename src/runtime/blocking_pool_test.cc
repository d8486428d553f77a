#include "runtime/blocking_pool.h"

#include <atomic>
#include <gtest/gtest.h>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;

struct Trip {
    bool was_off_core = false;
    bool came_back = false;
};

Task<Trip> make_trip(Core& home, BlockingPool& pool) {
    auto look = [&home]() -> Result<bool> { return !home.is_here(); };
    Trip trip;
    const auto off_core = co_await pool.run(look);
    trip.was_off_core = off_core.value_or(false);
    trip.came_back = home.is_here();
    co_return trip;
}

TEST(BlockingPool, RunsACallOffTheCoreAndComesBack) {
    RunningCores cores(1);
    BlockingPool pool(1, 1);
    const Trip trip = run_on(cores.at(0), make_trip(cores.at(0), pool));
    EXPECT_TRUE(trip.was_off_core);
    EXPECT_TRUE(trip.came_back);
}

Task<Result<int>> compute(BlockingPool& pool, Result<int> answer) {
    auto call = [&answer] { return answer; };
    co_return co_await pool.run(call);
}

TEST(BlockingPool, BringsBackTheResultAndTheError) {
    RunningCores cores(1);
    BlockingPool pool(1, 1);
    EXPECT_EQ(run_on(cores.at(0), compute(pool, 42)), 42);
    const auto failed = run_on(cores.at(0), compute(pool, fail(Errc::io, "the disk")));
    ASSERT_FALSE(failed);
    EXPECT_TRUE(failed.error().is(Errc::io));
    EXPECT_EQ(failed.error().context, "the disk");
}

Task<Result<bool>> wait_at(BlockingPool& pool, std::latch& gate, std::atomic<int>& running) {
    auto call = [&]() -> Result<bool> {
        ++running;
        gate.wait();
        return true;
    };
    co_return co_await pool.run(call);
}

TEST(BlockingPool, RefusesOneCallMoreThanMayWaitAndTakesTheNextWhenOneIsDone) {
    RunningCores cores(1);
    std::latch gate(1);
    std::atomic<int> running = 0;
    BlockingPool pool(1, 2);
    auto runs = start_on(cores.at(0), wait_at(pool, gate, running));
    ASSERT_TRUE(eventually([&] { return running == 1; }));
    auto waits = start_on(cores.at(0), wait_at(pool, gate, running));
    const auto refused = run_on(cores.at(0), compute(pool, 1)); // behind `waits` on the same core
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(Errc::unavailable));
    gate.count_down();
    EXPECT_TRUE(finish(runs).value_or(false));
    EXPECT_TRUE(finish(waits).value_or(false));
    EXPECT_EQ(run_on(cores.at(0), compute(pool, 2)), 2);
}

// Calls the pool many times and counts the calls whose answer came back right, to the right core.
Task<int> call_often(Core& home, BlockingPool& pool, int start, int times) {
    int right = 0;
    for (int i = start; i < start + times; ++i) {
        auto call = [i]() -> Result<int> { return i * 2; };
        const auto result = co_await pool.run(call);
        if (result && *result == i * 2 && home.is_here()) ++right;
    }
    co_return right;
}

TEST(BlockingPool, GivesEveryOneOfManyTasksItsOwnAnswer) {
    constexpr int kTasks = 100;
    constexpr int kEach = 20;
    RunningCores cores(3);
    BlockingPool pool(4, kTasks);
    std::vector<std::future<int>> tasks;
    for (int i = 0; i < kTasks; ++i) {
        Core& home = cores.owner_of(static_cast<std::size_t>(i));
        tasks.push_back(start_on(home, call_often(home, pool, i * kEach, kEach)));
    }
    for (auto& task : tasks) EXPECT_EQ(finish(task), kEach);
}

Task<bool> hold_until_ended(BlockingPool& pool, std::shared_ptr<int> held) {
    auto call = [&held]() -> Result<int> { return *held; };
    co_return (co_await pool.run(call)).has_value();
}

TEST(BlockingPool, EndsTheTasksWhoseCallsStillWaitWhenItGoes) {
    RunningCores cores(1);
    std::latch gate(1);
    std::atomic<int> running = 0;
    auto pool = std::make_unique<BlockingPool>(1, 2);
    auto runs = start_on(cores.at(0), wait_at(*pool, gate, running));
    ASSERT_TRUE(eventually([&] { return running == 1; }));
    const auto held = std::make_shared<int>(1);
    auto waits = start_on(cores.at(0), hold_until_ended(*pool, held));
    // A turn of the core later the call is in the pool's queue.
    static_cast<void>(run_on(cores.at(0), compute(*pool, 0)));
    // The waiting call is dropped, or it runs just before the pool stops: both end its task.
    std::thread releases([&gate] { gate.count_down(); });
    pool.reset();
    releases.join();
    EXPECT_TRUE(eventually([&] { return held.use_count() == 1; }));
}

Task<Result<bool>> wait_within(BlockingPool& pool, Duration wait_max,
                               std::shared_ptr<std::latch> gate) {
    auto call = [gate]() -> Result<bool> {
        gate->wait();
        return true;
    };
    co_return co_await pool.run_within(wait_max, "the store", std::move(call));
}

TEST(BlockingPool, GivesUpOnACallThatDoesNotEnd) {
    RunningCores cores(1);
    BlockingPool pool(1, 3);
    const auto gate = std::make_shared<std::latch>(1);
    const auto late = run_on(cores.at(0), wait_within(pool, Duration(20), gate));
    ASSERT_FALSE(late);
    EXPECT_TRUE(late.error().is(Errc::unavailable));
    EXPECT_EQ(late.error().context, "the store does not answer");
    const auto behind = run_on(cores.at(0), wait_within(pool, Duration(20), gate));
    EXPECT_FALSE(behind) << "it waited behind the first and was never begun";
    gate->count_down();
    const auto open = std::make_shared<std::latch>(0);
    const auto fine = run_on(cores.at(0), wait_within(pool, Duration(60'000), open));
    EXPECT_EQ(fine, true);
    // Those that were given up leave their place in the queue.
    EXPECT_TRUE(eventually([&] {
        return run_on(cores.at(0), wait_within(pool, Duration(60'000), open)).has_value();
    }));
    pool.stop();
}

} // namespace
} // namespace doorbuster
