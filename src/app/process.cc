#include "app/process.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <spdlog/spdlog.h>
#include <string>
#include <thread>

#include "app/commands/command_context.h"
#include "app/logging.h"

namespace doorbuster {
namespace {

constexpr int kExitSecondSignal = 1;
// GNU `timeout` and others signal a process and then its group: nobody asks twice this fast.
constexpr std::chrono::milliseconds kSameSignal{200};
constexpr std::chrono::milliseconds kLastWordsMax{1'000};
// The contract's ten seconds, less what a process takes to end. What is durable by then is kept.
constexpr std::chrono::milliseconds kStopMax{9'500};
// Between two attempts to reach what a process needs to start.
constexpr std::chrono::milliseconds kOpenAgain{500};
constexpr int kTriesAWord = 10; // attempts for each line that says that it still waits

// Past the log's queue, for which nobody waits any more, and only if somebody reads.
void say_at_once(std::string_view line) {
    pollfd readers{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&readers, 1, 0) != 1) return;
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

// A port that is taken is no backend that is down.
bool may_come_up(const Error& error) {
    const bool is_listener = error.context.find("listen") != std::string::npos;
    return (error.is(Errc::unavailable) || error.is(Errc::timeout)) && !is_listener;
}

} // namespace

StopSignals::StopSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    signal(SIGPIPE, SIG_IGN); // a client that went away is an error of its socket
}

bool StopSignals::wait(std::chrono::milliseconds at_most) const {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(at_most);
    const timespec time{seconds.count(), (at_most - seconds).count() * 1'000'000};
    return sigtimedwait(&set_, nullptr, &time) > 0;
}

void StopSignals::wait() const {
    int which = 0;
    sigwait(&set_, &which);
}

void exit_after(std::chrono::milliseconds time, int status) {
    std::thread([time, status] {
        std::this_thread::sleep_for(time);
        std::_Exit(status);
    }).detach();
}

void exit_with_last_words(int status) {
    exit_after(kLastWordsMax, status);
    finish_logging();
    std::_Exit(status);
}

void stop_at_once(const Error& error) {
    spdlog::critical("stopping: {}. No answer was given for what was not durable; start again to "
                     "recover",
                     error.message());
    exit_with_last_words(kExitFailed);
}

void begin_to_stop(const StopSignals& signals) {
    const auto repeats_end = std::chrono::steady_clock::now() + kSameSignal;
    std::thread([signals, repeats_end] {
        do {
            signals.wait();
        } while (std::chrono::steady_clock::now() < repeats_end);
        say_at_once("doorbuster: second signal: exiting at once, with requests in flight\n");
        std::_Exit(kExitSecondSignal);
    }).detach();
    exit_after(kStopMax, kExitDone);
}

Result<Opened> open_when_possible(const StopSignals& signals,
                                  const std::function<Result<void>()>& open) {
    for (int tries = 0;; ++tries) {
        const auto opened = open();
        if (opened) return Opened::yes;
        if (!may_come_up(opened.error())) return tl::make_unexpected(opened.error());
        if (tries % kTriesAWord == 0) {
            spdlog::warn("waiting: {}; trying again", opened.error().message());
        }
        if (signals.wait(kOpenAgain)) return Opened::stopped_before;
    }
}

} // namespace doorbuster
