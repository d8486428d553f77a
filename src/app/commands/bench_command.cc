#include "app/commands/bench_command.h"

#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <ostream>

#include "app/assembly.h"
#include "app/load/peak.h"
#include "app/load/progress.h"
#include "app/load/stop_signal.h"
#include "app/logging.h"
#include "app/openapi.h"
#include "app/scratch_folder.h"
#include "app/writer_bench.h"

namespace doorbuster {
namespace {

struct PeakFlags {
    PeakOptions options;
    double seconds = 4;
    std::string report;
    bool json = false;
};

// A server of our own for the benchmark, on any free port, in a scratch folder.
Result<std::unique_ptr<Assembly>> own_server(const std::string& folder) {
    ConfigSources sources;
    sources.overrides = {{"server.listen", "127.0.0.1:0"}, {"server.data", folder}};
    const auto config = load_config(sources);
    if (!config) return tl::make_unexpected(config.error());
    OutputConfig quiet;
    quiet.log_level = OutputConfig::LogLevel::warn;
    set_up_logging(quiet);
    auto server = Assembly::open(*config, [](const Error& error) {
        std::fprintf(stderr, "doorbuster: %s\n", error.message().c_str());
        std::_Exit(kExitFailed);
    });
    if (!server) return server;
    (*server)->start();
    if (auto ready = (*server)->wait_until_ready(std::chrono::seconds(30)); !ready) {
        return tl::make_unexpected(ready.error());
    }
    return server;
}

Result<PeakReport> measure_peak(PeakFlags& flags, const CommandContext& context) {
    std::optional<ScratchFolder> folder;
    std::unique_ptr<Assembly> server;
    if (flags.options.url.empty()) {
        auto made = ScratchFolder::make();
        if (!made) return tl::make_unexpected(made.error());
        folder.emplace(std::move(*made));
        auto opened = own_server(folder->path());
        if (!opened) return tl::make_unexpected(opened.error());
        server = std::move(*opened);
        flags.options.url = server->url();
    }
    flags.options.version = version();
    flags.options.command = "doorbuster bench peak";
    flags.options.closed_for = Duration(static_cast<std::int64_t>(flags.seconds * 1e3));
    const StopSignal stop;
    std::string last;
    const PeakSink progress = [&](std::string_view step, const LoadProgress&) {
        if (last == step) return;
        last = step;
        context.err << step << std::endl;
    };
    auto report = run_peak(flags.options, stop.flag(), progress);
    if (server) server->stop();
    return report;
}

void add_peak(CLI::App& bench, CommandContext& context) {
    auto flags = std::make_shared<PeakFlags>();
    CLI::App* command = bench.add_subcommand(
        "peak", "Durable orders a second at most, and how long buyers wait at half of that");
    command->footer("Without --url it starts a server of its own in a scratch folder.\n"
                    "Example: doorbuster bench peak --report peak");
    command->add_option("--url", flags->options.url, "A running server")->type_name("URL");
    command->add_option("--admin-token", flags->options.admin_token, "To make the sales with")
        ->envname("DOORBUSTER_ADMIN_TOKEN")
        ->type_name("TOKEN");
    command->add_option("--connections", flags->options.connections, "Numbers to try")
        ->delimiter(',')
        ->capture_default_str()
        ->check(CLI::Range(1, 20'000));
    command->add_option("--rounds", flags->options.rounds, "Rounds of each number")
        ->capture_default_str()
        ->check(CLI::Range(1, 100));
    command->add_option("--seconds", flags->seconds, "Length of a round")
        ->capture_default_str()
        ->check(CLI::Range(0.1, 3600.0));
    command->add_option("--threads", flags->options.threads, "Threads that send")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    command->add_option("--report", flags->report, "Also write PATH.md and PATH.json")
        ->type_name("PATH");
    command->add_flag("--json", flags->json, "One JSON document on standard output");
    command->callback([flags, &context] {
        auto report = measure_peak(*flags, context);
        if (!report) return context.failed(report.error());
        if (flags->json) {
            context.out << to_json(*report) << std::endl;
        } else {
            print(*report);
        }
        for (const std::string& example : report->examples) context.err << example << std::endl;
        if (report->errors > 0) context.exit_code = kExitFailed;
        if (flags->report.empty()) return;
        if (auto written = write_report(*report, flags->report); !written) {
            context.failed(written.error());
        }
    });
}

void print_writer(const WriterBenchReport& report, std::ostream& out, bool as_json) {
    if (as_json) {
        boost::json::object body;
        body["orders"] = report.options.orders;
        body["sales"] = report.options.sales;
        body["batch_max"] = report.options.batch_max;
        body["appended_per_second"] = report.appended_per_second();
        body["stored_per_second"] = report.stored_per_second();
        boost::json::array rounds;
        for (const auto& round : report.rounds) {
            rounds.push_back(
                {{"append_seconds", round.append_seconds}, {"store_seconds", round.store_seconds}});
        }
        body["rounds"] = std::move(rounds);
        out << boost::json::serialize(body) << std::endl;
        return;
    }
    out << report.options.orders << " orders, " << report.options.sales << " sales, batches of "
        << report.options.batch_max << ", median of " << report.rounds.size() << " rounds\n"
        << "appended to the log   " << static_cast<std::int64_t>(report.appended_per_second())
        << " orders/s\n"
        << "written to the store  " << static_cast<std::int64_t>(report.stored_per_second())
        << " orders/s" << std::endl;
}

void add_writer(CLI::App& bench, CommandContext& context) {
    struct Flags {
        WriterBenchOptions options;
        bool json = false;
    };
    auto flags = std::make_shared<Flags>();
    CLI::App* command =
        bench.add_subcommand("writer", "Orders a second from the order log into the order store");
    command->footer("Example: doorbuster bench writer --orders 500000");
    command->add_option("--orders", flags->options.orders, "Orders a round")
        ->capture_default_str()
        ->check(CLI::Range(1, 100'000'000));
    command->add_option("--sales", flags->options.sales, "Sales that they are spread over")
        ->capture_default_str()
        ->check(CLI::Range(1, 100'000));
    command->add_option("--batch-max", flags->options.batch_max, "Orders a transaction")
        ->capture_default_str()
        ->check(CLI::Range(1, 1'000'000));
    command->add_option("--rounds", flags->options.rounds, "Rounds; the median counts")
        ->capture_default_str()
        ->check(CLI::Range(1, 100));
    command->add_flag("--json", flags->json, "One JSON document on standard output");
    command->callback([flags, &context] {
        auto folder = ScratchFolder::make();
        if (!folder) return context.failed(folder.error());
        flags->options.folder = folder->path();
        auto report = run_writer_bench(flags->options);
        if (!report) return context.failed(report.error());
        print_writer(*report, context.out, flags->json);
    });
}

} // namespace

void add_bench_command(CLI::App& app, CommandContext& context) {
    CLI::App* bench = app.add_subcommand("bench", "Measures what doorbuster does on this machine");
    bench->require_subcommand(1);
    add_peak(*bench, context);
    add_writer(*bench, context);
}

} // namespace doorbuster
