// For tests: nodes, each with an inventory of its own on cores of its own, on one Redis.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "adapters/redis/inventory.h"
#include "adapters/redis/redis_fixture.h"
#include "ports/inventory_fixture.h"

namespace doorbuster::redis::fixture {

// Of one test: several share a Redis.
inline std::string fresh_prefix() {
    static std::atomic<int> count{0};
    return "test-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
}

// The Redis that the environment names, or one of our own.
class SomeRedis {
public:
    SomeRedis() : url_(from_environment("DOORBUSTER_TEST_REDIS")) {
        if (!url_.empty()) return;
        own_ = std::make_unique<Server>();
        url_ = own_->url();
    }
    [[nodiscard]] const std::string& url() const { return url_; }
    static bool is_here() {
        return has_redis_server() || !from_environment("DOORBUSTER_TEST_REDIS").empty();
    }

private:
    std::string url_;
    std::unique_ptr<Server> own_;
};

class Node final : public InventorySubject {
public:
    Node(const ClientOptions& client, InventoryOptions options, std::size_t cores = 3)
        : cores_(cores) {
        static std::atomic<std::uint32_t> processes{0};
        options.process = ++processes;
        std::vector<Commands*> commands;
        for (std::size_t i = 0; i < cores; ++i) {
            auto opened = Client::open(cores_.at(i), client);
            EXPECT_TRUE(opened) << (opened ? "" : opened.error().context);
            clients_.push_back(std::move(*opened));
            commands_.push_back(std::make_unique<ClientCommands>(*clients_.back()));
            commands.push_back(commands_.back().get());
            clients_.back()->start();
        }
        inventory_ = std::make_unique<RedisInventory>(cores_, commands, clock_, std::move(options));
        cores_.start();
        for (std::size_t i = 0; i < cores; ++i) {
            EXPECT_TRUE(run_on(cores_.at(i), clients_[i]->wait_until_up(kPatience)));
        }
    }
    Node(const std::string& url, const std::string& prefix, std::size_t cores = 3)
        : Node(options_for(url), named(prefix), cores) {}
    ~Node() override { stop(); }
    void stop() { cores_.stop(); }

    static InventoryOptions named(const std::string& prefix) {
        InventoryOptions options;
        options.prefix = prefix;
        return options;
    }

    Cores& cores() override { return cores_; }
    RedisInventory& inventory() override { return *inventory_; }
    TimePoint now() override { return clock_.now(); }
    void pass(Duration duration) override {
        const TimePoint until = clock_.now() + duration;
        EXPECT_TRUE(eventually([this, until] { return clock_.now() >= until; }));
    }

    // Rebuilt and shown.
    std::shared_ptr<const StockSignals> install(SaleImage image) {
        auto begun = run_on(cores_.at(0), inventory_->begin_rebuild(image.terms.no, image.epoch));
        EXPECT_TRUE(begun) << (begun ? "" : begun.error().message());
        auto signals = run_on(cores_.at(0), inventory_->install(std::move(image)));
        EXPECT_TRUE(signals) << (signals ? "" : signals.error().message());
        return signals.value_or(nullptr);
    }
    std::shared_ptr<const StockSignals> attach(const SaleTerms& terms, Epoch epoch) {
        auto signals = run_on(cores_.at(0), inventory_->attach(terms, epoch));
        EXPECT_TRUE(signals) << (signals ? "" : signals.error().message());
        return signals.value_or(nullptr);
    }
    Step<Reservation> reserve(const std::string& user, std::uint64_t order, Units quantity = 1,
                              const std::string& key = "") {
        const Buyer buyer(user, order_no(order), quantity, key);
        return run_on(cores_.owner_of(order), inventory_->reserve(buyer.request, log_));
    }
    Result<InventoryCount> count() { return run_on(cores_.at(0), inventory_->count(kSale, log_)); }
    Result<std::vector<LogRecord>> pending(Duration older_than = Duration(0),
                                           std::size_t records_max = 100) {
        return run_on(cores_.at(0), inventory_->pending(kSale, older_than, records_max));
    }
    FakeOrderLog& log() { return log_; }
    // Attempts that core 0 has sent to Redis.
    std::uint64_t sent() { return run_on(cores_.at(0), count_sent()); }

private:
    Task<std::uint64_t> count_sent() { co_return inventory_->counts_here().attempts; }

    SystemClock clock_;
    FakeOrderLog log_;
    Cores cores_;
    std::vector<std::unique_ptr<Client>> clients_;
    std::vector<std::unique_ptr<ClientCommands>> commands_;
    std::unique_ptr<RedisInventory> inventory_;
};

} // namespace doorbuster::redis::fixture
