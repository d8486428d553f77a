// What a rebuild waits for. What it builds is tested with the whole path (purchase_path_test.cc).
#include "engine/rebuild.h"

#include <gtest/gtest.h>
#include <mutex>
#include <vector>

#include "adapters/memory/inventory.h"
#include "ports/fake_order_log.h"
#include "ports/fake_order_store.h"
#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;

// Remembers which positions of the log it was asked to wait for.
struct Progress final : StoreProgress {
    Task<bool> reached(LogPosition position, Duration) override {
        const std::lock_guard lock(mutex);
        awaited.push_back(position);
        co_return true;
    }
    Task<bool> stored(const OrderId&, Duration) override { co_return true; }
    Task<bool> caught_up(LogPartition, Duration) override { co_return true; }
    [[nodiscard]] bool is_store_up() const override { return true; }

    std::mutex mutex;
    std::vector<LogPosition> awaited;
};

TEST(Rebuild, WaitsForTheLastBarrierOfEachPartition) {
    const SystemClock clock;
    FakeOrderStore store(&clock);
    for (const std::uint32_t partition : {0, 0, 3}) {
        SaleTerms terms;
        terms.id = "sale-" + std::to_string(store.list_sales("", 10)->size());
        terms.stock = 10;
        terms.partition = LogPartition(partition);
        static_cast<void>(store.add_open_sale(terms));
    }
    RunningCores cores(1);
    BlockingPool blocking(1, 10);
    FakeOrderLog log;
    Progress progress;
    memory::MemoryInventory inventory(cores, clock);
    OrderTally tally;
    const Fingerprinter prints(1, 2);
    std::vector<std::unique_ptr<SaleDirectory>> directories;
    directories.push_back(std::make_unique<SaleDirectory>());
    Rebuild rebuild(
        {cores, clock, blocking, store, log, progress, inventory, tally, prints, directories});
    const auto rebuilt = run_on(cores.at(0), rebuild.run());
    ASSERT_TRUE(rebuilt) << rebuilt.error().message();
    EXPECT_EQ(*rebuilt, 3U);
    ASSERT_EQ(log.records().size(), 3U);
    // A writer that has come to the last partition may not have come to the first.
    const std::vector<LogPosition> last_of_each{LogPosition(2), LogPosition(3)};
    EXPECT_EQ(progress.awaited, last_of_each);
    blocking.stop();
    cores.stop();
}

} // namespace
} // namespace doorbuster
