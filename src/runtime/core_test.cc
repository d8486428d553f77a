#include "runtime/core.h"

#include <gtest/gtest.h>
#include <memory>
#include <vector>

#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;

struct Visit {
    bool was_there = false;
    bool came_back = false;
};

Task<Visit> visit(Core& home, Core& target) {
    auto look = [&target] { return target.is_here(); };
    Visit seen;
    seen.was_there = co_await call_on(target, look);
    seen.came_back = home.is_here();
    co_return seen;
}

TEST(CallOn, RunsOnTheTargetCoreAndComesBack) {
    RunningCores cores(3);
    for (std::size_t home = 0; home < cores.size(); ++home) {
        for (std::size_t target = 0; target < cores.size(); ++target) {
            const Visit seen = run_on(cores.at(home), visit(cores.at(home), cores.at(target)));
            EXPECT_TRUE(seen.was_there) << home << " to " << target;
            EXPECT_TRUE(seen.came_back) << home << " to " << target;
        }
    }
}

Task<std::unique_ptr<int>> fetch_box(Core& target) {
    auto make = [] { return std::make_unique<int>(42); };
    co_return co_await call_on(target, make);
}

TEST(CallOn, BringsBackWhatCannotBeCopied) {
    RunningCores cores(2);
    const auto box = run_on(cores.at(0), fetch_box(cores.at(1)));
    ASSERT_TRUE(box);
    EXPECT_EQ(*box, 42);
}

// True if something posted before the call ran before the call's end.
Task<bool> gives_up_its_turn(Core& home) {
    bool posted_ran = false;
    auto note = [&posted_ran] { posted_ran = true; };
    boost::asio::post(home.executor(), note);
    auto nothing = [] {};
    co_await call_on(home, nothing);
    const bool gave_up = posted_ran;
    co_await boost::asio::post(use_task); // the posted one ends before the frame
    co_return gave_up;
}

TEST(CallOn, KeepsItsTurnOnItsOwnCore) {
    RunningCores cores(2);
    EXPECT_FALSE(run_on(cores.at(1), gives_up_its_turn(cores.at(1))));
}

Task<bool> count_up(Core& owner, int& counter, int times) {
    auto add = [&counter] { ++counter; };
    for (int i = 0; i < times; ++i) co_await call_on(owner, add);
    co_return true;
}

TEST(CallOn, GivesTheOwnerOfAStateAllItsChangesOneByOne) {
    constexpr int kTasks = 50;
    constexpr int kEach = 100;
    RunningCores cores(4);
    int counter = 0; // core 1's; no lock
    std::vector<std::future<bool>> tasks;
    for (std::size_t i = 0; i < kTasks; ++i) {
        tasks.push_back(start_on(cores.owner_of(i), count_up(cores.at(1), counter, kEach)));
    }
    for (auto& task : tasks) EXPECT_TRUE(finish(task));
    EXPECT_EQ(counter, kTasks * kEach);
}

TEST(Cores, SpreadOwnershipOverAllCores) {
    Cores cores(3);
    for (std::size_t n = 0; n < 12; ++n) EXPECT_EQ(cores.owner_of(n).index(), n % 3);
}

TEST(Cores, StopMoreThanOnceAndBeforeTheyStarted) {
    Cores idle(2);
    idle.stop();
    RunningCores running(2);
    running.stop();
    running.stop();
}

} // namespace
} // namespace doorbuster
