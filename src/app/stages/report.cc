#include "app/stages/report.h"

#include <array>
#include <cmath>
#include <fmt/format.h>
#include <iterator>
#include <set>

#include "app/stages/report_page.h"
#include "app/strategies.h"
#include "app/table.h"
#include "domain/json_text.h"

namespace doorbuster::stages {
namespace {

// Which of the rounds counts: where one is too many, the worst.
enum class Judge : std::uint8_t { median, worst };

// A figure of a round: its name in files, its title for people, and how many decimals it has there.
struct Row {
    std::string_view name;
    std::string_view title;
    int decimals;
    double (*figure)(const Round& round);
    Judge judge = Judge::median;
};

double count(std::uint64_t number) { return static_cast<double>(number); }
double latency(const std::optional<LatencyMs>& ms, double LatencyMs::*which) {
    return ms ? (*ms).*which : 0;
}

// In the order in which they are read: what became of the orders, what it cost, how fast it was.
constexpr std::array kRows = {
    Row{"attempts", "attempts", 0, [](const Round& r) { return count(r.load.attempts); }},
    Row{"unsent", "never sent", 0, [](const Round& r) { return count(r.unsent); }},
    Row{"yes", "yes", 0, [](const Round& r) { return count(r.load.accepted); }},
    Row{"orders_in_store", "orders in the store", 0,
        [](const Round& r) { return static_cast<double>(r.orders); }},
    Row{"oversold", "oversold", 0, [](const Round& r) { return static_cast<double>(r.oversold); },
        Judge::worst},
    Row{"yes_but_no_order", "yes but no order", 0,
        [](const Round& r) { return static_cast<double>(r.lost); }, Judge::worst},
    Row{"order_but_no_yes", "order but no yes", 0,
        [](const Round& r) { return static_cast<double>(r.unexpected); }, Judge::worst},
    Row{"connections_peak", "DB connections, peak", 0,
        [](const Round& r) { return r.connections_max; }},
    Row{"connections_mean", "DB connections, mean", 2,
        [](const Round& r) { return r.connections_mean; }},
    Row{"sql_statements_per_attempt", "SQL statements/attempt", 3,
        [](const Round& r) { return r.statements_per_attempt; }},
    Row{"redis_calls_per_attempt", "Redis calls/attempt", 3,
        [](const Round& r) { return r.redis_per_attempt; }},
    Row{"attempts_per_second", "attempts/s", 0,
        [](const Round& r) { return r.load.attempts_per_second(); }},
    Row{"yes_per_second", "yes/s", 0, [](const Round& r) { return r.yes_per_second; }},
    Row{"yes_p50_ms", "yes p50, ms", 2,
        [](const Round& r) { return latency(r.load.accepted_latency, &LatencyMs::p50); }},
    Row{"yes_p99_ms", "yes p99, ms", 2,
        [](const Round& r) { return latency(r.load.accepted_latency, &LatencyMs::p99); }},
    Row{"yes_p999_ms", "yes p99.9, ms", 2,
        [](const Round& r) { return latency(r.load.accepted_latency, &LatencyMs::p999); }},
    Row{"no_p50_ms", "no p50, ms", 2,
        [](const Round& r) { return latency(r.load.rejected_latency, &LatencyMs::p50); }},
    Row{"no_p99_ms", "no p99, ms", 2,
        [](const Round& r) { return latency(r.load.rejected_latency, &LatencyMs::p99); }},
    Row{"no_p999_ms", "no p99.9, ms", 2,
        [](const Round& r) { return latency(r.load.rejected_latency, &LatencyMs::p999); }},
    Row{"drain_seconds", "last yes to last stored, s", 2,
        [](const Round& r) { return r.drain_seconds; }},
};

double no_of(const Round& round, std::size_t outcome) {
    return count(round.load.rejected[outcome]);
}
double errors_of(const Round& round) { return count(round.load.errors_total()); }

// The codes that anybody was refused with.
std::set<std::size_t> codes_of(const LoadResult& load) {
    std::set<std::size_t> codes;
    for (const Stage& stage : load.stages) {
        for (const Round& round : stage.rounds) {
            for (std::size_t i = 0; i < round.load.rejected.size(); ++i) {
                if (round.load.rejected[i] > 0) codes.insert(i);
            }
        }
    }
    return codes;
}

std::string_view name_of(std::size_t outcome) {
    return to_string(static_cast<PurchaseOutcome>(outcome));
}

std::string number(double value, int decimals) {
    if (decimals == 0) return grouped(std::llround(value));
    return fmt::format("{:.{}f}", value, decimals);
}

std::string cell(const Spread& spread, int decimals, Judge judge) {
    const std::string median = number(spread.median, decimals);
    const std::string least = number(spread.least, decimals);
    const std::string most = number(spread.most, decimals);
    if (least == most) return median;
    return fmt::format("{} ({}-{})", judge == Judge::worst ? most : median, least, most);
}

// Counts to the last digit, the rest to six.
std::string plain(double value) {
    const bool is_count = value == std::floor(value) && std::abs(value) < 1e15;
    return is_count ? fmt::format("{:.0f}", value) : fmt::format("{:.6g}", value);
}

std::string json_of(const Spread& spread) {
    return fmt::format(R"({{"median":{},"min":{},"max":{}}})", plain(spread.median),
                       plain(spread.least), plain(spread.most));
}

void append_curve(std::string& out, std::string_view name,
                  const std::optional<LatencyCurve>& curve) {
    fmt::format_to(std::back_inserter(out), R"(,"{}":[)", name);
    for (std::size_t i = 0; curve && i < curve->size(); ++i) {
        fmt::format_to(std::back_inserter(out), "{}[{:g},{:.4g}]", i == 0 ? "" : ",",
                       kCurveQuantiles[i], (*curve)[i]);
    }
    out += ']';
}

void append_curves(std::string& out, const Round& round) {
    out += R"(,"samples":[)";
    bool is_first = true;
    for (const Sample& sample : round.samples) {
        fmt::format_to(std::back_inserter(out), "{}[{:.3f},{:g},{:.0f},{:.0f},{:.0f}]",
                       is_first ? "" : ",", sample.seconds, sample.connections, sample.orders,
                       sample.attempts, sample.yes);
        is_first = false;
    }
    out += ']';
    append_curve(out, "yes_latency", round.load.accepted_curve);
    append_curve(out, "no_latency", round.load.rejected_curve);
}

const StrategyRow* row_of(const Stage& stage) {
    for (const StrategyRow& row : strategies()) {
        if (row.name == stage.strategy) return &row;
    }
    return nullptr;
}

double limit_of(const LoadShape& shape, const Stage& stage) {
    const StrategyRow* row = row_of(stage);
    return row == nullptr ? 0 : limit_of(shape, *row);
}

std::string json_of(const std::vector<std::string>& texts) {
    std::string out = "[";
    for (const std::string& text : texts) {
        if (out.size() > 1) out += ',';
        out += doorbuster::quoted(text);
    }
    return out + ']';
}

// Of all rounds, each with its round's number.
std::vector<std::string> all_of(const Stage& stage, std::vector<std::string> Round::*texts) {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < stage.rounds.size(); ++i) {
        for (const std::string& text : stage.rounds[i].*texts) {
            all.push_back(fmt::format("round {}: {}", i + 1, text));
        }
    }
    return all;
}

std::string json_of(const LoadShape& shape, const Stage& stage, const std::set<std::size_t>& codes,
                    Curves curves) {
    const StrategyRow* row = row_of(stage);
    std::string out =
        fmt::format(R"({{"strategy":{},"danger":{},"limit_per_second":{:g})",
                    doorbuster::quoted(stage.strategy),
                    doorbuster::quoted(row == nullptr ? std::string_view() : row->danger),
                    limit_of(shape, stage));
    if (!stage.left_out.empty()) {
        return out + fmt::format(R"(,"left_out":{}}})", doorbuster::quoted(stage.left_out));
    }
    fmt::format_to(std::back_inserter(out), R"(,"rounds":{})", stage.rounds.size());
    if (stage.rounds.empty()) return out + '}'; // it ended before this one's turn
    for (const Row& row : kRows) {
        fmt::format_to(std::back_inserter(out), R"(,"{}":{})", row.name,
                       json_of(spread_of(stage, row.figure)));
    }
    out += R"(,"no":{)";
    bool is_first = true;
    for (const std::size_t code : codes) {
        const auto figure = [code](const Round& round) { return no_of(round, code); };
        fmt::format_to(std::back_inserter(out), R"({}"{}":{})", is_first ? "" : ",", name_of(code),
                       json_of(spread_of(stage, figure)));
        is_first = false;
    }
    fmt::format_to(std::back_inserter(out), R"(}},"errors":{})",
                   json_of(spread_of(stage, errors_of)));
    const Round& middle = middle_round(stage);
    fmt::format_to(std::back_inserter(out), R"(,"violations":{},"notes":{})",
                   json_of(all_of(stage, &Round::violations)),
                   json_of(all_of(stage, &Round::notes)));
    if (curves == Curves::included) append_curves(out, middle);
    return out + '}';
}

// Calls take(cells) with each row of a load's table: its title, and a cell a stage.
template <class Take> void for_each_row(const LoadResult& load, const Take& take) {
    const auto add = [&](std::string title, const Figure& figure, int decimals, Judge judge) {
        std::vector<std::string> cells{std::move(title)};
        for (const Stage& stage : load.stages) {
            cells.push_back(stage.rounds.empty() ? "-"
                                                 : cell(spread_of(stage, figure), decimals, judge));
        }
        take(std::move(cells));
    };
    for (const Row& row : kRows) {
        add(std::string(row.title), row.figure, row.decimals, row.judge);
        if (row.name != "yes") continue;
        for (const std::size_t code : codes_of(load)) {
            add(
                fmt::format("no: {}", name_of(code)),
                [code](const Round& round) { return no_of(round, code); }, 0, Judge::median);
        }
        add("errors", errors_of, 0, Judge::worst);
    }
}

Table table_of(const LoadResult& load) {
    std::vector<Table::Column> columns{{"", Table::Align::left}};
    for (const Stage& stage : load.stages) columns.push_back({stage.strategy, Table::Align::right});
    Table table(std::move(columns));
    for_each_row(load, [&table](std::vector<std::string> cells) { table.add(std::move(cells)); });
    return table;
}

std::string incomplete_of(const Report& report) {
    if (report.incomplete.empty()) return {};
    return fmt::format("INCOMPLETE, it ended early: {}\n", report.incomplete);
}

std::string how_to_read(const Report& report) {
    return fmt::format("medians of {} rounds, with the least and the greatest where they differ; "
                       "of errors, oversold, \"yes but no order\" and \"order but no yes\" the "
                       "worst round",
                       report.rounds);
}

// Who comes how, and who is let in: without it no figure says anything.
std::string conditions_of(const LoadResult& load) {
    const LoadShape& shape = load.shape;
    const auto whole = [](std::uint64_t n) { return grouped(static_cast<std::int64_t>(n)); };
    std::string out = fmt::format(
        "{} buyers, {} attempt{} each, {} connections; {}\n", whole(shape.buyers),
        whole(shape.attempts_per_buyer), shape.attempts_per_buyer == 1 ? "" : "s",
        whole(shape.connections),
        shape.rate ? fmt::format("{:g} attempts/s are due by the clock (open loop)", *shape.rate)
                   : "a connection's next attempt follows the last answer (closed loop)");
    std::string limited;
    for (const Stage& stage : load.stages) {
        if (limit_of(shape, stage) == 0) continue;
        limited += (limited.empty() ? "" : ", ") + stage.strategy;
    }
    if (limited.empty()) return out + "rate limit: none\n";
    return out + fmt::format("rate limit: {:g} attempts/s in {}; none in the other stages\n",
                             shape.limit_per_second, limited);
}

std::string notes_of(const LoadResult& load, std::string_view mark) {
    std::string out;
    for (const Stage& stage : load.stages) {
        if (!stage.left_out.empty()) {
            out += fmt::format("{}{} was left out: it {}\n", mark, stage.strategy, stage.left_out);
        }
        for (const auto texts : {&Round::notes, &Round::violations}) {
            for (const std::string& text : all_of(stage, texts)) {
                out += fmt::format("{}{}, {}\n", mark, stage.strategy, text);
            }
        }
    }
    return out;
}

} // namespace

std::string to_json(const Report& report, Curves curves) {
    const std::string incomplete =
        report.incomplete.empty() ? "null" : doorbuster::quoted(report.incomplete);
    std::string out = fmt::format(
        R"({{{},"store":{},"redis":{},"kafka":{},"rounds":{},)"
        R"("incomplete":{},"failures":{},"loads":[)",
        head_json(report.head), doorbuster::quoted(report.store), doorbuster::quoted(report.redis),
        doorbuster::quoted(report.kafka), report.rounds, incomplete, json_of(failures_of(report)));
    for (std::size_t i = 0; i < report.loads.size(); ++i) {
        const LoadResult& load = report.loads[i];
        const LoadShape& shape = load.shape;
        fmt::format_to(
            std::back_inserter(out),
            R"({}{{"load":{},"title":{},"stock":{},"buyers":{},"attempts_per_buyer":{},)"
            R"("connections":{},"rate":{},"limit_per_second":{:g},"stages":[)",
            i == 0 ? "" : ",", doorbuster::quoted(shape.name), doorbuster::quoted(shape.title),
            shape.stock, shape.buyers, shape.attempts_per_buyer, shape.connections,
            shape.rate ? fmt::format("{:g}", *shape.rate) : "null", shape.limit_per_second);
        const auto codes = codes_of(load);
        for (std::size_t k = 0; k < load.stages.size(); ++k) {
            out += (k == 0 ? "" : ",") + json_of(shape, load.stages[k], codes, curves);
        }
        out += "]}";
    }
    return out + "]}";
}

std::string to_csv(const Report& report) {
    std::set<std::size_t> codes;
    for (const LoadResult& load : report.loads) codes.merge(codes_of(load));
    std::string out = "load,strategy,rounds,rate,limit_per_second,violations";
    const auto add_names = [&out](std::string_view name) {
        fmt::format_to(std::back_inserter(out), ",{0},{0}_min,{0}_max", name);
    };
    for (const Row& row : kRows) add_names(row.name);
    for (const std::size_t code : codes) add_names(fmt::format("no_{}", name_of(code)));
    add_names("errors");
    out += "\r\n";
    for (const LoadResult& load : report.loads) {
        for (const Stage& stage : load.stages) {
            if (stage.rounds.empty()) continue;
            fmt::format_to(std::back_inserter(out), "{},{},{},{:g},{:g},{}", load.shape.name,
                           stage.strategy, stage.rounds.size(), load.shape.rate.value_or(0),
                           limit_of(load.shape, stage), all_of(stage, &Round::violations).size());
            const auto add = [&](const Figure& figure) {
                const Spread spread = spread_of(stage, figure);
                fmt::format_to(std::back_inserter(out), ",{},{},{}", plain(spread.median),
                               plain(spread.least), plain(spread.most));
            };
            for (const Row& row : kRows) add(row.figure);
            for (const std::size_t code : codes) {
                add([code](const Round& round) { return no_of(round, code); });
            }
            add(errors_of);
            out += "\r\n";
        }
    }
    return out;
}

std::string to_text(const Report& report) {
    std::string out =
        incomplete_of(report) + fmt::format("store {}, Redis {}, Kafka {}; {}\n", report.store,
                                            report.redis, report.kafka, how_to_read(report));
    for (const LoadResult& load : report.loads) {
        out += '\n' + load.shape.title + '\n' + conditions_of(load) +
               table_of(load).text(Colour::off) + notes_of(load, "");
    }
    return out;
}

std::string to_markdown(const Report& report) {
    std::string out = "# doorbuster bench stages\n\n" + head_markdown(report.head) +
                      fmt::format("- store {}, Redis {}, Kafka {}\n- {}\n", report.store,
                                  report.redis, report.kafka, how_to_read(report));
    if (!report.incomplete.empty()) out += "- " + incomplete_of(report);
    for (const LoadResult& load : report.loads) {
        fmt::format_to(std::back_inserter(out), "\n## {}\n\n{}\n|  |", load.shape.title,
                       conditions_of(load));
        for (const Stage& stage : load.stages) out += ' ' + stage.strategy + " |";
        out += "\n|---|";
        for (std::size_t i = 0; i < load.stages.size(); ++i) out += "--:|";
        out += '\n';
        for_each_row(load, [&out](const std::vector<std::string>& cells) {
            out += '|';
            for (const std::string& cell : cells) out += ' ' + cell + " |";
            out += '\n';
        });
        if (const std::string notes = notes_of(load, "- "); !notes.empty()) out += '\n' + notes;
    }
    return out;
}

Result<std::string> to_html(const Report& report) {
    const std::string_view page = report_page();
    if (page.empty()) {
        return fail(Errc::invalid,
                    "the HTML report was not built into this binary: there was no Node at build "
                    "time (web/report/README.md)");
    }
    constexpr std::string_view kPlace = "\"report-data-goes-here\"";
    const std::size_t at = page.find(kPlace);
    if (at == std::string_view::npos) return fail(Errc::corrupt, "the report's page has no place");
    std::string json = to_json(report, Curves::included);
    // Inside a script element: what would end it is escaped (as JSON allows).
    for (std::size_t i = 0; (i = json.find('<', i)) != std::string::npos;) {
        json.replace(i, 1, "\\u003c");
    }
    return std::string(page.substr(0, at)) + json + std::string(page.substr(at + kPlace.size()));
}

} // namespace doorbuster::stages
