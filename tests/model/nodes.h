// The processes of the simulated cluster: the production code, wired as app/assembly.cc wires it,
// on what the simulation has in place of the network, the threads and the time.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "adapters/redis/inventory.h"
#include "cluster.h"
#include "engine/order_writer.h"
#include "engine/purchase_service.h"
#include "engine/read_back_log.h"
#include "engine/rebuild.h"
#include "engine/sale_keeper.h"

namespace doorbuster::model {

struct Purchase {
    SaleNo sale;
    std::string user;
    std::string key;
    Units quantity = 1;
};

// A serving process: purchases, the keeper, give-backs.
class ServingNode {
public:
    // `number` is no other process's.
    ServingNode(Cluster& cluster, std::uint64_t number);
    ~ServingNode();
    ServingNode(const ServingNode&) = delete;
    ServingNode& operator=(const ServingNode&) = delete;

    void start();
    // `told` hears the answer, unless the process dies first.
    using Answered = std::function<void(const Step<Reservation>&)>;
    void buy(Purchase purchase, Answered told);
    void withdraw(SaleNo sale, Units units);
    using Counted = std::function<void(const Result<InventoryCount>&)>;
    void count(SaleNo sale, Counted told);
    void delivered(std::uint64_t tag);
    void failed(std::uint64_t tag);

    [[nodiscard]] Life& life() { return *life_; }
    [[nodiscard]] std::shared_ptr<Life> shared_life() { return life_; }
    [[nodiscard]] fixture::FakeLogTransport& transport() { return transport_; }
    [[nodiscard]] redis::RedisInventory& inventory() { return *inventory_; }
    [[nodiscard]] std::string state() const { return keeper_->state(); }
    [[nodiscard]] const SaleView* view(SaleNo sale) { return directories_[0]->find(sale); }

private:
    class Commands;
    class DeliveryLog;
    struct NoLimits final : RateLimiter {
        Task<std::optional<Refusal>> check(const RateSubject&) override {
            co_return std::optional<Refusal>();
        }
        [[nodiscard]] bool is_on() const override { return false; }
    };
    void spawn(Task<void> task);
    Task<void> purchase(Purchase purchase, Answered told);
    Task<void> look(SaleNo sale, Counted told);
    Task<void> give_back();
    Task<void> release(StoredSale sale, OrderId order);
    Task<void> take_out(SaleNo sale, Units units);
    void watch_store();

    Cluster& cluster_;
    std::shared_ptr<Life> life_;
    Fingerprinter prints_{1, 2}; // common to the cluster
    OrderTally tally_;
    fixture::FakeLogTransport transport_;
    BlockingPool blocking_;
    NoLimits limiter_;
    std::unique_ptr<ReadBackLog> log_;
    std::unique_ptr<DeliveryLog> delivery_log_; // of a sabotaged cluster
    std::vector<std::unique_ptr<SaleDirectory>> directories_;
    std::unique_ptr<Commands> commands_;
    std::unique_ptr<redis::RedisInventory> inventory_;
    std::unique_ptr<PurchaseService> purchases_;
    std::unique_ptr<Rebuild> rebuild_;
    std::unique_ptr<SaleKeeper> keeper_;
    OrderIdSource withdrawals_;
    bool is_giving_back_ = false;
};

// An order writer's process. Between reading a batch and writing it, anything may happen.
class WritingNode {
public:
    WritingNode(Cluster& cluster, std::size_t index);
    ~WritingNode();
    WritingNode(const WritingNode&) = delete;
    WritingNode& operator=(const WritingNode&) = delete;

    [[nodiscard]] Life& life() { return *life_; }

private:
    class Feed;
    void read();
    void write(const std::shared_ptr<LogBatch>& batch);

    Cluster& cluster_;
    std::shared_ptr<Life> life_;
    std::unique_ptr<Feed> feed_;
    std::unique_ptr<OrderWriter> writer_;
};

} // namespace doorbuster::model
