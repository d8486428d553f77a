#include "adapters/memory/inventory.h"

#include <gtest/gtest.h>

#include "ports/inventory_contract.h"

namespace doorbuster::memory {
namespace {

using namespace fixture;

class Subject final : public InventorySubject {
public:
    Cores& cores() override { return cores_; }
    Inventory& inventory() override { return inventory_; }
    TimePoint now() override { return clock_.now(); }
    void pass(Duration duration) override { clock_.advance(duration); }

private:
    ManualClock clock_{kNoon};
    RunningCores cores_{3};
    MemoryInventory inventory_{cores_, clock_};
};

std::unique_ptr<InventorySubject> make() { return std::make_unique<Subject>(); }

TEST(MemoryInventory, CountsTogetherWithTheLogsPosition) {
    Subject subject;
    FakeOrderLog log;
    Cores& cores = subject.cores();
    ASSERT_TRUE(run_on(cores.at(0), subject.inventory().install(image_of(10, 5))));
    const Buyer a("a", order_no(1), 2, "");
    const Buyer b("b", order_no(2), 3, "");
    ASSERT_TRUE(run_on(cores.at(0), subject.inventory().reserve(a.request, log)));
    ASSERT_TRUE(run_on(cores.at(1), subject.inventory().reserve(b.request, log)));
    const auto counted = run_on(cores.at(2), subject.inventory().count(kSale, log));
    ASSERT_TRUE(counted);
    EXPECT_EQ(counted->remaining, 5);
    EXPECT_EQ(counted->log_end, LogPosition(2));
    EXPECT_EQ(counted->terms_version, 1);
    EXPECT_EQ(counted->pending, 0);
}

} // namespace
} // namespace doorbuster::memory

namespace doorbuster::fixture {

INSTANTIATE_TEST_SUITE_P(Memory, InventoryContract, testing::Values(&memory::make));

} // namespace doorbuster::fixture
