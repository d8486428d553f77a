// The inventory on a Redis Cluster: each sale lies on one node.
#include <gtest/gtest.h>
#include <set>
#include <sstream>

#include "adapters/redis/cluster_fixture.h"
#include "adapters/redis/inventory_fixture.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;

SaleImage image_in(SaleNo sale, Epoch epoch) {
    SaleImage image = image_of(10, 1, epoch);
    image.terms.no = sale;
    return image;
}

Step<Reservation> reserve_in(Node& node, SaleNo sale, std::uint64_t order) {
    const Buyer buyer("u" + std::to_string(order), OrderId(sale, kNoon, 0, order), 1, "k");
    return run_on(node.cores().at(0), node.inventory().reserve(buyer.request, node.log()));
}

TEST(RedisInventoryCluster, SellsOnEveryNodeAndBelievesNoSaleThatHasMoved) {
    DB_NEED(has_redis_server(), "redis-server");
    Cluster cluster;
    Node node(cluster.options(), Node::named("db"), 1);
    std::set<int> owners;
    for (std::uint32_t i = 1; i <= 12; ++i) {
        const SaleNo sale(i);
        owners.insert(cluster.owner_of(SaleKeys("db", sale).routing_key()));
        ASSERT_TRUE(node.install(image_in(sale, Epoch(1)))) << i;
        ASSERT_TRUE(reserve_in(node, sale, 1)) << i;
    }
    EXPECT_EQ(owners.size(), 3U);

    const SaleNo moved(7);
    const std::string key = SaleKeys("db", moved).routing_key();
    const int from = cluster.owner_of(key);
    const int to = (from + 1) % Cluster::kNodes;
    cluster.begin_move(key, from, to);
    std::istringstream keys(
        cluster.ask(from, {"CLUSTER", "GETKEYSINSLOT", std::to_string(slot_of(key)), "100"}));
    for (std::string name; keys >> name;) cluster.move_key(name, from, to);
    cluster.end_move(key, to);

    EXPECT_EQ(refusal_of(reserve_in(node, moved, 2)).reason, PurchaseOutcome::unavailable);
    ASSERT_TRUE(node.install(image_in(moved, Epoch(2))));
    EXPECT_TRUE(reserve_in(node, moved, 3));
    EXPECT_TRUE(reserve_in(node, SaleNo(8), 3));
    EXPECT_EQ(cluster.ask(to, {"HGET", key, "epoch"}), "2");
}

} // namespace
} // namespace doorbuster::redis
