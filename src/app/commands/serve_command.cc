#include "app/commands/serve_command.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

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

namespace doorbuster {
namespace {

constexpr int kExitSecondSignal = 1;
constexpr std::chrono::milliseconds kLastWordsMax{1'000};
// The contract's ten seconds, less what a process takes to end. What is durable by then is kept.
constexpr std::chrono::milliseconds kStopMax{9'500};

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

// Ends the process after a while, whatever the rest of it hangs on: a disk, a reader of our log.
void exit_after(std::chrono::milliseconds time, int status) {
    std::thread([time, status] {
        std::this_thread::sleep_for(time);
        std::_Exit(status);
    }).detach();
}

// Writes the last lines, as long as somebody reads them, and ends the process.
[[noreturn]] void exit_with_last_words(int status) {
    exit_after(kLastWordsMax, status);
    finish_logging();
    std::_Exit(status);
}

// Going on would break a promise: stop now, say why. The next start recovers from the files.
[[noreturn]] void stop_at_once(const Error& error) {
    spdlog::critical("stopping: {}. No answer was given for what was not durable; start again to "
                     "recover",
                     error.message());
    exit_with_last_words(kExitFailed);
}

// Past the log's queue, for which nobody waits any more, and only if somebody reads.
void say_at_once(std::string_view line) {
    pollfd readers{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&readers, 1, 0) != 1) return;
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

std::string cannot_start(const Error& error) {
    std::string out = "cannot start: " + error.message();
    // The port is taken, or not ours to take.
    if (error.is(Errc::unavailable) && error.context.find("listen") != std::string::npos) {
        out += "; --listen HOST:PORT takes another one (./run: --port N)";
    }
    return out;
}

// For the program that started this one. False: it does not get it.
bool announce(std::ostream& out, const std::string& url, const std::string& data) {
    const boost::json::object ready{{"url", url}, {"data", data}, {"version", version()}};
    out << boost::json::serialize(ready) << std::endl;
    return out.good();
}

// `ready_out`: where to say that it is ready, as JSON; null: nowhere but in the log.
int serve(const Config& config, std::ostream* ready_out) {
    const StopSignals signals; // before any thread is made, the logger's too
    set_up_logging(config.output);
    auto opened = Assembly::open(config, stop_at_once);
    if (!opened) {
        spdlog::critical("{}", cannot_start(opened.error()));
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
            exit_with_last_words(kExitFailed);
        } else if (signals.wait(std::chrono::milliseconds(0))) {
            std::_Exit(kExitDone); // nothing was sold yet, nothing is in flight
        }
    }
    if (ready_out != nullptr && !announce(*ready_out, assembly->url(), config.server.data)) {
        assembly->stop();
        return kExitFailed; // run_command_line says why
    }
    signals.wait();
    spdlog::info("stopping: answering what is in flight");
    std::thread([signals] {
        signals.wait();
        say_at_once("doorbuster: second signal: exiting at once, with requests in flight\n");
        std::_Exit(kExitSecondSignal);
    }).detach();
    exit_after(kStopMax, kExitDone);
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
        if (auto supported = check_supported(*config); !supported) {
            return context.failed(supported.error());
        }
        context.exit_code = serve(*config, flags->as_json ? &context.out : nullptr);
    });
}

} // namespace doorbuster
