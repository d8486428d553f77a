// The model of design.md section 4: the production code of a cluster in one thread, in virtual
// time, under whatever a seed draws.
//
// Inside the simulation is what decides: the inventory's Lua scripts as Redis runs them, and
// adapters/redis/inventory with its queue of attempts, its rebuild's image and its signals;
// engine/read_back_log, purchase_service, rebuild, sale_keeper and order_writer's batches. Around
// them are simulated: the network and Redis' server below redis::Commands (so not redis::Client:
// MOVED, EVALSHA and reconnects have tests of their own), Kafka below LogTransport and LogFeed, the
// store (ports/fake_order_store.h), and the small threads of engine/store_watch and
// engine/lifecycle, whose work nodes.cc does in their place. HTTP, limits and payments are not in
// it.
//
// DOORBUSTER_MODEL_SEED=n runs that seed alone, DOORBUSTER_MODEL_SEEDS=n so many of them;
// DOORBUSTER_MODEL_TRACE=1 prints what happens.
#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <string>

#include "cluster.h"

namespace doorbuster::model {
namespace {

// Enough for half a minute of one core.
constexpr std::uint64_t kSeeds = 1'000;
constexpr std::uint64_t kSeedsToFindAFault = 3'000;

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class ClusterModel : public testing::Test {
protected:
    ClusterModel() { spdlog::set_level(spdlog::level::off); }
    ~ClusterModel() override { spdlog::set_level(spdlog::level::info); }

    // The first violation among so many seeds, with its seed; empty: none.
    [[nodiscard]] std::string first_violation(std::uint64_t seeds, Sabotage sabotage) {
        const std::uint64_t only = number_from("DOORBUSTER_MODEL_SEED", 0);
        const std::uint64_t first = only != 0 ? only : 1;
        const std::uint64_t last = only != 0 ? only : seeds;
        for (std::uint64_t seed = first; seed <= last; ++seed) {
            Cluster cluster(scripts, seed, sabotage);
            const auto violation = cluster.run();
            steps += cluster.steps();
            orders += cluster.books().valid_orders();
            voided += cluster.books().voided();
            yeses += cluster.books().yeses();
            if (violation) {
                return *violation + " (DOORBUSTER_MODEL_SEED=" + std::to_string(seed) + ")";
            }
        }
        return "";
    }

    LuaScripts scripts;
    std::uint64_t steps = 0;
    std::uint64_t orders = 0;
    std::uint64_t voided = 0;
    std::uint64_t yeses = 0;
};

TEST_F(ClusterModel, KeepsItsPromisesWhateverHappens) {
    const std::uint64_t seeds = number_from("DOORBUSTER_MODEL_SEEDS", kSeeds);
    EXPECT_EQ(first_violation(seeds, {}), "");
    std::printf("%llu schedules, %llu steps, %llu orders, %llu yeses, %llu void records\n",
                static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(steps),
                static_cast<unsigned long long>(orders), static_cast<unsigned long long>(yeses),
                static_cast<unsigned long long>(voided));
}

TEST_F(ClusterModel, FindsThatBarriersAreNeeded) {
    Sabotage sabotage;
    sabotage.drops_barriers = true;
    const std::string found = first_violation(kSeedsToFindAFault, sabotage);
    EXPECT_NE(found, "");
    std::printf("%s\n", found.c_str());
}

TEST_F(ClusterModel, FindsThatADeliveryIsNoYes) {
    Sabotage sabotage;
    sabotage.answers_on_delivery = true;
    const std::string found = first_violation(kSeedsToFindAFault, sabotage);
    EXPECT_NE(found, "");
    std::printf("%s\n", found.c_str());
}

TEST_F(ClusterModel, FindsThatAFailedProduceMustNotEndAHold) {
    Sabotage sabotage;
    sabotage.releases_on_failure = true;
    const std::string found = first_violation(kSeedsToFindAFault, sabotage);
    EXPECT_NE(found, "");
    std::printf("%s\n", found.c_str());
}

} // namespace
} // namespace doorbuster::model
