#include "app/stages/stages.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <chrono>
#include <fmt/format.h>
#include <mutex>
#include <thread>
#include <utility>

#include "adapters/redis/url.h"
#include "adapters/sql/store_url.h"
#include "app/commands/server_client.h"
#include "app/random.h"
#include "app/stages/child.h"
#include "app/stages/metrics_page.h"
#include "app/strategies.h"

namespace doorbuster::stages {
namespace {

using Steady = std::chrono::steady_clock;

// Often at first, for a load that is over in a moment.
constexpr std::chrono::milliseconds kSampleEvery{100};
constexpr std::chrono::milliseconds kFirstSampleEvery{20};
constexpr std::chrono::seconds kFirstSamplesFor{3};
constexpr std::chrono::milliseconds kDrainLookEvery{20};
// `queued` stores each lost order as refused; a hundred thousand of them take a while.
constexpr std::chrono::seconds kDrainMax{300};
constexpr std::chrono::milliseconds kCallMax{60'000}; // of the audit of a sale that is large
constexpr std::uint64_t kWarmUpAttempts = 2'000;
constexpr Duration kWarmUpMax{2'000};
constexpr const char* kSale = "stage";

double seconds_since(Steady::time_point start) {
    return std::chrono::duration<double>(Steady::now() - start).count();
}

Result<MetricsPage> read_metrics(HttpClient& http) {
    auto reply = http.get("/metrics");
    if (!reply) return tl::make_unexpected(std::move(reply.error()));
    return MetricsPage::parse(reply->body);
}

double orders_of(const MetricsPage& page, std::string_view status) {
    return page.sum("doorbuster_orders", R"(sale="stage")", status);
}

// Looks at the server while a load runs, on a thread of its own.
class Sampler {
public:
    // The first sample is taken when this returns: what there was before the load.
    explicit Sampler(HttpClient http) : http_(std::move(http)) {
        take();
        thread_ = std::thread([this] { work(); });
    }
    ~Sampler() { stop(); }
    Sampler(const Sampler&) = delete;
    Sampler& operator=(const Sampler&) = delete;

    void note(const LoadProgress& progress) {
        const std::lock_guard lock(mutex_);
        progress_ = progress;
    }
    // Their times count from `began`; the last one before is the one of second 0.
    [[nodiscard]] std::vector<Sample> finish(Steady::time_point began) {
        stop();
        const double early = std::chrono::duration<double>(began - start_).count();
        for (Sample& sample : samples_) sample.seconds -= early;
        const auto first = std::ranges::find_if(samples_, [](auto& s) { return s.seconds >= 0; });
        if (first - samples_.begin() > 1) samples_.erase(samples_.begin(), first - 1);
        if (!samples_.empty()) samples_[0].seconds = std::max(samples_[0].seconds, 0.0);
        return std::exchange(samples_, {});
    }

private:
    void stop() {
        is_over_.store(true);
        if (thread_.joinable()) thread_.join();
    }
    void work() {
        while (!is_over_.load()) {
            const bool is_young = Steady::now() < start_ + kFirstSamplesFor;
            // poll: a curve over time
            std::this_thread::sleep_for(is_young ? kFirstSampleEvery : kSampleEvery);
            take(); // once more after the end
        }
    }
    void take() {
        const auto page = read_metrics(http_);
        if (!page) return;
        const std::lock_guard lock(mutex_);
        Sample sample;
        sample.seconds = seconds_since(start_);
        sample.connections = page->sum("doorbuster_store_connections", R"(state="in_use")");
        sample.orders = orders_of(*page, R"(status="confirmed")");
        sample.stored = sample.orders + orders_of(*page, R"(status="refused")");
        sample.attempts = static_cast<double>(progress_.attempts);
        sample.yes = static_cast<double>(progress_.accepted);
        samples_.push_back(sample);
    }

    HttpClient http_; // the thread's, once it runs
    Steady::time_point start_ = Steady::now();
    std::atomic<bool> is_over_{false};
    std::mutex mutex_; // guards the next
    LoadProgress progress_;
    std::vector<Sample> samples_;
    std::thread thread_;
};

// One server, from its start until nothing is left of it.
class RoundRunner {
public:
    RoundRunner(const Options& options, const LoadShape& shape, const StrategyRow& strategy,
                const std::atomic<bool>& stop)
        : options_(options), shape_(shape), strategy_(strategy), stop_(stop) {}

    Result<Round> run(const std::string& step, const Sink& progress) {
        auto scratch =
            Scratch::make(options_.engines, fmt::format("doorbuster-stages-{}", random_hex(1)));
        if (!scratch) return tl::make_unexpected(std::move(scratch.error()));
        auto measured = measure(**scratch, step, progress);
        auto cleaned = (*scratch)->clean_up();
        if (!measured) return measured;
        if (!cleaned) return tl::make_unexpected(std::move(cleaned.error()));
        return measured;
    }

private:
    [[nodiscard]] Child::Settings settings(const Scratch& scratch) const {
        const Engines& engines = options_.engines;
        Child::Settings all{{"DOORBUSTER_SERVER_LISTEN", "127.0.0.1:0"},
                            {"DOORBUSTER_SERVER_DATA", scratch.folder()},
                            {"DOORBUSTER_OUTPUT_LOG_LEVEL", "error"},
                            {"DOORBUSTER_PURCHASE_STRATEGY", std::string(strategy_.name)},
                            {"DOORBUSTER_STORE_URL", scratch.store_url()}};
        const bool is_ours = strategy_.stock_step == StockStep::holds;
        const bool needs_redis = strategy_.stock_step == StockStep::looks_in_redis ||
                                 (is_ours && !engines.redis.empty());
        if (needs_redis) {
            all.emplace_back("DOORBUSTER_REDIS_URL", engines.redis);
            all.emplace_back("DOORBUSTER_REDIS_PREFIX", scratch.name());
            all.emplace_back("DOORBUSTER_INVENTORY_BACKEND", "redis");
        }
        if (strategy_.log_step == LogStep::writer && !engines.kafka.empty()) {
            all.emplace_back("DOORBUSTER_LOG_BACKEND", "kafka");
            all.emplace_back("DOORBUSTER_KAFKA_BROKERS", engines.kafka);
            all.emplace_back("DOORBUSTER_KAFKA_TOPIC", scratch.name());
            all.emplace_back("DOORBUSTER_KAFKA_GROUP", scratch.name());
        }
        if (const double limit = limit_of(shape_, strategy_); limit > 0) {
            all.emplace_back("DOORBUSTER_LIMITS_PER_SECOND", fmt::format("{:g}", limit));
        }
        return all;
    }

    Result<Round> measure(const Scratch& scratch, const std::string& step, const Sink& progress) {
        auto child = Child::start(options_.program, settings(scratch),
                                  scratch.folder() + "/serve.log", stop_);
        if (!child) return tl::make_unexpected(std::move(child.error()));
        url_ = (*child)->url();
        auto round = measure_on_server(step, progress);
        auto stopped = (*child)->stop();
        if (round && !stopped) return tl::make_unexpected(std::move(stopped.error()));
        return round;
    }

    Result<Round> measure_on_server(const std::string& step, const Sink& progress) {
        if (auto warm = warm_up(); !warm) return tl::make_unexpected(std::move(warm.error()));
        if (auto made = make_sale(kSale, shape_.stock); !made) {
            return tl::make_unexpected(std::move(made.error()));
        }
        auto http = HttpClient::create({.url = url_, .timeout = kCallMax});
        if (!http) return tl::make_unexpected(std::move(http.error()));
        const auto before = read_metrics(*http);
        if (!before) return tl::make_unexpected(before.error());
        const auto start = Steady::now();
        Round round;
        {
            auto http_of_sampler = HttpClient::create({.url = url_, .timeout = kCallMax});
            if (!http_of_sampler) return tl::make_unexpected(std::move(http_of_sampler.error()));
            Sampler sampler(std::move(*http_of_sampler));
            auto load = run_load(load_options(), stop_, [&](const LoadProgress& now) {
                sampler.note(now);
                if (progress) progress(step, now);
            });
            if (!load) return tl::make_unexpected(std::move(load.error()));
            round.load = std::move(*load);
            take_notes(round);
            if (stop_.load()) return fail(Errc::unavailable, "stopped");
            const auto drained = wait_for_writer(*http);
            if (!drained) return tl::make_unexpected(drained.error());
            round.samples = sampler.finish(round.load.began);
            take_drain(round);
        }
        const auto after = read_metrics(*http);
        if (!after) return tl::make_unexpected(after.error());
        take_costs(*before, *after, seconds_since(start), round);
        if (auto audited = take_audit(round); !audited) {
            return tl::make_unexpected(std::move(audited.error()));
        }
        return round;
    }

    [[nodiscard]] LoadOptions load_options() const {
        LoadOptions load;
        load.url = url_;
        load.sale = kSale;
        load.buyers = shape_.buyers;
        load.attempts_per_buyer = shape_.attempts_per_buyer;
        load.connections = shape_.connections;
        load.rate = shape_.rate;
        load.threads = options_.threads;
        load.duration = options_.run_max;
        load.timeout = Duration(60'000); // a pool of twenty and hundreds who wait
        return load;
    }

    // Connections, plans of statements, code: on a sale that is not looked at.
    Result<void> warm_up() {
        if (auto made = make_sale("warm-up", kWarmUpAttempts / 2); !made) return made;
        LoadOptions load = load_options();
        load.sale = "warm-up";
        load.buyers = kWarmUpAttempts;
        load.attempts_per_buyer = 1;
        load.rate.reset();
        load.duration = kWarmUpMax;
        auto warm = run_load(load, stop_, {});
        if (!warm) return tl::make_unexpected(std::move(warm.error()));
        if (stop_.load()) return fail(Errc::unavailable, "stopped");
        auto http = HttpClient::create({.url = url_, .timeout = kCallMax});
        if (!http) return tl::make_unexpected(std::move(http.error()));
        return wait_for_writer(*http);
    }

    Result<void> make_sale(const std::string& id, Units stock) {
        auto client = client_of_server();
        if (!client) return tl::make_unexpected(std::move(client.error()));
        const boost::json::object sale{
            {"id", id},
            {"title", "doorbuster bench stages"},
            {"stock", stock},
            {"per_user_limit", static_cast<std::int64_t>(shape_.attempts_per_buyer)}};
        const auto made = client->send("POST", "/v1/sales", sale);
        if (!made) return tl::make_unexpected(made.error());
        return {};
    }

    [[nodiscard]] Result<ServerClient> client_of_server() const {
        ServerOptions server;
        server.url = url_;
        server.timeout = kCallMax;
        return ServerClient::create(server, {});
    }

    // Until the log has nothing that the store has not.
    Result<void> wait_for_writer(HttpClient& http) {
        const auto until = Steady::now() + kDrainMax;
        for (;;) {
            const auto page = read_metrics(http);
            if (!page) return tl::make_unexpected(page.error());
            if (page->sum("doorbuster_log_lag_records") == 0) return {};
            if (stop_.load()) return fail(Errc::unavailable, "stopped");
            if (Steady::now() > until) return fail(Errc::timeout, "the order writer does not end");
            std::this_thread::sleep_for(kDrainLookEvery); // poll: the writer's end
        }
    }

    void take_notes(Round& round) const {
        const LoadReport& load = round.load;
        round.unsent = shape_.attempts() - load.attempts;
        for (const std::string& note : load.notes) {
            // That is a row of its own.
            if (load.unsent == 0 || note != unsent_note(load.unsent)) round.notes.push_back(note);
        }
    }

    // To a tenth of a second, as the samples are. Nothing lies behind a store that is written to
    // while the buyer waits.
    void take_drain(Round& round) const {
        if (strategy_.log_step == LogStep::direct || round.load.accepted == 0) return;
        if (round.samples.empty()) return;
        const double all = round.samples.back().stored;
        const auto last = std::ranges::find(round.samples, all, &Sample::stored);
        round.drain_seconds = std::max(0.0, last->seconds - round.load.seconds_to_last_accepted);
    }

    void take_costs(const MetricsPage& before, const MetricsPage& after, double seconds,
                    Round& round) const {
        const auto grown = [&](const char* name) { return after.sum(name) - before.sum(name); };
        const auto attempts = static_cast<double>(std::max<std::uint64_t>(round.load.attempts, 1));
        round.connections_max = after.sum("doorbuster_store_connections_in_use_max");
        round.connections_mean = grown("doorbuster_store_connection_seconds_total") / seconds;
        round.statements_per_attempt = grown("doorbuster_store_statements_total") / attempts;
        round.redis_per_attempt = grown("doorbuster_redis_calls_total") / attempts;
        const double until_last = round.load.seconds_to_last_accepted;
        const auto yes = static_cast<double>(round.load.accepted);
        round.yes_per_second = until_last > 0 ? yes / until_last : 0;
    }

    Result<void> take_audit(Round& round) const {
        auto client = client_of_server();
        if (!client) return tl::make_unexpected(std::move(client.error()));
        const auto audit = client->get(fmt::format("/v1/sales/{}/audit", kSale));
        if (!audit) return tl::make_unexpected(audit.error());
        const auto& orders = audit->at("orders").as_object();
        round.orders = orders.at("confirmed").as_int64();
        round.refused = orders.at("refused").as_int64();
        round.oversold = std::max<Units>(audit->at("sold").as_int64() - shape_.stock, 0);
        round.lost = std::max<std::int64_t>(
            static_cast<std::int64_t>(round.load.accepted) - round.orders, 0);
        for (const auto& violation : audit->at("violations").as_array()) {
            round.violations.emplace_back(violation.as_string());
        }
        return {};
    }

    const Options& options_;
    const LoadShape& shape_;
    const StrategyRow& strategy_;
    const std::atomic<bool>& stop_;
    std::string url_;
};

std::string why_left_out(const StrategyRow& strategy, const Engines& engines) {
    if (strategy.stock_step == StockStep::looks_in_redis && engines.redis.empty()) {
        return "looks at the stock in Redis: give --redis URL";
    }
    return {};
}

Result<std::vector<StrategyRow>> chosen(const std::vector<std::string>& names) {
    std::vector<StrategyRow> rows;
    for (const StrategyRow& row : strategies()) {
        if (names.empty() || std::ranges::find(names, row.name) != names.end()) rows.push_back(row);
    }
    for (const std::string& name : names) {
        if (std::ranges::none_of(rows, [&](const auto& row) { return row.name == name; })) {
            return fail(Errc::invalid, "there is no strategy '" + name + "'");
        }
    }
    return rows;
}

std::string without_password(const std::string& url) {
    const std::size_t at = url.rfind('@');
    const std::size_t scheme = url.find("://");
    if (at == std::string::npos || scheme == std::string::npos || at < scheme) return url;
    return url.substr(0, scheme + 3) + url.substr(at + 1);
}

} // namespace

LoadShape article_load() {
    LoadShape shape;
    shape.name = "article";
    shape.title = "the article's load: 10 units, 300 threads that try twice";
    shape.stock = 10;
    shape.buyers = 300;
    shape.attempts_per_buyer = 2;
    shape.connections = 300;
    shape.limit_per_second = 100;
    return shape;
}

LoadShape rush_load() {
    LoadShape shape;
    shape.name = "rush";
    shape.title = "a real rush: 20,000 units, 200,000 attempts";
    shape.stock = 20'000;
    shape.buyers = 200'000;
    shape.connections = 256;
    shape.rate = 10'000;
    shape.limit_per_second = 200;
    return shape;
}

double limit_of(const LoadShape& shape, const StrategyRow& strategy) {
    if (!strategy.is_rate_limited || strategy.stock_step == StockStep::holds) return 0;
    const bool is_limited_stage = strategy.strategy == PurchaseConfig::Strategy::limited;
    return is_limited_stage || shape.limits_all ? shape.limit_per_second : 0;
}

Spread spread_of(const Stage& stage, const Figure& figure) {
    std::vector<double> values;
    for (const Round& round : stage.rounds) values.push_back(figure(round));
    if (values.empty()) return {};
    std::ranges::sort(values);
    return {values[(values.size() - 1) / 2], values.front(), values.back()};
}

const Round& middle_round(const Stage& stage) {
    std::vector<const Round*> rounds;
    for (const Round& round : stage.rounds) rounds.push_back(&round);
    std::ranges::sort(rounds, {}, &Round::yes_per_second);
    return *rounds[(rounds.size() - 1) / 2];
}

Result<Report> run(const Options& options, const std::atomic<bool>& stop, const Sink& progress) {
    auto rows = chosen(options.strategies);
    if (!rows) return tl::make_unexpected(std::move(rows.error()));
    Report report;
    report.head = result_head(options.version, options.command);
    report.rounds = options.rounds;
    report.store = "SQLite";
    if (!options.engines.store.empty()) {
        const auto url = sql::parse_store_url(options.engines.store);
        if (!url) return tl::make_unexpected(url.error());
        report.store = url->name;
    }
    report.redis = options.engines.redis.empty() ? "none" : without_password(options.engines.redis);
    report.kafka = options.engines.kafka.empty() ? "none" : options.engines.kafka;
    for (const LoadShape& shape : options.loads) {
        LoadResult result;
        result.shape = shape;
        for (const StrategyRow& row : *rows) {
            result.stages.push_back(
                {std::string(row.name), why_left_out(row, options.engines), {}});
        }
        // Round by round, so that what else the machine does meets all of them.
        for (int number = 1; number <= options.rounds; ++number) {
            for (std::size_t i = 0; i < rows->size(); ++i) {
                Stage& stage = result.stages[i];
                if (!stage.left_out.empty()) continue;
                const std::string step = fmt::format("{}, {}, round {} of {}", shape.name,
                                                     stage.strategy, number, options.rounds);
                RoundRunner runner(options, shape, (*rows)[i], stop);
                auto round = runner.run(step, progress);
                if (!round) {
                    return fail(round.error().code, step + ": " + round.error().context);
                }
                stage.rounds.push_back(std::move(*round));
            }
        }
        report.loads.push_back(std::move(result));
    }
    return report;
}

} // namespace doorbuster::stages
