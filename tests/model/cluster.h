// A cluster in one thread and in virtual time: two processes that serve, two that write, a Redis
// with a replica, a Kafka, a store, buyers and operators, and everything that can go wrong between
// them, all drawn from one seed.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "adapters/redis/commands.h"
#include "books.h"
#include "life.h"
#include "ports/fake_log_transport.h"
#include "redis_server.h"

namespace doorbuster::model {

// Faults put in on purpose: the model must find what they break.
struct Sabotage {
    bool drops_barriers = false;      // what lies behind a barrier is not void
    bool answers_on_delivery = false; // yes when the brokers have the record
    bool releases_on_failure = false; // a produce that failed ends the hold
};

class ServingNode;
class WritingNode;

// A store that can be away, or lose its answers.
class ModelStore final : public fixture::FakeOrderStore {
public:
    using FakeOrderStore::FakeOrderStore;
    enum class Trouble { none, away, answer_lost };

    Result<LogBinding> log_binding() override;
    Result<std::vector<StoredSale>> list_sales(const std::string& after,
                                               std::size_t limit) override;
    Result<std::vector<StoredSale>> next_epochs(std::span<const SaleNo> sales) override;
    Result<void> read_snapshot(std::span<const SaleNo> sales, TimePoint keys_since,
                               SaleSnapshotSink& sink) override;
    Result<ApplyReport> apply(LogPlace from, LogPosition next, std::span<const LogRecord> records,
                              StockGuard guard) override;
    Result<ChangeReport> change_orders(std::span<const OrderChange> changes) override;
    Result<std::vector<GiveBack>> pending_give_backs(const std::optional<OrderId>& after,
                                                     std::size_t orders_max) override;
    Result<void> give_backs_done(std::span<const GiveBack> done) override;

    std::function<Trouble()> trouble; // of the next call
    std::function<void(const std::string&)> trace;
    bool has_changed = false;
};

class Cluster {
public:
    static constexpr std::uint32_t kPartitions = 2;
    static constexpr std::size_t kServing = 2;
    static constexpr std::size_t kWriting = 2;

    Cluster(LuaScripts& scripts, std::uint64_t seed, Sabotage sabotage);
    ~Cluster();
    Cluster(const Cluster&) = delete;
    Cluster& operator=(const Cluster&) = delete;

    // The whole schedule. What was violated first, or nullopt.
    [[nodiscard]] std::optional<std::string> run();
    [[nodiscard]] const Books& books() const { return books_; }
    [[nodiscard]] std::uint64_t steps() const { return steps_; }

    // The nodes' side.
    [[nodiscard]] std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
    [[nodiscard]] bool chance(unsigned per_mille) { return below(1'000) < per_mille; }
    [[nodiscard]] bool trouble(unsigned per_mille) { return !is_calm_ && chance(per_mille); }
    [[nodiscard]] Life::Wait between(std::int64_t us_min, std::int64_t us_max);
    [[nodiscard]] Life::Wait delay(); // of one hop

    struct RedisCall {
        int script = 0;
        std::vector<std::string> keys;
        std::vector<std::string> arguments;
        Duration wait_max{0};
    };
    using RedisReply = Resume<Result<redis::Reply>>;
    void send(ServingNode& from, RedisCall call, RedisReply reply);
    void trace(const std::string& what) const;

    fixture::VirtualTime time;
    LuaScripts& scripts;
    const Sabotage sabotage;
    fixture::FakeLog log{kPartitions};
    ModelStore store{&time};
    std::array<std::vector<LogPartition>, kWriting> assigned; // as the group has it
    std::vector<StoredSale> sales;
    Books& checks() { return books_; }

private:
    struct Serving {
        std::unique_ptr<ServingNode> node;
        std::size_t redis = 0; // which server it talks to
    };
    void create_sales();
    void start_serving(std::size_t index);
    void start_writing(std::size_t index);
    [[nodiscard]] bool step();
    void pump(ServingNode& node);
    void arrive(std::weak_ptr<Life> life, ServingNode* node, LogPartition partition,
                fixture::FakeLogTransport::Flight flight);
    void append(LogPartition partition, const std::string& bytes);

    // What happens by chance.
    void storm(Life::Wait length);
    void buy();
    void operate();
    void fault();
    void pause_one();
    void crash_one();
    void redis_fault();
    void new_redis(RedisServer::Data data);
    void rebalance();
    void away(bool& is_up, Life::Wait length, const char* what);
    void calm_down();
    [[nodiscard]] bool comes_to_rest();
    [[nodiscard]] std::string unrest();

    std::mt19937_64 random_;
    Books books_;
    std::vector<std::unique_ptr<RedisServer>> servers_;
    RedisServer::Data replica_;
    std::array<Serving, kServing> serving_;
    std::array<std::unique_ptr<WritingNode>, kWriting> writing_;
    std::map<std::pair<const Life*, LogPartition>, std::chrono::nanoseconds> last_arrival_;
    std::size_t in_the_air_ = 0;
    bool log_up_ = true;
    bool store_up_ = true;
    bool is_slow_ = false;
    bool is_calm_ = true;
    bool is_storming_ = false;
    std::uint64_t lives_ = 0;
    std::uint64_t buyers_ = 0;
    std::uint64_t steps_ = 0;
    bool traces_ = false;
};

} // namespace doorbuster::model
