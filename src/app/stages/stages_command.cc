#include "app/stages/stages_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "app/commands/command_context.h"
#include "app/load/progress.h"
#include "app/load/stop_signal.h"
#include "app/openapi.h"
#include "app/stages/child.h"
#include "app/stages/report.h"
#include "app/stages/stages.h"

namespace doorbuster {
namespace {

using stages::LoadShape;

struct Flags {
    stages::Options options;
    std::string load = "both";
    std::optional<Units> stock;
    std::optional<std::uint64_t> buyers, attempts_per_buyer, connections;
    std::optional<double> rate, limit;
    double seconds = 30;
    std::string report, html, csv;
    bool json = false;

    [[nodiscard]] bool is_own_load() const {
        return stock.has_value() || buyers.has_value() || attempts_per_buyer.has_value();
    }
};

std::vector<LoadShape> loads_of(const Flags& flags) {
    std::vector<LoadShape> loads;
    if (flags.is_own_load()) {
        LoadShape own = stages::rush_load();
        own.name = "own";
        own.stock = flags.stock.value_or(own.stock);
        own.buyers = flags.buyers.value_or(own.buyers);
        own.attempts_per_buyer = flags.attempts_per_buyer.value_or(own.attempts_per_buyer);
        own.title = fmt::format("{} units, {} attempts", own.stock, own.attempts());
        loads.push_back(own);
    } else {
        if (flags.load != "rush") loads.push_back(stages::article_load());
        if (flags.load != "article") loads.push_back(stages::rush_load());
    }
    for (LoadShape& load : loads) {
        load.connections = flags.connections.value_or(load.connections);
        // The article's threads wait for their answers, unless that load alone is asked for.
        const bool keeps_its_pace = load.name == "article" && loads.size() > 1;
        if (flags.rate && !keeps_its_pace) {
            load.rate.reset();
            if (*flags.rate > 0) load.rate = flags.rate;
        }
        load.limit_per_second = flags.limit.value_or(load.limit_per_second);
        load.limits_all = flags.limit.has_value();
    }
    return loads;
}

Result<void> write_file(const std::string& path, const std::string& text) {
    errno = 0;
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << text << std::flush;
    if (out.good()) return {};
    return fail(Errc::io, "writing " + path + ": " + std::generic_category().message(errno));
}

// Reports are kept and shown around.
std::string without_passwords(std::string command, const stages::Engines& engines) {
    for (const std::string& url : {engines.store, engines.redis}) {
        const std::size_t at = url.empty() ? std::string::npos : command.find(url);
        const std::size_t scheme = url.find("://");
        const std::size_t host = url.rfind('@');
        if (at == std::string::npos || host == std::string::npos) continue;
        command.replace(at + scheme + 3, host + 1 - (scheme + 3), "");
    }
    return command;
}

Result<void> write_files(const Flags& flags, const stages::Report& report) {
    if (!flags.report.empty()) {
        auto written = write_result(flags.report, stages::to_markdown(report),
                                    stages::to_json(report, stages::Curves::left_out));
        if (!written) return written;
    }
    if (!flags.csv.empty()) {
        auto written = write_file(flags.csv, stages::to_csv(report));
        if (!written) return written;
    }
    if (flags.html.empty()) return {};
    const auto page = stages::to_html(report);
    if (!page) return tl::make_unexpected(page.error());
    return write_file(flags.html, *page);
}

// Opens what is to be written at the end, without changing what stands there.
Result<void> can_write_files(const Flags& flags) {
    std::vector<std::string> paths{flags.csv, flags.html};
    if (!flags.report.empty()) {
        const auto [markdown, json] = result_paths(flags.report);
        paths.push_back(markdown);
        paths.push_back(json);
    }
    for (const std::string& path : paths) {
        if (path.empty()) continue;
        const bool is_new = ::access(path.c_str(), F_OK) != 0;
        errno = 0;
        const bool is_good = std::ofstream(path, std::ios::binary | std::ios::app).good();
        if (!is_good) {
            return fail(Errc::io,
                        "writing " + path + ": " + std::generic_category().message(errno));
        }
        if (is_new) ::unlink(path.c_str());
    }
    return {};
}

void run_command(Flags& flags, CommandContext& context) {
    if (!flags.html.empty()) { // said before the hour that the rest may take
        if (auto page = stages::to_html({}); !page) {
            return context.failed(kExitFailed, "--html: " + page.error().context);
        }
    }
    if (auto able = can_write_files(flags); !able) return context.failed(able.error());
    auto program = stages::own_program();
    if (!program) return context.failed(program.error());
    flags.options.program = *program;
    flags.options.version = version();
    flags.options.command = without_passwords(context.command_line(), flags.options.engines);
    flags.options.loads = loads_of(flags);
    flags.options.run_max = Duration(static_cast<std::int64_t>(flags.seconds * 1e3));
    const StopSignal stop;
    std::optional<ProgressLine> line;
    std::string last_step;
    const stages::Sink progress = [&](std::string_view step, const LoadProgress& done) {
        if (step != last_step) {
            if (line) line->end();
            last_step = step;
            context.err << last_step << std::endl;
            line.emplace();
        }
        if (done.seconds > 0) line->show(done);
    };
    const auto report = stages::run(flags.options, stop.flag(), progress);
    if (line) line->end();
    if (!report) return context.failed(report.error());
    context.out << (flags.json ? stages::to_json(*report, stages::Curves::left_out) + '\n'
                               : stages::to_text(*report))
                << std::flush;
    if (auto written = write_files(flags, *report); !written) context.failed(written.error());
    if (!report->incomplete.empty()) context.failed(kExitFailed, report->incomplete);
    for (const std::string& what : stages::failures_of(*report)) context.failed(kExitFailed, what);
}

} // namespace

void add_stages_command(CLI::App& bench, CommandContext& context) {
    auto flags = std::make_shared<Flags>();
    CLI::App* command = bench.add_subcommand(
        "stages", "The published stages and ours under the same load, side by side");
    command->footer(
        "Each round has a server of its own, on engines that may be yours: there it makes a schema "
        "(PostgreSQL) or a database (MySQL), keys under a prefix, and a topic, all of them named "
        "doorbuster-stages-..., and takes them away again. Ctrl-C ends it in order, with the "
        "rounds that were over by then.\n"
        "Exit status: 1 also when a stage that promises to be right was not, or an answer could "
        "not be explained.\n"
        "docs/stages.md tells what the stages are and how to read the table.\n"
        "Examples:\n"
        "  doorbuster bench stages --load article\n"
        "  doorbuster bench stages --store postgresql://me@127.0.0.1/shop --redis "
        "redis://127.0.0.1 \\\n      --kafka 127.0.0.1:9092 --report stages --html stages.html\n"
        "  doorbuster bench stages --strategies optimistic,reserve --stock 1000 --buyers 20000");
    command->add_option("--load", flags->load, "Which load: article, rush or both")
        ->capture_default_str()
        ->check(CLI::IsMember({"article", "rush", "both"}));
    command->add_option("--stock", flags->stock, "Units of a load of your own, from the rush's")
        ->check(CLI::Range(Units{1}, kStockMax));
    command->add_option("--buyers", flags->buyers, "Its buyers")
        ->check(CLI::Range(std::uint64_t{1}, kLoadBuyersMax));
    command->add_option("--attempts-per-buyer", flags->attempts_per_buyer, "Of each of them")
        ->check(CLI::Range(std::uint64_t{1}, kLoadAttemptsPerBuyerMax));
    command->add_option("--connections", flags->connections, "Of every load (300; rush 256)")
        ->check(CLI::Range(std::uint64_t{1}, kLoadConnectionsMax));
    command
        ->add_option("--rate", flags->rate,
                     "Attempts a second of the rush or a load of your own, due by the clock (open "
                     "loop; 10000); 0: each connection as fast as its answers come, as in the "
                     "article's load")
        ->check(CLI::Range(0.0, 1e7));
    command
        ->add_option("--limit", flags->limit,
                     "limits.per_second of limited, cached and queued; 0: none (limited alone: "
                     "100, rush 200)")
        ->check(CLI::Range(0.0, 1e9));
    command
        ->add_option("--seconds", flags->seconds,
                     "A round's load ends after so long; what is not sent by then is not")
        ->capture_default_str()
        ->check(CLI::Range(0.1, 36'000.0));
    command
        ->add_option("--strategies", flags->options.strategies,
                     "naive,optimistic,limited,cached,queued,reserve (all)")
        ->delimiter(',');
    command->add_option("--rounds", flags->options.rounds, "Rounds; the median counts")
        ->capture_default_str()
        ->check(CLI::Range(1, 100));
    command->add_option("--threads", flags->options.threads, "Threads that send")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    command
        ->add_option("--store", flags->options.engines.store,
                     "postgresql://... or mysql://... (SQLite in a scratch folder)")
        ->type_name("URL");
    command->add_option("--redis", flags->options.engines.redis, "For cached, queued and reserve")
        ->type_name("URL");
    command
        ->add_option("--kafka", flags->options.engines.kafka,
                     "Brokers, for queued and reserve (a SQLite log)")
        ->type_name("HOST:PORT,...");
    command->add_option("--report", flags->report, "Also write PATH.md and PATH.json")
        ->type_name("PATH");
    command->add_option("--csv", flags->csv, "Also write a row a stage")->type_name("FILE");
    command->add_option("--html", flags->html, "Also write a page with charts")->type_name("FILE");
    command->add_flag("--json", flags->json, "One JSON document on standard output");
    command->callback([flags, &context] { run_command(*flags, context); });
}

} // namespace doorbuster
