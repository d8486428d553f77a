// What a running engine is put together from, behind assembly.h: assembly_backends.cc opens what is
// outside (store, log, inventory, limits), assembly.cc builds the rest on it.
#pragma once

#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <vector>

#include "adapters/http/api.h"
#include "adapters/http/server.h"
#include "adapters/memory/inventory.h"
#include "adapters/memory/rate_limiter.h"
#include "adapters/prometheus/metrics.h"
#include "adapters/redis/rate_limiter.h"
#include "adapters/redis/stock_counters.h"
#include "adapters/sql/order_store.h"
#include "adapters/sqlite/order_log.h"
#include "app/assembly.h"
#include "app/data_folder.h"
#include "app/kafka_log.h"
#include "app/redis_shop.h"
#include "app/strategies.h"
#include "app/webhooks.h"
#include "engine/audit.h"
#include "engine/direct_log.h"
#include "engine/lifecycle.h"
#include "engine/looking_inventory.h"
#include "engine/order_feed.h"
#include "engine/order_service.h"
#include "engine/order_tally.h"
#include "engine/order_writer.h"
#include "engine/purchase_service.h"
#include "engine/readiness.h"
#include "engine/rebuild.h"
#include "engine/sale_directory.h"
#include "engine/sale_keeper.h"
#include "engine/sale_service.h"
#include "engine/store_stock_look.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"
#include "runtime/core.h"

namespace doorbuster {

// In the order in which they are built; destroyed the other way round.
struct Assembly::Parts {
    Parts(const Config& settings, std::optional<DataFolder> locked, std::size_t core_count);

    [[nodiscard]] const StrategyRow& strategy() const { return strategy_of(config.purchase); }

    Config config;
    std::optional<DataFolder> folder; // when anything is kept in it
    SystemClock clock;
    Fingerprinter fingerprints;
    http::TrustedProxies proxies;
    OrderTally tally;
    OrderFeed feed; // outlives the cores
    Cores cores;
    std::unique_ptr<sql::SqlOrderStore> store;
    std::unique_ptr<sqlite::SqliteOrderLog> own_log; // or:
    std::unique_ptr<DirectLog> direct_log;           // or:
    std::optional<KafkaLog> shared_log;
    std::unique_ptr<kafka::KafkaFeed> log_feed; // of the shared log, for the writer
    OrderLog* log = nullptr;                    // the one of these
    LogPosition stored_next{1};                 // of the own log
    bool is_running = false;
    std::unique_ptr<OrderWriter> writer; // null: others write
    StoreProgress* progress = nullptr;
    std::unique_ptr<Lifecycle> lifecycle;
    BlockingPool blocking;  // buyers' reads, and purchases where they wait for the store
    BlockingPool operating; // operators' calls: neither keeps the other waiting
    std::unique_ptr<memory::MemoryInventory> own_inventory; // or:
    std::unique_ptr<RedisShop> redis;                       // or, over one of the next two:
    std::unique_ptr<StoreStockLook> look_in_store;
    std::unique_ptr<redis::StockCounters> look_in_redis;
    std::unique_ptr<LookingInventory> looking_inventory;
    Inventory* inventory = nullptr; // the one of these
    std::unique_ptr<memory::MemoryRateLimiter> local_limiter;
    std::unique_ptr<redis::RedisRateLimiter> shared_limiter;
    RateLimiter* limiter = nullptr;                          // the shared one, if there is one
    std::vector<std::unique_ptr<SaleDirectory>> directories; // by core, as the next two
    std::vector<std::unique_ptr<PurchaseService>> purchases;
    std::vector<std::unique_ptr<http::Api>> apis;
    std::unique_ptr<Rebuild> rebuild;
    std::unique_ptr<SaleKeeper> keeper; // when other processes change sales, too
    std::unique_ptr<SaleService> sales;
    std::unique_ptr<OrderService> orders;
    std::unique_ptr<LogBooks> own_books;
    std::unique_ptr<Auditor> auditor;
    std::unique_ptr<Readiness> readiness;
    std::optional<Webhooks> webhooks; // when endpoints are configured
    std::unique_ptr<metrics::Metrics> metrics_page;
    std::unique_ptr<http::Server> server;
    std::promise<Result<std::size_t>> rebuilt;
    std::future<Result<std::size_t>> when_rebuilt = rebuilt.get_future();

    [[nodiscard]] Result<void> open_store();
    [[nodiscard]] Result<void> open_log(const std::function<void(const Error&)>& on_fatal);
    [[nodiscard]] Result<void> open_direct_log();
    [[nodiscard]] Result<void> open_own_log(const std::function<void(const Error&)>& on_fatal);
    [[nodiscard]] Result<void> open_shared_log(const std::function<void(const Error&)>& on_fatal);
    [[nodiscard]] Result<void> open_inventory();
    void open_looking_inventory(const std::string& name);
    void build_writer(const std::function<void(const Error&)>& on_fatal);
    void build_engine(const std::function<void(const Error&)>& on_fatal);
    [[nodiscard]] std::vector<Readiness::Backend> backends();
    [[nodiscard]] Result<void> build_apis();
    [[nodiscard]] Result<void> open_server();
    Task<void> recover();
};

} // namespace doorbuster
