#include "adapters/redis/inventory.h"

#include <gtest/gtest.h>

#include "adapters/redis/inventory_fixture.h"
#include "ports/inventory_contract.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;

// A node on a Redis of its own.
class Subject final : public InventorySubject {
public:
    Cores& cores() override { return node_.cores(); }
    Inventory& inventory() override { return node_.inventory(); }
    TimePoint now() override { return node_.now(); }
    void pass(Duration duration) override { node_.pass(duration); }

private:
    SomeRedis redis_;
    Node node_{redis_.url(), fresh_prefix()};
};

std::unique_ptr<InventorySubject> make() {
    if (!SomeRedis::is_here()) return nullptr;
    return std::make_unique<Subject>();
}

} // namespace
} // namespace doorbuster::redis

namespace doorbuster::fixture {

INSTANTIATE_TEST_SUITE_P(Redis, InventoryContract, testing::Values(&redis::make));

} // namespace doorbuster::fixture
