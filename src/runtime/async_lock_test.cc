#include "runtime/async_lock.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <vector>

#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;

struct Log { // core 0's
    AsyncLock lock;
    int inside = 0;
    int inside_max = 0;
    std::vector<int> order;
};

Task<int> enter(Log& log, int number) {
    const auto held = co_await log.lock.take();
    ++log.inside;
    log.inside_max = std::max(log.inside_max, log.inside);
    log.order.push_back(number);
    for (int turn = 0; turn < 3; ++turn) co_await boost::asio::post(use_task);
    --log.inside;
    co_return number;
}

TEST(AsyncLock, LetsTasksInOneByOneInTheirOrder) {
    constexpr int kTasks = 200;
    RunningCores cores(1);
    Log log;
    std::vector<std::future<int>> tasks;
    for (int i = 0; i < kTasks; ++i) tasks.push_back(start_on(cores.at(0), enter(log, i)));
    for (int i = 0; i < kTasks; ++i) {
        EXPECT_EQ(finish(tasks[static_cast<std::size_t>(i)]), i);
    }
    EXPECT_EQ(log.inside_max, 1);
    for (int i = 0; i < kTasks; ++i) EXPECT_EQ(log.order[static_cast<std::size_t>(i)], i);
    EXPECT_EQ(log.lock.waiting(), 0U);
}

} // namespace
} // namespace doorbuster
