#include "app/assembly.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <filesystem>
#include <fmt/format.h>
#include <future>
#include <optional>
#include <random>
#include <span>
#include <spdlog/spdlog.h>
#include <thread>
#include <vector>

#include "adapters/http/api.h"
#include "adapters/http/server.h"
#include "adapters/jwt/jwt.h"
#include "adapters/memory/inventory.h"
#include "adapters/memory/rate_limiter.h"
#include "adapters/prometheus/metrics.h"
#include "adapters/redis/rate_limiter.h"
#include "adapters/sql/order_store.h"
#include "adapters/sqlite/order_log.h"
#include "app/data_folder.h"
#include "app/kafka_log.h"
#include "app/openapi.h"
#include "app/own_log.h"
#include "app/random.h"
#include "app/redis_shop.h"
#include "app/web_pages.h"
#include "app/webhooks.h"
#include "engine/audit.h"
#include "engine/console_feed.h"
#include "engine/lifecycle.h"
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
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"
#include "runtime/core.h"

namespace doorbuster {
namespace {

// Calls that wait for one of the store's sessions. Reads of orders take under a millisecond, so a
// thousand waiting are a second's work: more should hear 503 at once.
constexpr std::size_t kBlockingQueueMax = 1'000;
constexpr std::size_t kOperatingThreads = 2; // an audit may take one of them for seconds
constexpr std::size_t kLifecycleSessions = 1;
// Together under the ten seconds that a stop may take.
constexpr std::chrono::milliseconds kDrainMax{5'000};
constexpr Duration kWriterStopMax{3'000};

std::chrono::milliseconds ms(double seconds) {
    return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1e3));
}

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

// The port's token check in front of the adapter's.
class JwtVerifier final : public TokenVerifier {
public:
    explicit JwtVerifier(jwt::Verifier verifier) : verifier_(std::move(verifier)) {}
    Result<std::string> verify(std::string_view token, TimePoint now) override {
        return verifier_.verify(token, now);
    }

private:
    jwt::Verifier verifier_;
};

Result<std::unique_ptr<TokenVerifier>> verifier_of(const IdentityConfig& config) {
    if (config.mode == IdentityConfig::Mode::header) return std::unique_ptr<TokenVerifier>();
    jwt::Options options;
    options.keys = config.jwt_keys;
    if (!config.jwt_issuer.empty()) options.issuer = config.jwt_issuer;
    if (!config.jwt_audience.empty()) options.audience = config.jwt_audience;
    auto verifier = jwt::Verifier::create(options);
    if (!verifier) return tl::make_unexpected(std::move(verifier.error()));
    return std::unique_ptr<TokenVerifier>(std::make_unique<JwtVerifier>(std::move(*verifier)));
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

// A data folder belongs to one process. One that keeps nothing there needs none.
bool needs_folder(const Config& config) {
    return config.inventory.backend == InventoryConfig::Backend::memory ||
           config.log.backend == LogConfig::Backend::sqlite ||
           config.store.url.starts_with("sqlite:");
}

} // namespace

// In the order in which they are built; destroyed the other way round.
struct Assembly::Parts {
    Parts(const Config& settings, std::optional<DataFolder> locked, std::size_t core_count)
        : config(settings),
          folder(std::move(locked)),
          fingerprints(random_number(), random_number()),
          feed(static_cast<std::size_t>(settings.server.streams_max)),
          cores(core_count),
          blocking(static_cast<std::size_t>(settings.store.pool_size), kBlockingQueueMax),
          operating(kOperatingThreads, kBlockingQueueMax) {}

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
    std::optional<KafkaLog> shared_log;
    std::unique_ptr<kafka::KafkaFeed> log_feed; // of the shared log, for the writer
    OrderLog* log = nullptr;                    // the one of these
    LogPosition stored_next{1};                 // of the own log
    bool is_running = false;
    std::unique_ptr<OrderWriter> writer; // null: others write
    StoreProgress* progress = nullptr;
    std::unique_ptr<Lifecycle> lifecycle;
    BlockingPool blocking;  // buyers' reads
    BlockingPool operating; // operators' calls: neither keeps the other waiting
    std::unique_ptr<memory::MemoryInventory> own_inventory; // or:
    std::unique_ptr<RedisShop> redis;
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
    std::unique_ptr<ConsoleFeed> console;
    std::unique_ptr<http::Server> server;
    std::promise<Result<std::size_t>> rebuilt;
    std::future<Result<std::size_t>> when_rebuilt = rebuilt.get_future();

    [[nodiscard]] Result<void> open_store();
    [[nodiscard]] Result<void> open_own_log(const std::function<void(const Error&)>& on_fatal);
    [[nodiscard]] Result<void> open_shared_log(const std::function<void(const Error&)>& on_fatal);
    [[nodiscard]] Result<void> open_inventory();
    void build_writer(const std::function<void(const Error&)>& on_fatal);
    void build_engine(const std::function<void(const Error&)>& on_fatal);
    [[nodiscard]] std::vector<Readiness::Backend> backends();
    [[nodiscard]] Result<void> build_apis();
    [[nodiscard]] Result<void> open_server();
    Task<void> recover();
};

Result<void> Assembly::Parts::open_store() {
    sql::OrderStoreOptions options;
    options.url = store_url_of(config);
    options.pool_size =
        static_cast<std::size_t>(config.store.pool_size) + kOperatingThreads + kLifecycleSessions;
    options.with_events = !config.webhooks.endpoints.empty();
    auto opened = sql::SqlOrderStore::open(options);
    if (!opened) return tl::make_unexpected(std::move(opened.error()));
    store = std::move(*opened);
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

Result<void> Assembly::Parts::open_inventory() {
    local_limiter = std::make_unique<memory::MemoryRateLimiter>(limits_of(config.limits), clock);
    limiter = local_limiter.get();
    const bool has_own = config.inventory.backend == InventoryConfig::Backend::memory;
    const bool has_own_limits = config.limits.backend == LimitsConfig::Backend::memory;
    if (has_own) {
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
    if (!has_own) inventory = &redis->inventory();
    if (has_own_limits) return {};
    redis::RateLimiterOptions options;
    const memory::RateLimits limits = limits_of(config.limits);
    options.limits = {limits.system, limits.user, limits.address};
    options.prefix = config.redis.prefix + ":" + short_name(binding->log_id) + ":rate:";
    options.tell = [](const std::string& text) { spdlog::warn("rate limits: {}", text); };
    shared_limiter = std::make_unique<redis::RedisRateLimiter>(
        cores, redis->clients(), std::move(options), *local_limiter, clock);
    limiter = shared_limiter.get();
    return {};
}

void Assembly::Parts::build_writer(const std::function<void(const Error&)>& on_fatal) {
    OrderWriter::Options writing;
    writing.batch_max = static_cast<std::size_t>(config.store.batch_max);
    writing.on_fatal = on_fatal;
    writing.tally = &tally;
    writing.on_stored = [this](std::span<const LogRecord> records) {
        feed.changed(records);
        if (webhooks) webhooks->dispatcher->wake();
        const auto is_withdrawal = [](const LogRecord& record) {
            return record.kind == LogRecordKind::withdraw;
        };
        // Its caller may have given up waiting.
        if (std::ranges::any_of(records, is_withdrawal)) lifecycle->sweep_soon();
    };
    if (own_log) {
        writer = std::make_unique<OrderWriter>(*own_log, *store, clock, std::move(writing));
        progress = writer.get();
        return;
    }
    progress = shared_log->log.get();
    if (log_feed) {
        writer = std::make_unique<OrderWriter>(*log_feed, *store, clock, std::move(writing));
    }
}

std::vector<Readiness::Backend> Assembly::Parts::backends() {
    const auto inventory_state = [this]() -> std::string {
        if (redis && redis->state() != "up") return redis->state();
        if (keeper) return keeper->state();
        return readiness->has_recovered() ? "up" : "cold";
    };
    const auto log_state = [this]() -> std::string {
        if (shared_log) return shared_log->transport->state();
        return own_log->is_stalled(kOnlyPartition) ? "disk full" : "up";
    };
    const auto store_state = [this] {
        return std::string(progress->is_store_up() ? "up" : "down");
    };
    return {{"inventory", inventory_state}, {"order_log", log_state}, {"order_store", store_state}};
}

void Assembly::Parts::build_engine(const std::function<void(const Error&)>& on_fatal) {
    build_writer(on_fatal);
    for (std::size_t i = 0; i < cores.size(); ++i) {
        directories.push_back(std::make_unique<SaleDirectory>());
        purchases.push_back(std::make_unique<PurchaseService>(
            PurchaseService::Parts{clock, *inventory, *log, *limiter},
            OrderIdSource(static_cast<std::uint16_t>(i), random_number()),
            static_cast<std::size_t>(config.server.in_flight_max) / cores.size() + 1));
    }
    rebuild =
        std::make_unique<Rebuild>(Rebuild::Parts{cores, clock, operating, *store, *log, *progress,
                                                 *inventory, tally, fingerprints, directories});
    SaleService::Parts running{clock,     *rebuild,   *store,    *log,
                               *progress, *inventory, operating, random_number()};
    if (shared_log) running.partitions = shared_log->transport->partitions();
    sales = std::make_unique<SaleService>(running);
    Lifecycle::Options living;
    living.on_fatal = on_fatal;
    living.tally = &tally;
    living.on_changed = [this](std::span<const OrderId> orders) {
        feed.changed(orders);
        if (webhooks) webhooks->dispatcher->wake();
    };
    living.on_swept = [this](const SaleTerms& terms) {
        auto publish = rebuild->publish(std::make_shared<const SaleTerms>(terms));
        boost::asio::co_spawn(cores.at(0).executor(), std::move(publish), rethrow);
    };
    lifecycle = std::make_unique<Lifecycle>(cores, *store, *inventory, clock, std::move(living));
    if (!own_inventory) {
        const auto draw = [random = std::make_shared<std::mt19937_64>(random_number())](
                              std::uint64_t below) { return (*random)() % below; };
        const auto on_ready = [this](std::size_t count) {
            lifecycle->open();
            readiness->set_recovered();
            rebuilt.set_value(count);
        };
        keeper = std::make_unique<SaleKeeper>(SaleKeeper::Parts{cores, clock, operating, *store,
                                                                *log, *inventory, *rebuild, tally,
                                                                directories, draw, on_ready});
    }
    orders = std::make_unique<OrderService>(*store, *log, *progress, *lifecycle, blocking);
    if (own_log) own_books = std::make_unique<ReaderBooks>(*own_log);
    LogBooks& books = own_log ? *own_books : *shared_log->books;
    auditor = std::make_unique<Auditor>(cores, *store, *log, books, *inventory, operating);
    readiness = std::make_unique<Readiness>(backends());
    const LatencyBuckets& append_seconds =
        own_log ? own_log->commit_seconds() : shared_log->log->append_seconds();
    metrics_page = std::make_unique<metrics::Metrics>(metrics::Metrics::Parts{
        cores, directories, purchases, *log, append_seconds, writer.get(), *lifecycle, *store,
        tally, *readiness, webhooks ? webhooks->dispatcher.get() : nullptr});
    console = std::make_unique<ConsoleFeed>(ConsoleFeed::Parts{
        cores, clock, directories, purchases, *log, writer.get(), *store, tally, *readiness});
}

Result<void> Assembly::Parts::build_apis() {
    for (std::size_t i = 0; i < cores.size(); ++i) {
        auto verifier = verifier_of(config.identity); // one a core: they are not shared
        if (!verifier) return tl::make_unexpected(std::move(verifier.error()));
        http::Api::Parts parts{clock,
                               fingerprints,
                               *directories[i],
                               *purchases[i],
                               *sales,
                               *orders,
                               feed,
                               *auditor,
                               *readiness,
                               [this] { return metrics_page->page(); },
                               proxies,
                               webhooks ? webhooks->service.get() : nullptr,
                               keeper.get(),
                               console.get()};
        http::Identity identity({config.admin.token, std::move(*verifier)});
        apis.push_back(std::make_unique<http::Api>(
            std::move(parts), std::move(identity),
            http::Api::Options{static_cast<std::uint16_t>(config.limits.status), openapi_document(),
                               http::Pages(web_pages())}));
    }
    return {};
}

Result<void> Assembly::Parts::open_server() {
    const auto listen = parse_listen(config.server.listen);
    if (!listen) return fail(Errc::invalid, "server.listen: " + config.server.listen);
    http::ServerOptions options;
    options.host = listen->host;
    options.port = listen->port;
    options.connections_max = static_cast<std::size_t>(config.server.connections_max);
    options.header_timeout = ms(config.server.header_timeout_s);
    options.body_timeout = ms(config.server.body_timeout_s);
    options.idle_timeout = ms(config.server.idle_timeout_s);
    options.write_timeout = ms(config.server.write_timeout_s);
    options.tls_cert = config.server.tls_cert;
    options.tls_key = config.server.tls_key;
    options.on_trouble = [](std::string_view what) { spdlog::warn("http: {}", what); };
    auto opened =
        http::Server::open(cores, std::move(options),
                           [this](std::size_t core) -> http::Handler& { return *apis[core]; });
    if (!opened) return tl::make_unexpected(std::move(opened.error()));
    server = std::move(*opened);
    return {};
}

Result<std::string> sqlite_path_of(const Config& config) {
    constexpr std::string_view kScheme = "sqlite:";
    const std::string& url = config.store.url;
    if (!url.starts_with(kScheme) || url.size() == kScheme.size()) {
        return fail(Errc::invalid, "store.url is not sqlite:FILE");
    }
    const std::filesystem::path file(url.substr(kScheme.size()));
    return (std::filesystem::path(config.server.data) / file).string(); // absolute ones stay so
}

std::string store_url_of(const Config& config) {
    const auto path = sqlite_path_of(config);
    return path ? *path : config.store.url;
}

Assembly::Assembly(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Result<std::unique_ptr<Assembly>> Assembly::open(const Config& config,
                                                 std::function<void(const Error&)> on_fatal) {
    auto proxies = http::TrustedProxies::parse(config.server.trusted_proxies);
    if (!proxies) {
        return fail(Errc::invalid, "server.trusted_proxies must hold addresses or networks");
    }
    std::optional<DataFolder> folder;
    if (needs_folder(config)) {
        auto acquired = DataFolder::acquire(config.server.data);
        if (!acquired) return tl::make_unexpected(std::move(acquired.error()));
        folder.emplace(std::move(*acquired));
    }
    const bool has_own_log = config.log.backend == LogConfig::Backend::sqlite;
    if (const auto store_path = sqlite_path_of(config); store_path && has_own_log) {
        if (auto checked = check_own_files(config.server.data, *store_path); !checked) {
            return tl::make_unexpected(std::move(checked.error()));
        }
    }
    const std::size_t cores = config.server.threads > 0
                                  ? static_cast<std::size_t>(config.server.threads)
                                  : std::max(1U, std::thread::hardware_concurrency());
    auto parts = std::make_unique<Parts>(config, std::move(folder), cores);
    parts->proxies = std::move(*proxies);
    if (auto opened = parts->open_store(); !opened) {
        return tl::make_unexpected(std::move(opened.error()));
    }
    auto opened_log =
        has_own_log ? parts->open_own_log(on_fatal) : parts->open_shared_log(on_fatal);
    if (!opened_log) return tl::make_unexpected(std::move(opened_log.error()));
    if (auto opened = parts->open_inventory(); !opened) {
        return tl::make_unexpected(std::move(opened.error()));
    }
    if (!config.webhooks.endpoints.empty()) {
        auto webhooks = open_webhooks(config.webhooks, *parts->store, parts->clock,
                                      parts->operating, random_number());
        if (!webhooks) return tl::make_unexpected(std::move(webhooks.error()));
        parts->webhooks = std::move(*webhooks);
    }
    parts->build_engine(on_fatal);
    if (auto built = parts->build_apis(); !built) {
        return tl::make_unexpected(std::move(built.error()));
    }
    if (auto opened = parts->open_server(); !opened) {
        return tl::make_unexpected(std::move(opened.error()));
    }
    if (parts->shared_log) { // last: from here on its thread calls in
        if (auto started = parts->shared_log->start(*parts->store); !started) {
            return tl::make_unexpected(std::move(started.error()));
        }
    }
    return std::unique_ptr<Assembly>(new Assembly(std::move(parts)));
}

Assembly::~Assembly() {
    if (parts_->is_running) stop();
}

// Every sale, by this process alone: what is in its memory is nobody else's.
Task<void> Assembly::Parts::recover() {
    auto all = co_await rebuild->run();
    if (all) lifecycle->open();
    if (all) readiness->set_recovered();
    rebuilt.set_value(std::move(all));
}

void Assembly::start() {
    Parts& parts = *parts_;
    parts.is_running = true;
    parts.cores.start();
    if (parts.own_log) parts.writer->start(parts.stored_next);
    else if (parts.writer) parts.writer->start();
    parts.lifecycle->start();
    if (parts.webhooks) parts.webhooks->dispatcher->start();
    if (parts.redis) parts.redis->start();
    parts.server->start();
    boost::asio::co_spawn(parts.cores.at(0).executor(),
                          parts.keeper ? parts.keeper->run() : parts.recover(), rethrow);
    boost::asio::co_spawn(parts.cores.at(0).executor(), parts.console->run(), rethrow);
}

Result<std::size_t> Assembly::wait_until_ready(std::chrono::milliseconds at_most) {
    if (parts_->when_rebuilt.wait_for(at_most) != std::future_status::ready) {
        return fail(Errc::timeout);
    }
    return parts_->when_rebuilt.get();
}

std::string Assembly::waiting_for() const {
    std::string all;
    for (const Readiness::Backend& backend : parts_->readiness->backends()) {
        const std::string state = backend.state();
        if (state == "up") continue;
        if (!all.empty()) all += "; ";
        all += backend.name + ": " + state;
    }
    return all.empty() ? "the sales are being read" : all;
}

bool Assembly::stop() {
    Parts& parts = *parts_;
    parts.readiness->set_stopping();
    const bool is_clean = parts.server->drain(kDrainMax);
    parts.lifecycle->stop();
    if (parts.webhooks) parts.webhooks->dispatcher->stop();
    if (parts.writer) parts.writer->stop(kWriterStopMax);
    if (parts.own_log) parts.own_log->stop();
    if (parts.shared_log) parts.shared_log->stop(kWriterStopMax);
    if (parts.redis) parts.redis->stop();
    parts.blocking.stop();
    parts.operating.stop();
    parts.cores.stop();
    parts.is_running = false;
    parts.server.reset();
    return is_clean;
}

std::string Assembly::url() const {
    const Config& config = parts_->config;
    const auto listen = parse_listen(config.server.listen);
    const std::string host = listen ? listen->host : "127.0.0.1";
    const bool is_v6 = host.find(':') != std::string::npos;
    const std::string scheme = config.server.tls_cert.empty() ? "http://" : "https://";
    return scheme + (is_v6 ? "[" + host + "]" : host) + ":" +
           std::to_string(parts_->server->port());
}

} // namespace doorbuster
