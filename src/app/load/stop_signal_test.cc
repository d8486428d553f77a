#include "app/load/stop_signal.h"

#include <chrono>
#include <gtest/gtest.h>
#include <thread>

namespace doorbuster {
namespace {

using std::chrono::steady_clock;

// Longer than a repeat is taken for the first signal's echo.
constexpr std::chrono::milliseconds kEchoEnds{250};

TEST(StopSignal, TakesARepeatAtOnceForTheSameSignal) {
    const StopSignal stop;
    EXPECT_FALSE(stop.flag().load());
    for (int i = 0; i < 3; ++i) {
        std::raise(SIGTERM);
        EXPECT_TRUE(stop.flag().load());
    }
}

TEST(StopSignal, ExitsWhenItIsAskedAgain) {
    EXPECT_EXIT(
        {
            const StopSignal stop;
            std::raise(SIGTERM);
            const auto end = steady_clock::now() + kEchoEnds;
            while (steady_clock::now() < end) {
                std::this_thread::yield();
            }
            std::raise(SIGINT);
        },
        testing::ExitedWithCode(1), "second signal: exiting at once");
}

TEST(StopSignal, BeginsAnewWithTheNextRun) {
    for (int i = 0; i < 2; ++i) {
        const StopSignal stop;
        EXPECT_FALSE(stop.flag().load());
        std::raise(SIGINT);
        EXPECT_TRUE(stop.flag().load());
    }
}

} // namespace
} // namespace doorbuster
