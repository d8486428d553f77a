#include "app/stages/round_runner.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <chrono>
#include <fmt/format.h>
#include <set>
#include <thread>
#include <utility>

#include "app/random.h"
#include "app/stages/sampler.h"
#include "app/table.h"

namespace doorbuster::stages {
namespace {

using Steady = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kDrainLookEvery{20};
// `queued` stores each lost order as refused; a hundred thousand of them take a while.
constexpr std::chrono::seconds kDrainMax{300};
constexpr std::chrono::milliseconds kCallMax{60'000}; // of the audit of a sale that is large
constexpr std::uint64_t kWarmUpAttempts = 2'000;
constexpr Duration kWarmUpMax{2'000};
// Between the warm-up and the load: the limiter's bucket, which holds what one second brings, is
// full again, and the server's peak of connections, of the last second, is of nobody.
constexpr std::chrono::milliseconds kRest{1'200};
// After Ctrl-C all of it is over within the contract's ten seconds: the load, the server, and what
// either of Redis and Kafka takes to be cleaned.
constexpr Duration kStopGrace{1'000};
constexpr std::chrono::milliseconds kStopSoon{2'500};
constexpr Duration kCleaningSoon{2'000};
constexpr Duration kCleaningMax{30'000};
constexpr std::size_t kExamplesMax = 3; // of a round's errors

// What the load says, as far as it is no row of its own.
void take_notes(const LoadShape& shape, Round& round) {
    const LoadReport& load = round.load;
    round.unsent = shape.attempts() - load.attempts;
    for (const std::string& note : load.notes) {
        if (load.unsent == 0 || note != unsent_note(load.unsent)) round.notes.push_back(note);
    }
    const std::size_t examples = std::min(load.examples.size(), kExamplesMax);
    for (std::size_t i = 0; i < examples; ++i) {
        round.notes.push_back("error, for example: " + printable(load.examples[i]));
    }
}

// As exact as the samples are.
void take_drain(Round& round) {
    if (round.load.accepted == 0 || round.samples.empty()) return;
    const double all = round.samples.back().stored;
    const auto last = std::ranges::find(round.samples, all, &Sample::stored);
    round.drain_seconds = std::max(0.0, last->seconds - round.load.seconds_to_last_accepted);
}

struct Pages {
    MetricsPage before;
    MetricsPage answered; // when the last attempt was
    MetricsPage stored;   // when the last order was
};

void take_costs(const Pages& pages, Round& round) {
    const auto grown = [&pages](const MetricsPage& until, const char* name) {
        return until.sum(name) - pages.before.sum(name);
    };
    const auto attempts = static_cast<double>(std::max<std::uint64_t>(round.load.attempts, 1));
    for (const Sample& sample : round.samples) {
        round.connections_max = std::max(round.connections_max, sample.connections_max);
    }
    const double busy = grown(pages.answered, "doorbuster_store_connection_seconds_total");
    round.connections_mean = round.load.seconds > 0 ? busy / round.load.seconds : 0;
    round.statements_per_attempt =
        grown(pages.stored, "doorbuster_store_statements_total") / attempts;
    round.redis_per_attempt = grown(pages.stored, "doorbuster_redis_calls_total") / attempts;
    const double until_last = round.load.seconds_to_last_accepted;
    const auto yes = static_cast<double>(round.load.accepted);
    round.yes_per_second = until_last > 0 ? yes / until_last : 0;
}

} // namespace

Result<Round> RoundRunner::run(const std::string& step, const Sink& progress) {
    const std::string name = fmt::format("doorbuster-stages-{}", random_hex(1));
    // Before anything is made: who kills us knows what to look for.
    const std::string named = fmt::format("{} ({})", step, name);
    if (progress) progress(named, {});
    auto scratch = Scratch::make(engines_, name);
    if (!scratch) return tl::make_unexpected(std::move(scratch.error()));
    auto measured = measure(**scratch, named, progress);
    const auto cleaned = (*scratch)->clean_up(stop_.load() ? kCleaningSoon : kCleaningMax);
    if (cleaned) return measured;
    std::string what =
        fmt::format("{} could not be taken away again: {}", name, cleaned.error().context);
    if (!measured) what = measured.error().context + "; and " + what;
    return fail(measured ? Errc::unavailable : Errc::io, std::move(what));
}

// What a stage does not use it leaves nothing on, and nothing is looked for there.
Engines RoundRunner::engines_of_stage() const {
    Engines used = options_.engines;
    if (!is_ours() && strategy_.stock_step != StockStep::looks_in_redis) used.redis.clear();
    if (strategy_.log_step != LogStep::writer) used.kafka.clear();
    return used;
}

Child::Settings RoundRunner::settings(const Scratch& scratch) const {
    Child::Settings all{{"DOORBUSTER_SERVER_LISTEN", "127.0.0.1:0"},
                        {"DOORBUSTER_SERVER_DATA", scratch.folder()},
                        {"DOORBUSTER_OUTPUT_LOG_LEVEL", "error"},
                        {"DOORBUSTER_PURCHASE_STRATEGY", std::string(strategy_.name)},
                        {"DOORBUSTER_STORE_URL", scratch.store_url()}};
    if (!engines_.redis.empty()) {
        all.emplace_back("DOORBUSTER_REDIS_URL", engines_.redis);
        all.emplace_back("DOORBUSTER_REDIS_PREFIX", scratch.name());
        all.emplace_back("DOORBUSTER_INVENTORY_BACKEND", "redis");
    }
    if (!engines_.kafka.empty()) {
        all.emplace_back("DOORBUSTER_LOG_BACKEND", "kafka");
        all.emplace_back("DOORBUSTER_KAFKA_BROKERS", engines_.kafka);
        all.emplace_back("DOORBUSTER_KAFKA_TOPIC", scratch.name());
        all.emplace_back("DOORBUSTER_KAFKA_GROUP", scratch.name());
    }
    if (const double limit = limit_of(shape_, strategy_); limit > 0) {
        all.emplace_back("DOORBUSTER_LIMITS_PER_SECOND", fmt::format("{:g}", limit));
    }
    return all;
}

Result<Round> RoundRunner::measure(const Scratch& scratch, const std::string& step,
                                   const Sink& progress) {
    auto child =
        Child::start(options_.program, settings(scratch), scratch.folder() + "/serve.log", stop_);
    if (!child) return tl::make_unexpected(std::move(child.error()));
    url_ = (*child)->url();
    auto round = measure_on_server(step, progress);
    // After a failure nobody needs to know how it ends; but what it leaves in order is less to
    // clean up.
    auto stopped = (*child)->stop(round ? Child::kStopMax : kStopSoon);
    if (round && !stopped) return tl::make_unexpected(std::move(stopped.error()));
    return round;
}

Result<Round> RoundRunner::measure_on_server(const std::string& step, const Sink& progress) {
    if (auto warm = warm_up(); !warm) return tl::make_unexpected(std::move(warm.error()));
    if (auto made = make_sale(kSale, shape_.stock); !made) {
        return tl::make_unexpected(std::move(made.error()));
    }
    auto http = HttpClient::create({.url = url_, .timeout = kCallMax});
    auto sampling = HttpClient::create({.url = url_, .timeout = kCallMax});
    if (!http) return tl::make_unexpected(std::move(http.error()));
    if (!sampling) return tl::make_unexpected(std::move(sampling.error()));
    auto before = read_metrics(*http);
    if (!before) return tl::make_unexpected(before.error());
    Round round;
    Sampler sampler(std::move(*sampling));
    LoadOptions options = load_options();
    Result<MetricsPage> answered = fail(Errc::unavailable, "no load");
    options.when_answered = [&] { answered = read_metrics(*http); };
    options.keep_order_ids = true;
    options.closes_books = is_ours();
    auto load = run_load(options, stop_, [&](const LoadProgress& now) {
        sampler.note(now);
        if (progress) progress(step, now);
    });
    if (!load) return tl::make_unexpected(std::move(load.error()));
    round.load = std::move(*load);
    if (stop_.load()) return fail(Errc::unavailable, "stopped");
    if (!answered) return tl::make_unexpected(std::move(answered.error()));
    const auto drained = wait_for_writer(*http);
    if (!drained) return tl::make_unexpected(drained.error());
    round.samples = sampler.finish(round.load.began);
    auto stored = read_metrics(*http);
    if (!stored) return tl::make_unexpected(stored.error());
    take_notes(shape_, round);
    // Nothing lies behind a store that is written to while the buyer waits.
    if (strategy_.log_step != LogStep::direct) take_drain(round);
    take_costs({std::move(*before), std::move(*answered), std::move(*stored)}, round);
    if (auto taken = take_orders(round); !taken) {
        return tl::make_unexpected(std::move(taken.error()));
    }
    return round;
}

LoadOptions RoundRunner::load_options() const {
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
    load.stop_grace = kStopGrace;
    return load;
}

// Connections, plans of statements, code: on a sale that is not looked at.
Result<void> RoundRunner::warm_up() {
    if (auto made = make_sale("warm-up", kWarmUpAttempts / 2); !made) return made;
    LoadOptions load = load_options();
    load.sale = "warm-up";
    load.buyers = kWarmUpAttempts;
    load.attempts_per_buyer = 1;
    load.rate.reset();
    // All at once would be a crowd of "come later": spread out, the limit lets all of its share
    // through to the database.
    if (const double limit = limit_of(shape_, strategy_); limit > 0) load.rate = 2 * limit;
    load.duration = kWarmUpMax;
    load.closes_books = false;
    auto warm = run_load(load, stop_, {});
    if (!warm) return tl::make_unexpected(std::move(warm.error()));
    if (stop_.load()) return fail(Errc::unavailable, "stopped");
    auto http = HttpClient::create({.url = url_, .timeout = kCallMax});
    if (!http) return tl::make_unexpected(std::move(http.error()));
    if (auto drained = wait_for_writer(*http); !drained) return drained;
    std::this_thread::sleep_for(kRest); // poll: what is left of the warm-up to be past
    return {};
}

Result<void> RoundRunner::make_sale(const std::string& id, Units stock) {
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

Result<ServerClient> RoundRunner::client_of_server() const {
    ServerOptions server;
    server.url = url_;
    server.timeout = kCallMax;
    return ServerClient::create(server, {});
}

// Until the log has nothing that the store has not.
Result<void> RoundRunner::wait_for_writer(HttpClient& http) {
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

// What is in the store, order by order, against what buyers were told.
Result<void> RoundRunner::take_orders(Round& round) const {
    auto client = client_of_server();
    if (!client) return tl::make_unexpected(std::move(client.error()));
    const auto audit = client->get(fmt::format("/v1/sales/{}/audit", kSale));
    if (!audit) return tl::make_unexpected(audit.error());
    const auto& orders = audit->at("orders").as_object();
    round.orders = orders.at("confirmed").as_int64();
    round.refused = orders.at("refused").as_int64();
    round.oversold = std::max<Units>(audit->at("sold").as_int64() - shape_.stock, 0);
    for (const auto& violation : audit->at("violations").as_array()) {
        round.violations.emplace_back(violation.as_string());
    }
    const std::vector<std::string> told = std::exchange(round.load.order_ids, {});
    std::set<std::string_view> unseen(told.begin(), told.end());
    const auto listed =
        client->for_each(fmt::format("/v1/sales/{}/orders?status=confirmed", kSale),
                         [&](const boost::json::value& order) -> Result<void> {
                             const boost::json::string& id = order.at("order_id").as_string();
                             if (unseen.erase(std::string_view(id.data(), id.size())) == 0)
                                 ++round.unexpected;
                             return {};
                         });
    round.lost = static_cast<std::int64_t>(unseen.size());
    return listed;
}

} // namespace doorbuster::stages
