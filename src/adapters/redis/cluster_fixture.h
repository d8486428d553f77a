// For tests: a Redis Cluster of three nodes of our own, whose slots a test may move.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "adapters/redis/redis_fixture.h"
#include "adapters/redis/slots.h"

namespace doorbuster::redis::fixture {

class Cluster {
public:
    static constexpr int kNodes = 3;

    Cluster() {
        for (int i = 0; i < kNodes; ++i) {
            bus_ports_.push_back(std::to_string(free_port()));
            nodes_.push_back(make_node(bus_ports_.back()));
        }
        const int share = kSlots / kNodes + 1;
        for (int i = 0; i < kNodes; ++i) {
            const int last = std::min((i + 1) * share, static_cast<int>(kSlots)) - 1;
            ask(i, {"CLUSTER", "ADDSLOTSRANGE", std::to_string(i * share), std::to_string(last)});
            ids_.push_back(nodes_[static_cast<std::size_t>(i)]->ask({"CLUSTER", "MYID"}));
            // Nodes of one epoch settle it among them later, and a slot that moved meanwhile may
            // then belong to each of two in the other's eyes.
            EXPECT_EQ(ask(i, {"CLUSTER", "SET-CONFIG-EPOCH", std::to_string(i + 1)}), "OK");
            if (i == 0) continue;
            ask(i, {"CLUSTER", "MEET", "127.0.0.1", std::to_string(at(0).port()), bus_ports_[0]});
        }
        EXPECT_TRUE(soon([&] {
            return std::ranges::all_of(nodes_, [](const auto& node) {
                const std::string info = node->ask({"CLUSTER", "INFO"});
                return info.find("cluster_state:ok") != std::string::npos &&
                       info.find("cluster_known_nodes:3") != std::string::npos &&
                       info.find("cluster_slots_ok:16384") != std::string::npos;
            });
        }));
    }

    [[nodiscard]] Server& at(int i) { return *nodes_[static_cast<std::size_t>(i)]; }
    [[nodiscard]] const std::string& id_of(int i) { return ids_[static_cast<std::size_t>(i)]; }
    std::string ask(int i, const Words& words) { return at(i).ask(words); }
    [[nodiscard]] int owner_of(const std::string& key) const {
        return slot_of(key) / (kSlots / kNodes + 1);
    }
    [[nodiscard]] ClientOptions options() const {
        std::vector<std::string> listed;
        for (const auto& node : nodes_) listed.push_back(node->host_port());
        auto options = read_options("", listed);
        EXPECT_TRUE(options);
        options->connect_wait_max = Duration(20'000);
        options->silence_max = Duration(20'000);
        return *options;
    }
    // The first half of a move: keys go to `to` one by one, new ones at once.
    void begin_move(const std::string& key, int from, int to) {
        const std::string slot = std::to_string(slot_of(key));
        EXPECT_EQ(ask(to, {"CLUSTER", "SETSLOT", slot, "IMPORTING", id_of(from)}), "OK");
        EXPECT_EQ(ask(from, {"CLUSTER", "SETSLOT", slot, "MIGRATING", id_of(to)}), "OK");
    }
    void move_key(const std::string& key, int from, int to) {
        EXPECT_EQ(
            ask(from, {"MIGRATE", "127.0.0.1", std::to_string(at(to).port()), key, "0", "5000"}),
            "OK");
    }
    void end_move(const std::string& key, int to) {
        const std::string slot = std::to_string(slot_of(key));
        EXPECT_EQ(ask(to, {"CLUSTER", "SETSLOT", slot, "NODE", id_of(to)}), "OK");
        for (int i = 0; i < kNodes; ++i) {
            if (i == to) continue;
            EXPECT_EQ(ask(i, {"CLUSTER", "SETSLOT", slot, "NODE", id_of(to)}), "OK");
        }
    }

    // Of node `i`, in step with it when this returns.
    Server& add_replica(int i) {
        replica_ = make_node(std::to_string(free_port()));
        const std::string seed = std::to_string(at(0).port());
        EXPECT_EQ(replica_->ask({"CLUSTER", "MEET", "127.0.0.1", seed, bus_ports_[0]}), "OK");
        EXPECT_TRUE(soon([&] {
            return replica_->ask({"CLUSTER", "REPLICATE", id_of(i)}) == "OK";
        }));
        EXPECT_TRUE(soon([&] {
            const std::string role = replica_->ask({"ROLE"});
            return role.starts_with("slave") && role.find(" connected ") != std::string::npos &&
                   ask(i, {"CLUSTER", "NODES"}).find("slave " + id_of(i)) != std::string::npos;
        }));
        return *replica_;
    }

private:
    static std::unique_ptr<Server> make_node(const std::string& bus_port) {
        // A node that nobody reaches for so long counts as failed, and the cluster with it.
        return std::make_unique<Server>(Words{"--cluster-enabled", "yes", "--cluster-port",
                                              bus_port, "--cluster-node-timeout", "10000",
                                              "--cluster-require-full-coverage", "no"});
    }

    std::unique_ptr<Server> replica_;
    std::vector<std::string> bus_ports_;
    std::vector<std::unique_ptr<Server>> nodes_;
    std::vector<std::string> ids_;
};

} // namespace doorbuster::redis::fixture
