#include "runtime/async_places.h"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <optional>
#include <vector>

#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;

constexpr Duration kLong{60'000};

struct Log {
    explicit Log(std::size_t size) : places(size) {}
    AsyncPlaces places;
    std::atomic<int> inside{0};
    std::atomic<int> inside_max{0};
    std::vector<int> order; // where there is one place
};

Task<int> enter(Log& log, int number) {
    const auto held = co_await log.places.take(kLong);
    if (!held) co_return -1;
    const int inside = ++log.inside;
    int before = log.inside_max;
    while (before < inside && !log.inside_max.compare_exchange_weak(before, inside)) continue;
    if (log.order.capacity() > 0) log.order.push_back(number);
    for (int turn = 0; turn < 3; ++turn) co_await boost::asio::post(use_task);
    --log.inside;
    co_return number;
}

Task<bool> try_for(AsyncPlaces places, Duration wait_max) {
    const auto held = co_await places.take(wait_max);
    co_return held.has_value();
}

TEST(AsyncPlaces, LetsInAsManyAsThereArePlacesFromAllCores) {
    constexpr int kTasks = 600;
    RunningCores cores(3);
    Log log(4);
    std::vector<std::future<int>> tasks;
    for (int i = 0; i < kTasks; ++i) {
        tasks.push_back(start_on(cores.owner_of(static_cast<std::size_t>(i)), enter(log, i)));
    }
    for (int i = 0; i < kTasks; ++i) EXPECT_EQ(finish(tasks[static_cast<std::size_t>(i)]), i);
    EXPECT_LE(log.inside_max.load(), 4);
    EXPECT_EQ(log.places.waiting(), 0U);
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(log.places.try_take().has_value()) << "none is lost";
}

TEST(AsyncPlaces, ServesThoseWhoWaitInTheirOrder) {
    constexpr int kTasks = 200;
    RunningCores cores(1);
    Log log(1);
    log.order.reserve(kTasks);
    std::vector<std::future<int>> tasks;
    for (int i = 0; i < kTasks; ++i) tasks.push_back(start_on(cores.at(0), enter(log, i)));
    for (auto& task : tasks) finish(task);
    for (int i = 0; i < kTasks; ++i) EXPECT_EQ(log.order[static_cast<std::size_t>(i)], i);
}

TEST(AsyncPlaces, WhoHasWaitedLongEnoughLeavesAndTakesNoPlaceAlong) {
    RunningCores cores(2);
    AsyncPlaces places(1);
    std::optional<AsyncPlaces::Held> held = places.try_take();
    ASSERT_TRUE(held.has_value());
    EXPECT_FALSE(places.try_take().has_value());
    auto patient = start_on(cores.at(0), try_for(places, kLong));
    EXPECT_TRUE(eventually([&] { return places.waiting() == 1; }));
    EXPECT_FALSE(run_on(cores.at(1), try_for(places, Duration(1))));
    EXPECT_EQ(places.waiting(), 1U) << "the other one still waits";
    held.reset();
    EXPECT_TRUE(finish(patient));
    EXPECT_TRUE(places.try_take().has_value());
}

TEST(AsyncPlaces, WhoStillWaitsWhenItsCoreGoesAwayEndsWithIt) {
    std::future<bool> waiting;
    AsyncPlaces places(1);
    const auto held = places.try_take();
    {
        RunningCores cores(1);
        waiting = start_on(cores.at(0), try_for(places, kLong));
        EXPECT_TRUE(eventually([&] { return places.waiting() == 1; }));
    }
    EXPECT_THROW(waiting.get(), std::future_error) << "dropped";
}

} // namespace
} // namespace doorbuster
