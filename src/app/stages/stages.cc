#include "app/stages/stages.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "adapters/sql/store_url.h"
#include "app/stages/round_runner.h"
#include "app/strategies.h"

namespace doorbuster::stages {
namespace {

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
    const std::size_t middle = values.size() / 2;
    const double median =
        values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    return {median, values.front(), values.back()};
}

const Round& middle_round(const Stage& stage) {
    std::vector<const Round*> rounds;
    for (const Round& round : stage.rounds) rounds.push_back(&round);
    std::ranges::sort(rounds, {}, &Round::yes_per_second);
    return *rounds[(rounds.size() - 1) / 2];
}

namespace {

std::vector<std::string> failures_of(const LoadResult& load, const Stage& stage) {
    std::vector<std::string> out;
    const auto row = std::ranges::find(strategies(), stage.strategy, &StrategyRow::name);
    const bool is_safe = row == strategies().end() || row->danger.empty();
    for (std::size_t i = 0; i < stage.rounds.size(); ++i) {
        const Round& round = stage.rounds[i];
        const auto say = [&](const std::string& what) {
            out.push_back(
                fmt::format("{}, {}, round {}: {}", load.shape.name, stage.strategy, i + 1, what));
        };
        const std::uint64_t errors = round.load.errors_total();
        if (errors > 0) say(fmt::format("{} errors", errors));
        if (round.load.is_stopped) say("the load was given up");
        if (!is_safe) continue;
        if (round.oversold > 0) say(fmt::format("{} units oversold", round.oversold));
        if (round.lost > 0) say(fmt::format("{} buyers have a yes and no order", round.lost));
        // A 503 that names its order is neither.
        const auto of = [&](PurchaseOutcome outcome) {
            return round.load.rejected[static_cast<std::size_t>(outcome)];
        };
        const bool is_clear = errors == 0 && of(PurchaseOutcome::overloaded) == 0 &&
                              of(PurchaseOutcome::unavailable) == 0;
        if (round.unexpected > 0 && is_clear) {
            say(fmt::format("{} orders of buyers who were told no", round.unexpected));
        }
        for (const std::string& violation : round.violations) say(violation);
    }
    return out;
}

} // namespace

std::vector<std::string> failures_of(const Report& report) {
    std::vector<std::string> out;
    for (const LoadResult& load : report.loads) {
        for (const Stage& stage : load.stages) {
            for (std::string& what : failures_of(load, stage)) out.push_back(std::move(what));
        }
    }
    return out;
}

namespace {

// All rounds of one load; the first that fails ends it, with what there is until then.
Result<void> run_rounds(const Options& options, const std::vector<StrategyRow>& rows,
                        const std::atomic<bool>& stop, const Sink& progress, LoadResult& result) {
    // Round by round, so that what else the machine does meets all of them.
    for (int number = 1; number <= options.rounds; ++number) {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            Stage& stage = result.stages[i];
            if (!stage.left_out.empty()) continue;
            const std::string step = fmt::format("{}, {}, round {} of {}", result.shape.name,
                                                 stage.strategy, number, options.rounds);
            RoundRunner runner(options, result.shape, rows[i], stop);
            auto round = runner.run(step, progress);
            if (!round) return fail(round.error().code, step + ": " + round.error().context);
            stage.rounds.push_back(std::move(*round));
        }
    }
    return {};
}

} // namespace

Result<Report> run(const Options& options, const std::atomic<bool>& stop, const Sink& progress) {
    auto rows = chosen(options.strategies);
    if (!rows) return tl::make_unexpected(std::move(rows.error()));
    const bool has_none = std::ranges::all_of(
        *rows, [&](const StrategyRow& row) { return !why_left_out(row, options.engines).empty(); });
    if (has_none) {
        const StrategyRow& first = rows->front();
        return fail(Errc::invalid, fmt::format("nothing is left to measure: {} {}", first.name,
                                               why_left_out(first, options.engines)));
    }
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
    bool has_any = false;
    for (const LoadShape& shape : options.loads) {
        LoadResult result;
        result.shape = shape;
        for (const StrategyRow& row : *rows) {
            result.stages.push_back(
                {std::string(row.name), why_left_out(row, options.engines), {}});
        }
        auto ended = run_rounds(options, *rows, stop, progress, result);
        for (const Stage& stage : result.stages) has_any = has_any || !stage.rounds.empty();
        report.loads.push_back(std::move(result));
        if (ended) continue;
        if (!has_any) return tl::make_unexpected(std::move(ended.error()));
        report.incomplete = ended.error().context; // an hour's rounds are not thrown away
        break;
    }
    return report;
}

} // namespace doorbuster::stages
