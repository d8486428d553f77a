#include "runtime/resume.h"

#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <string>

#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;

// Where a suspended Task's rest is kept.
struct Keeper {
    std::atomic<bool> has = false;
    Resume<std::string> kept;
};

struct Ending { // tells that the Task's frame is gone
    std::atomic<bool>& ended;
    explicit Ending(std::atomic<bool>& flag) : ended(flag) {}
    ~Ending() { ended = true; }
    Ending(const Ending&) = delete;
    Ending& operator=(const Ending&) = delete;
};

Task<std::string> wait_for_value(Keeper& keeper, std::atomic<bool>& ended) {
    const Ending ending(ended);
    auto keep = [&keeper](Resume<std::string> resume) {
        keeper.kept = std::move(resume);
        keeper.has = true;
    };
    auto value = co_await suspend<std::string>(std::move(keep));
    co_return value + "!";
}

TEST(Resume, ContinuesTheTaskWithTheValueInsideTheCall) {
    RunningCores cores(1);
    Keeper keeper;
    std::atomic<bool> ended = false;
    auto result = start_on(cores.at(0), wait_for_value(keeper, ended));
    ASSERT_TRUE(eventually([&] { return keeper.has.load(); }));
    bool ended_within = false;
    std::promise<void> done;
    boost::asio::post(cores.at(0).executor(), [&] {
        keeper.kept("now");
        ended_within = ended;
        done.set_value();
    });
    done.get_future().wait();
    EXPECT_TRUE(ended_within);
    EXPECT_FALSE(keeper.kept);
    EXPECT_EQ(finish(result), "now!");
}

TEST(Resume, DroppedUncalledEndsTheTask) {
    RunningCores cores(1);
    Keeper keeper;
    std::atomic<bool> ended = false;
    auto result = start_on(cores.at(0), wait_for_value(keeper, ended));
    ASSERT_TRUE(eventually([&] { return keeper.has.load(); }));
    EXPECT_FALSE(ended);
    boost::asio::post(cores.at(0).executor(), [&] { keeper.kept = {}; });
    EXPECT_TRUE(eventually([&] { return ended.load(); }));
    EXPECT_THROW(finish(result), std::future_error); // nobody will give it a value
}

} // namespace
} // namespace doorbuster
