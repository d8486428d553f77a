#include "app/commands/bench_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <memory>
#include <ostream>

#include "adapters/sql/store_url.h"
#include "app/assembly.h"
#include "app/expiry_bench.h"
#include "app/load/peak.h"
#include "app/load/progress.h"
#include "app/load/stop_signal.h"
#include "app/logging.h"
#include "app/openapi.h"
#include "app/scratch_folder.h"
#include "app/stages/stages_command.h"
#include "app/writer_bench.h"

namespace doorbuster {
namespace {

constexpr double kSeconds = 4;
constexpr double kOpenSeconds = 15;

struct PeakFlags {
    PeakOptions options;
    double seconds = kSeconds;
    std::optional<double> open_seconds;
    std::string report;
    bool json = false;
};

Duration whole_ms(double seconds) { return Duration(static_cast<std::int64_t>(seconds * 1e3)); }

// Names each step on a line of its own, and says below how far it is.
class StepProgress {
public:
    explicit StepProgress(std::ostream& err) : err_(err) {}
    ~StepProgress() { end(); }
    StepProgress(const StepProgress&) = delete;
    StepProgress& operator=(const StepProgress&) = delete;

    [[nodiscard]] ProgressLine& line_of(std::string_view step) {
        if (!line_ || step != step_) {
            end();
            step_ = step;
            err_ << step_ << std::endl;
            line_.emplace();
        }
        return *line_;
    }
    void end() {
        if (line_) line_->end();
        line_.reset();
    }

private:
    std::ostream& err_;
    std::string step_;
    std::optional<ProgressLine> line_;
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
    flags.options.command = context.command_line();
    flags.options.closed_for = whole_ms(flags.seconds);
    const double open_seconds = kOpenSeconds * flags.seconds / kSeconds;
    flags.options.open_for = whole_ms(flags.open_seconds.value_or(open_seconds));
    const StopSignal stop;
    StepProgress steps(context.err);
    const PeakSink progress = [&](std::string_view step, const LoadProgress& done) {
        steps.line_of(step).show(done);
    };
    auto report = run_peak(flags.options, stop.flag(), progress);
    if (server) server->stop();
    return report;
}

void add_peak(CLI::App& bench, CommandContext& context) {
    auto flags = std::make_shared<PeakFlags>();
    CLI::App* command = bench.add_subcommand(
        "peak", "Durable orders a second at most, and how long buyers wait at half of that");
    command->footer("Without --url it starts a server of its own in a scratch folder. With --url "
                    "it makes a sale for each run on that server, bench-peak-TIME-NUMBER, and "
                    "closes it after the run.\n"
                    "Examples:\n"
                    "  doorbuster bench peak --report peak\n"
                    "  doorbuster bench peak --connections 64 --rounds 1 --seconds 1");
    command->add_option("--url", flags->options.url, "A running server")->type_name("URL");
    command
        ->add_option("--admin-token", flags->options.admin_token,
                     "To make the sales with, or file:PATH")
        ->envname("DOORBUSTER_ADMIN_TOKEN")
        ->type_name("TOKEN");
    command->add_option("--connections", flags->options.connections, "Numbers to try")
        ->delimiter(',')
        ->capture_default_str()
        ->check(CLI::Range(1, 20'000));
    command->add_option("--rounds", flags->options.rounds, "Rounds of each number")
        ->capture_default_str()
        ->check(CLI::Range(1, 100));
    command
        ->add_option("--seconds", flags->seconds,
                     "Length of a round of the closed loop; the open loop's changes with it")
        ->capture_default_str()
        ->check(CLI::Range(0.1, 3600.0));
    command
        ->add_option("--open-seconds", flags->open_seconds,
                     fmt::format("Length of the open loop ({:g}; with --seconds, {:g} times that)",
                                 kOpenSeconds, kOpenSeconds / kSeconds))
        ->check(CLI::Range(0.1, 36'000.0));
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
            context.out << to_table(*report) << std::flush;
        }
        for (const std::string& example : report->examples) context.err << example << std::endl;
        if (report->errors > 0) context.exit_code = kExitFailed;
        if (flags->report.empty()) return;
        if (auto written = write_report(*report, flags->report); !written) {
            context.failed(written.error());
        }
    });
}

// Reports are kept and shown around.
void hide_password(std::string& command, const std::string& store_url) {
    const auto url = sql::parse_store_url(store_url);
    if (!url) return; // the run ends with this error, and reports nothing
    const std::size_t at = command.find(store_url);
    if (at == std::string::npos) {
        command = "doorbuster bench writer --store " + url->name; // it was quoted
    } else {
        command.replace(at, store_url.size(), url->name);
    }
}

void add_writer(CLI::App& bench, CommandContext& context) {
    struct Flags {
        WriterBenchOptions options;
        std::string report;
        bool json = false;
    };
    auto flags = std::make_shared<Flags>();
    CLI::App* command =
        bench.add_subcommand("writer", "Orders a second from the order log into the order store");
    command->footer("Example: doorbuster bench writer --orders 500000 --report writer");
    command->add_option("--orders", flags->options.orders, "Orders a round")
        ->capture_default_str()
        ->check(CLI::Range(1, 100'000'000));
    command->add_option("--sales", flags->options.sales, "Sales that they are spread over")
        ->capture_default_str()
        ->check(CLI::Range(1, 100'000));
    command->add_option("--batch-max", flags->options.batch_max, "Orders a transaction")
        ->capture_default_str()
        ->check(CLI::Range(1, 1'000'000));
    CLI::Option* rounds =
        command->add_option("--rounds", flags->options.rounds, "Rounds; the median counts")
            ->capture_default_str()
            ->check(CLI::Range(1, 100));
    command
        ->add_option("--store", flags->options.store_url,
                     "A database without tables instead of SQLite, for one round: "
                     "postgresql://... or mysql://...")
        ->type_name("URL")
        ->excludes(rounds);
    command->add_option("--report", flags->report, "Also write PATH.md and PATH.json")
        ->type_name("PATH");
    command->add_flag("--json", flags->json, "One JSON document on standard output");
    command->callback([flags, &context] {
        auto folder = ScratchFolder::make();
        if (!folder) return context.failed(folder.error());
        flags->options.folder = folder->path();
        flags->options.version = version();
        flags->options.command = context.command_line();
        if (!flags->options.store_url.empty()) {
            flags->options.rounds = 1;
            hide_password(flags->options.command, flags->options.store_url);
        }
        StepProgress steps(context.err);
        const auto orders = static_cast<double>(flags->options.orders);
        auto report = run_writer_bench(flags->options, [&](const WriterBenchProgress& progress) {
            const auto done = static_cast<std::int64_t>(progress.orders);
            steps.line_of(progress.step)
                .show(static_cast<double>(done) / orders, progress.seconds,
                      fmt::format("{} orders, {:.1f} s", grouped(done), progress.seconds));
        });
        steps.end();
        if (!report) return context.failed(report.error());
        context.out << (flags->json ? to_json(*report) + '\n' : to_text(*report)) << std::flush;
        if (flags->report.empty()) return;
        const auto written = write_result(flags->report, to_markdown(*report), to_json(*report));
        if (!written) context.failed(written.error());
    });
}

void add_expiry(CLI::App& bench, CommandContext& context) {
    struct Flags {
        ExpiryBenchOptions options;
        std::string report;
        bool json = false;
    };
    auto flags = std::make_shared<Flags>();
    CLI::App* command = bench.add_subcommand(
        "expiry", "How soon units are for sale again when orders expire, and who waits meanwhile");
    command->footer("Example: doorbuster bench expiry --orders 1000000 --report expiry");
    command->add_option("--orders", flags->options.orders, "Orders that are due at the same time")
        ->capture_default_str()
        ->check(CLI::Range(1, 100'000'000));
    command->add_option("--singles", flags->options.singles, "Orders that are due one by one")
        ->capture_default_str()
        ->check(CLI::Range(1, 100'000));
    command
        ->add_option("--rate", flags->options.purchases_per_second,
                     "Purchases a second of another sale, all the while")
        ->capture_default_str()
        ->check(CLI::Range(1, 100'000));
    command
        ->add_option("--seconds", flags->options.alone_seconds,
                     "How long only these go on, to compare with")
        ->capture_default_str()
        ->check(CLI::Range(0.1, 600.0));
    command->add_flag("--events", flags->options.with_events,
                      "Write the changes to the outbox, as with webhooks");
    command->add_option("--report", flags->report, "Also write PATH.md and PATH.json")
        ->type_name("PATH");
    command->add_flag("--json", flags->json, "One JSON document on standard output");
    command->callback([flags, &context] {
        auto folder = ScratchFolder::make();
        if (!folder) return context.failed(folder.error());
        flags->options.folder = folder->path();
        flags->options.version = version();
        flags->options.command = context.command_line();
        StepProgress steps(context.err);
        auto report = run_expiry_bench(flags->options, [&](const ExpiryBenchProgress& progress) {
            steps.line_of(progress.step)
                .show(static_cast<double>(progress.done) / static_cast<double>(progress.of),
                      progress.seconds,
                      fmt::format("{} orders, {:.1f} s",
                                  grouped(static_cast<std::int64_t>(progress.done)),
                                  progress.seconds));
        });
        steps.end();
        if (!report) return context.failed(report.error());
        context.out << (flags->json ? to_json(*report) + '\n' : to_text(*report)) << std::flush;
        if (flags->report.empty()) return;
        const auto written = write_result(flags->report, to_markdown(*report), to_json(*report));
        if (!written) context.failed(written.error());
    });
}

} // namespace

void add_bench_command(CLI::App& app, CommandContext& context) {
    CLI::App* bench = app.add_subcommand("bench", "Measures what doorbuster does on this machine");
    bench->require_subcommand(1);
    add_peak(*bench, context);
    add_writer(*bench, context);
    add_expiry(*bench, context);
    add_stages_command(*bench, context);
}

} // namespace doorbuster
