#include "app/assembly.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <filesystem>
#include <optional>
#include <random>
#include <span>
#include <spdlog/spdlog.h>
#include <thread>
#include <vector>

#include "adapters/jwt/jwt.h"
#include "app/assembly_parts.h"
#include "app/openapi.h"
#include "app/own_log.h"
#include "app/random.h"
#include "app/web_pages.h"

namespace doorbuster {
namespace {

// Together under the ten seconds that a stop may take.
constexpr std::chrono::milliseconds kDrainMax{5'000};
constexpr Duration kWriterStopMax{3'000};

std::chrono::milliseconds ms(double seconds) {
    return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1e3));
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

// A data folder belongs to one process. One that keeps nothing there needs none.
bool needs_folder(const Config& config) {
    return config.inventory.backend == InventoryConfig::Backend::memory ||
           config.log.backend == LogConfig::Backend::sqlite ||
           config.store.url.starts_with("sqlite:");
}

} // namespace

void Assembly::Parts::build_writer(const std::function<void(const Error&)>& on_fatal) {
    OrderWriter::Options writing;
    writing.batch_max = static_cast<std::size_t>(config.store.batch_max);
    writing.guard = strategy().guard;
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
    if (direct_log) {
        progress = direct_log.get();
        return;
    }
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
        if (direct_log) return "up";
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
    if (looking_inventory) running.no_payment_step = LookingInventory::kNoPaymentStep;
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
    if (!own_inventory && !looking_inventory) {
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
    if (direct_log) own_books = std::make_unique<NoLogBooks>();
    LogBooks& books = own_books ? *own_books : *shared_log->books;
    auditor = std::make_unique<Auditor>(cores, *store, *log, books, *inventory, operating);
    readiness = std::make_unique<Readiness>(backends());
    const LatencyBuckets& append_seconds = own_log      ? own_log->commit_seconds()
                                           : direct_log ? direct_log->append_seconds()
                                                        : shared_log->log->append_seconds();
    std::function<std::uint64_t()> redis_calls;
    if (redis) redis_calls = [this] { return redis->calls(); };
    metrics_page = std::make_unique<metrics::Metrics>(metrics::Metrics::Parts{
        cores, directories, purchases, *log, append_seconds, writer.get(), *lifecycle, *store,
        tally, *readiness, webhooks ? webhooks->dispatcher.get() : nullptr,
        std::move(redis_calls)});
    console = std::make_unique<ConsoleFeed>(ConsoleFeed::Parts{cores, clock, directories, purchases,
                                                               *log, writer.get(), *store, tally,
                                                               *readiness, direct_log != nullptr});
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
    auto opened_log = parts->open_log(on_fatal);
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
