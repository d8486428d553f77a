// Opening what an engine stands on: its store, log, inventory and limits, as the settings and the
// strategy's row say.
#include <algorithm>
#include <fmt/format.h>
#include <span>
#include <spdlog/spdlog.h>
#include <utility>

#include "app/assembly_parts.h"
#include "app/own_log.h"
#include "app/random.h"

namespace doorbuster {
namespace {

// Calls that wait for one of the store's sessions. Reads of orders take under a millisecond, so a
// thousand waiting are a second's work: more should hear 503 at once.
constexpr std::size_t kBlockingQueueMax = 1'000;
constexpr std::size_t kOperatingThreads = 2; // an audit may take one of them for seconds
constexpr std::size_t kLifecycleSessions = 1;

Rate rate_of(double per_second, double burst) {
    return {per_second, burst > 0 ? burst : std::max(1.0, per_second)};
}

memory::RateLimits limits_of(const LimitsConfig& config) {
    memory::RateLimits limits;
    limits.system = rate_of(config.per_second, static_cast<double>(config.burst));
    limits.user = rate_of(config.per_user_per_second, 0);
    limits.address = rate_of(config.per_ip_per_second, 0);
    limits.entries_max = static_cast<std::size_t>(config.entries_max);
    return limits;
}

// Purchases that go to the store themselves take turns before they come here, as many at a time as
// it has sessions for them: beside those there is as much room for reads as ever.
std::size_t blocking_queue_of(const Config& config) {
    return static_cast<std::size_t>(config.store.pool_size) + kBlockingQueueMax;
}

// Users and keys have the same fingerprints on every node that sells from one Redis: the store's
// log names the cluster, and nobody outside it.
Fingerprinter shared_fingerprinter(const std::string& log_id) {
    const Fingerprinter of_name(0x646f6f7262757374, 0x66696e6765727072); // no secret: two labels
    const Fingerprint key = of_name.of(log_id);
    return {key.low, key.high};
}

// Sixteen letters for a log's name, which may hold any.
std::string short_name(const std::string& log_id) {
    const Fingerprint print = Fingerprinter(0x646f6f7262757374, 0x73686f72746e616d).of(log_id);
    return fmt::format("{:016x}", print.low);
}

} // namespace

Assembly::Parts::Parts(const Config& settings, std::optional<DataFolder> locked,
                       std::size_t core_count)
    : config(settings),
      folder(std::move(locked)),
      fingerprints(random_number(), random_number()),
      feed(static_cast<std::size_t>(settings.server.streams_max)),
      cores(core_count),
      blocking(static_cast<std::size_t>(settings.store.pool_size), blocking_queue_of(settings)),
      operating(kOperatingThreads, kBlockingQueueMax) {}

Result<void> Assembly::Parts::open_store() {
    sql::OrderStoreOptions options;
    options.url = store_url_of(config);
    options.pool_size =
        static_cast<std::size_t>(config.store.pool_size) + kOperatingThreads + kLifecycleSessions;
    options.with_events = !config.webhooks.endpoints.empty();
    if (strategy().stock_step == StockStep::looks_in_redis) {
        options.on_stock_moved = [this](SaleNo sale, Units units) {
            return look_in_redis->raise_blocking(sale, units);
        };
    }
    auto opened = sql::SqlOrderStore::open(options);
    if (!opened) return tl::make_unexpected(std::move(opened.error()));
    store = std::move(*opened);
    return {};
}

Result<void> Assembly::Parts::open_log(const std::function<void(const Error&)>& on_fatal) {
    switch (config.log.backend) {
    case LogConfig::Backend::sqlite: return open_own_log(on_fatal);
    case LogConfig::Backend::kafka: return open_shared_log(on_fatal);
    case LogConfig::Backend::direct: return open_direct_log();
    }
    return fail(Errc::invalid, "log.backend");
}

Result<void> Assembly::Parts::open_direct_log() {
    if (auto bound = bind_direct_log(*store, random_hex(2)); !bound) return bound;
    if (auto adopted = store->adopt(); !adopted) return adopted;
    DirectLog::Options options;
    options.guard = strategy().guard;
    options.waiting_max = static_cast<std::size_t>(config.server.in_flight_max);
    options.on_stored = [this](std::span<const OrderId> orders) {
        feed.changed(orders);
        if (webhooks) webhooks->dispatcher->wake();
    };
    direct_log = std::make_unique<DirectLog>(DirectLog::Parts{*store, blocking, tally, clock},
                                             std::move(options));
    log = direct_log.get();
    return {};
}

Result<void> Assembly::Parts::open_own_log(const std::function<void(const Error&)>& on_fatal) {
    const auto binding = store->log_binding();
    if (!binding) return tl::make_unexpected(binding.error());
    auto opened = sqlite::SqliteOrderLog::open(
        {config.server.data, static_cast<std::uint64_t>(config.purchase.log_lag_max), random_hex(2),
         !binding->log_id.empty()},
        cores, clock, on_fatal);
    if (!opened) return tl::make_unexpected(std::move(opened.error()));
    own_log = std::move(*opened);
    log = own_log.get();
    const auto next = bind_own_log(*store, *own_log);
    if (!next) return tl::make_unexpected(next.error());
    stored_next = *next;
    own_log->stored(*next);
    if (auto adopted = store->adopt(); !adopted) return adopted;
    return own_log->adopt();
}

Result<void> Assembly::Parts::open_shared_log(const std::function<void(const Error&)>& on_fatal) {
    ReadBackLog::Options options;
    options.on_fatal = on_fatal;
    options.on_stored = [this](std::span<const OrderId> orders) { feed.changed(orders); };
    options.on_barrier = [this, on_fatal](SaleNo sale, Epoch epoch) {
        if (keeper) {
            keeper->look_soon();
            return;
        }
        // What this process holds in memory is void from here on.
        on_fatal({make_error_code(Errc::fenced), "another process has taken over sale " +
                                                     std::to_string(sale.get()) + " (epoch " +
                                                     std::to_string(epoch.get()) + ")"});
    };
    auto opened = KafkaLog::open(config, *store, cores, clock, std::move(options));
    if (!opened) return tl::make_unexpected(std::move(opened.error()));
    shared_log = std::move(*opened);
    log = shared_log->log.get();
    if (auto adopted = store->adopt(); !adopted) return adopted;
    if (!config.writer.enabled) return {};
    auto to_write = open_feed(config, *store);
    if (!to_write) return tl::make_unexpected(std::move(to_write.error()));
    log_feed = std::move(*to_write);
    return {};
}

void Assembly::Parts::open_looking_inventory(const std::string& name) {
    StockLook* look = nullptr;
    if (strategy().stock_step == StockStep::looks_in_redis) {
        look_in_redis = std::make_unique<redis::StockCounters>(cores, redis->clients(),
                                                               config.redis.prefix + ":" + name);
        look = look_in_redis.get();
    } else {
        look_in_store = std::make_unique<StoreStockLook>(*store, blocking);
        look = look_in_store.get();
    }
    LookingInventory::Parts parts{cores, clock, *store, operating, *look};
    if (strategy().log_step == LogStep::direct) {
        parts.attempts_max = static_cast<std::size_t>(config.store.pool_size);
    }
    looking_inventory = std::make_unique<LookingInventory>(parts);
    inventory = looking_inventory.get();
}

Result<void> Assembly::Parts::open_inventory() {
    const bool is_limited = strategy().is_rate_limited;
    const auto limits = is_limited ? limits_of(config.limits) : memory::RateLimits();
    local_limiter = std::make_unique<memory::MemoryRateLimiter>(limits, clock);
    limiter = local_limiter.get();
    const StockStep step = strategy().stock_step;
    const bool has_own =
        step == StockStep::looks_in_sql ||
        (step == StockStep::holds && config.inventory.backend == InventoryConfig::Backend::memory);
    const bool has_own_limits =
        config.limits.backend == LimitsConfig::Backend::memory || !is_limited;
    if (step == StockStep::looks_in_sql) {
        open_looking_inventory("");
    } else if (has_own) {
        own_inventory = std::make_unique<memory::MemoryInventory>(cores, clock);
        inventory = own_inventory.get();
    }
    if (has_own && has_own_limits) return {};
    const auto binding = store->log_binding();
    if (!binding) return tl::make_unexpected(binding.error());
    fingerprints = shared_fingerprinter(binding->log_id);
    auto opened = RedisShop::open(config, short_name(binding->log_id), cores, clock, [this] {
        if (keeper) keeper->look_soon();
    });
    if (!opened) return tl::make_unexpected(std::move(opened.error()));
    redis = std::move(*opened);
    if (step == StockStep::looks_in_redis) open_looking_inventory(short_name(binding->log_id));
    else if (!has_own) inventory = &redis->inventory();
    if (has_own_limits) return {};
    redis::RateLimiterOptions options;
    options.limits = {limits.system, limits.user, limits.address};
    options.prefix = config.redis.prefix + ":" + short_name(binding->log_id) + ":rate:";
    options.tell = [](const std::string& text) { spdlog::warn("rate limits: {}", text); };
    shared_limiter = std::make_unique<redis::RedisRateLimiter>(
        cores, redis->clients(), std::move(options), *local_limiter, clock);
    limiter = shared_limiter.get();
    return {};
}

} // namespace doorbuster
