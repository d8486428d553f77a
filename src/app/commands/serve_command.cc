#include "app/commands/serve_command.h"

#include <pthread.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <spdlog/spdlog.h>
#include <thread>

#include "app/assembly.h"
#include "app/logging.h"

namespace doorbuster {
namespace {

constexpr int kExitSecondSignal = 1;

// SIGINT and SIGTERM, taken synchronously: they are blocked in every thread.
class StopSignals {
public:
    StopSignals() {
        sigemptyset(&set_);
        sigaddset(&set_, SIGINT);
        sigaddset(&set_, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &set_, nullptr);
        signal(SIGPIPE, SIG_IGN); // a client that went away is an error of its socket
    }
    // True when one came within the time.
    [[nodiscard]] bool wait(std::chrono::milliseconds at_most) const {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(at_most);
        const timespec time{seconds.count(), (at_most - seconds).count() * 1'000'000};
        return sigtimedwait(&set_, nullptr, &time) > 0;
    }
    void wait() const {
        int which = 0;
        sigwait(&set_, &which);
    }

private:
    sigset_t set_{};
};

// Going on would break a promise: stop now, say why. The next start recovers from the files.
[[noreturn]] void stop_at_once(const Error& error) {
    spdlog::critical("stopping: {}. No answer was given for what was not durable; start again to "
                     "recover",
                     error.message());
    std::_Exit(kExitFailed);
}

int serve(const Config& config) {
    const StopSignals signals;
    auto opened = Assembly::open(config, stop_at_once);
    if (!opened) {
        spdlog::critical("cannot start: {}", opened.error().message());
        return opened.error().is(Errc::invalid) ? kExitUsage : kExitFailed;
    }
    std::unique_ptr<Assembly> assembly = std::move(*opened);
    assembly->start();
    spdlog::info("listening on {}, data in {}", assembly->url(), config.server.data);
    const auto started = std::chrono::steady_clock::now();
    for (bool is_ready = false; !is_ready;) {
        auto ready = assembly->wait_until_ready(std::chrono::milliseconds(20));
        if (ready) {
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
            spdlog::info("ready: {} sales rebuilt in {:.2f} s", *ready, took.count());
            is_ready = true;
        } else if (!ready.error().is(Errc::timeout) || !ready.error().context.empty()) {
            spdlog::critical("cannot rebuild the inventory: {}", ready.error().message());
            std::_Exit(kExitFailed);
        } else if (signals.wait(std::chrono::milliseconds(0))) {
            std::_Exit(kExitDone); // nothing was sold yet, nothing is in flight
        }
    }
    signals.wait();
    spdlog::info("stopping: answering what is in flight");
    std::thread([signals] {
        signals.wait();
        std::_Exit(kExitSecondSignal);
    }).detach();
    const bool is_clean = assembly->stop();
    spdlog::info("stopped");
    if (!is_clean) std::_Exit(kExitDone); // cut-off requests still refer to the engine
    return kExitDone;
}

} // namespace

void add_serve_command(CLI::App& app, CommandContext& context) {
    struct Flags {
        std::string config_file, listen, data;
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
        if (auto supported = check_supported(*config); !supported) {
            return context.failed(supported.error());
        }
        set_up_logging(config->output);
        context.exit_code = serve(*config);
    });
}

} // namespace doorbuster
