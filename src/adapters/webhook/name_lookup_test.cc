#include "adapters/webhook/name_lookup.h"

#include <atomic>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <vector>

#include "runtime/task_fixture.h"

namespace doorbuster::webhook {
namespace {

using doorbuster::fixture::eventually;
using doorbuster::fixture::finish;
using doorbuster::fixture::run_on;
using doorbuster::fixture::RunningCores;
using doorbuster::fixture::start_on;
using std::chrono::steady_clock;

// A name server that is silent until it is told to speak. Shared with the thread that asks, which
// outlives the test if it is never told.
struct Silent {
    std::atomic<int> asked = 0;
    std::promise<void> speak;
    std::shared_future<void> spoken = speak.get_future().share();
};

NameLookup lookup_with(const std::shared_ptr<Silent>& server) {
    return NameLookup("shop.example", [server](const std::string&) -> Result<Addresses> {
        ++server->asked;
        server->spoken.wait();
        return Addresses{boost::asio::ip::make_address("127.0.0.1")};
    });
}

TEST(NameLookup, GivesUpAtTheDeadlineAndAsksOnlyOnceAtATime) {
    const auto server = std::make_shared<Silent>();
    RunningCores cores(1);
    NameLookup lookup = lookup_with(server);
    for (int i = 0; i < 3; ++i) {
        const auto soon = steady_clock::now() + std::chrono::milliseconds(20);
        const auto answer = run_on(cores.at(0), lookup.addresses(soon));
        ASSERT_FALSE(answer.has_value());
        EXPECT_TRUE(answer.error().is(Errc::timeout));
    }
    // Who asks now gets the answer to the question of then.
    const auto late = steady_clock::now() + doorbuster::fixture::kPatience;
    auto first = start_on(cores.at(0), lookup.addresses(late));
    auto second = start_on(cores.at(0), lookup.addresses(late));
    server->speak.set_value();
    EXPECT_EQ(finish(first).value().size(), 1U);
    EXPECT_EQ(finish(second).value().size(), 1U);
    EXPECT_LE(server->asked, 2); // the second may have come after the answer
    const int before = server->asked;
    EXPECT_TRUE(run_on(cores.at(0), lookup.addresses(late)).has_value());
    EXPECT_EQ(server->asked, before + 1); // nothing is kept
    cores.stop();
    lookup.close();
}

TEST(NameLookup, TellsNobodyAfterItWasClosed) {
    const auto server = std::make_shared<Silent>();
    {
        RunningCores cores(1);
        NameLookup lookup = lookup_with(server);
        const auto soon = steady_clock::now() + std::chrono::milliseconds(20);
        EXPECT_FALSE(run_on(cores.at(0), lookup.addresses(soon)).has_value());
        cores.stop();
    }
    server->speak.set_value(); // the core is gone
    EXPECT_TRUE(eventually([&] { return server.use_count() == 1; }));
}

TEST(NameLookup, AnswersEveryoneWhenLookUpsFollowEachOtherClosely) {
    RunningCores cores(1);
    NameLookup lookup("shop.example", [](const std::string&) -> Result<Addresses> {
        return Addresses{boost::asio::ip::make_address("127.0.0.1")};
    });
    const auto late = steady_clock::now() + doorbuster::fixture::kPatience;
    std::vector<std::future<Result<Addresses>>> answers;
    for (int i = 0; i < 1'000; ++i)
        answers.push_back(start_on(cores.at(0), lookup.addresses(late)));
    for (auto& answer : answers) EXPECT_TRUE(finish(answer).has_value());
    cores.stop();
    lookup.close();
}

TEST(NameLookup, TakesAnAddressForItsOwnAnswer) {
    const auto server = std::make_shared<Silent>();
    RunningCores cores(1);
    NameLookup lookup("::1", [server](const std::string&) -> Result<Addresses> {
        ++server->asked;
        return fail(Errc::unavailable);
    });
    const auto answer = run_on(cores.at(0), lookup.addresses(steady_clock::now()));
    EXPECT_EQ(answer.value().front().to_string(), "::1");
    EXPECT_EQ(server->asked, 0);
    cores.stop();
}

} // namespace
} // namespace doorbuster::webhook
