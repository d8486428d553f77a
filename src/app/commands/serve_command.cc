#include "app/commands/serve_command.h"

#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <ostream>
#include <spdlog/spdlog.h>
#include <string_view>
#include <thread>

#include "app/assembly.h"
#include "app/logging.h"
#include "app/openapi.h"
#include "app/process.h"
#include "app/strategies.h"

namespace doorbuster {
namespace {

constexpr std::chrono::seconds kWordEvery{5}; // while it waits for its backends

std::string cannot_start(const Error& error) {
    std::string out = "cannot start: " + error.message();
    // The port is taken, or not ours to take.
    if (error.is(Errc::unavailable) && error.context.find("listen") != std::string::npos) {
        out += "; --listen HOST:PORT takes another one (./run: --port N)";
    }
    return out;
}

// What the process exits with, if it cannot be opened or was stopped before.
std::optional<int> open_or_say_why(const Config& config, const StopSignals& signals,
                                   const std::function<Result<void>()>& open) {
    std::optional<Error> failure;
    if (is_clustered(config)) {
        const auto opened = open_when_possible(signals, open);
        if (opened && *opened == Opened::stopped_before) return kExitDone;
        if (!opened) failure = opened.error();
    } else if (const auto opened = open(); !opened) {
        failure = opened.error();
    }
    if (!failure) return std::nullopt;
    spdlog::critical("{}", cannot_start(*failure));
    return failure->is(Errc::invalid) ? kExitUsage : kExitFailed;
}

// For the program that started this one. False: it does not get it.
bool announce(std::ostream& out, const std::string& url, const std::string& data) {
    const boost::json::object ready{{"url", url}, {"data", data}, {"version", version()}};
    out << boost::json::serialize(ready) << std::endl;
    return out.good();
}

// Loud where it matters: on the log, at every start.
void warn_of_strategy(const Config& config) {
    const StrategyRow& row = strategy_of(config.purchase);
    if (!row.danger.empty()) {
        spdlog::warn("purchase.strategy = \"{}\" {}. It is here to be measured (doorbuster bench "
                     "stages, docs/stages.md); sell with \"reserve\"",
                     row.name, row.danger);
    }
    const LimitsConfig& limits = config.limits;
    const bool has_limits =
        limits.per_second > 0 || limits.per_user_per_second > 0 || limits.per_ip_per_second > 0;
    if (has_limits && !row.is_rate_limited) {
        spdlog::warn("purchase.strategy = \"{}\" has no rate limits: [limits] is left aside",
                     row.name);
    }
    if (!has_limits && config.purchase.strategy == PurchaseConfig::Strategy::limited) {
        spdlog::warn("purchase.strategy = \"limited\" and no limit is set: without "
                     "limits.per_second it is \"optimistic\"");
    }
}

// `ready_out`: where to say that it is ready, as JSON; null: nowhere but in the log.
int serve(const Config& config, std::ostream* ready_out) {
    const StopSignals signals; // before any thread is made, the logger's too
    set_up_logging(config.output);
    warn_of_strategy(config);
    std::unique_ptr<Assembly> assembly;
    const auto open = [&]() -> Result<void> {
        auto opened = Assembly::open(config, stop_at_once);
        if (!opened) return tl::make_unexpected(std::move(opened.error()));
        assembly = std::move(*opened);
        return {};
    };
    if (const auto code = open_or_say_why(config, signals, open)) return *code;
    assembly->start();
    spdlog::info("listening on {}, data in {}", assembly->url(), config.server.data);
    const auto started = std::chrono::steady_clock::now();
    auto next_word = started + kWordEvery;
    for (bool is_ready = false; !is_ready;) {
        auto ready = assembly->wait_until_ready(std::chrono::milliseconds(20));
        if (ready) {
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
            spdlog::info("ready: {} sales after {:.2f} s", *ready, took.count());
            is_ready = true;
        } else if (!ready.error().is(Errc::timeout) || !ready.error().context.empty()) {
            spdlog::critical("cannot rebuild the inventory: {}", ready.error().message());
            exit_with_last_words(kExitFailed);
        } else if (signals.wait(std::chrono::milliseconds(0))) {
            std::_Exit(kExitDone); // nothing was sold yet, nothing is in flight
        } else if (std::chrono::steady_clock::now() >= next_word) {
            next_word += kWordEvery;
            spdlog::info("not ready: {}", assembly->waiting_for());
        }
    }
    if (ready_out != nullptr && !announce(*ready_out, assembly->url(), config.server.data)) {
        assembly->stop();
        return kExitFailed; // run_command_line says why
    }
    signals.wait();
    spdlog::info("stopping: answering what is in flight");
    begin_to_stop(signals);
    const bool is_clean = assembly->stop();
    spdlog::info("stopped");
    if (!is_clean) exit_with_last_words(kExitDone); // cut-off requests still refer to the engine
    assembly.reset();
    finish_logging();
    return kExitDone;
}

} // namespace

void add_serve_command(CLI::App& app, CommandContext& context) {
    struct Flags {
        std::string config_file, listen, data;
        bool as_json = false;
    };
    auto flags = std::make_shared<Flags>();
    CLI::App* command = app.add_subcommand(
        "serve", "Everything in one process; embedded by default, no other server needed");
    command->footer("Example: doorbuster serve --listen 127.0.0.1:8080 --data ./data");
    command->add_option("--config", flags->config_file, "Settings (docs/settings.md)")
        ->type_name("FILE");
    command->add_option("--listen", flags->listen, "Where to answer; server.listen")
        ->type_name("HOST:PORT");
    command->add_option("--data", flags->data, "Folder for the order log and store; server.data")
        ->type_name("DIR");
    command->add_flag("--json", flags->as_json,
                      "Once it is ready, print one JSON document: url, data, version");
    command->callback([flags, &context] {
        ConfigSources sources;
        if (!flags->config_file.empty()) sources.file = flags->config_file;
        sources.environment = context.environment;
        if (!flags->listen.empty()) {
            sources.overrides.push_back({"server.listen", flags->listen, "--listen"});
        }
        if (!flags->data.empty()) {
            sources.overrides.push_back({"server.data", flags->data, "--data"});
        }
        const auto config = load_config(sources);
        if (!config) return context.failed(config.error());
        context.exit_code = serve(*config, flags->as_json ? &context.out : nullptr);
    });
}

} // namespace doorbuster
