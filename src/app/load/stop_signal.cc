#include "app/load/stop_signal.h"

#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>

namespace doorbuster {
namespace {

// A signal handler reaches nothing but what is static.
std::atomic<bool> is_stopped = false;
std::atomic<std::int64_t> first_at_ns = 0; // 0: none came
static_assert(std::atomic<bool>::is_always_lock_free);
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

// GNU `timeout` and others signal a process and then its group: nobody asks twice this fast.
constexpr std::int64_t kSameSignalNs = 200'000'000;
constexpr int kExitSecondSignal = 1; // the contract's: it failed
constexpr std::string_view kExiting = "doorbuster: second signal: exiting at once\n";

std::int64_t now_ns() { // the clock that a signal handler may read (signal-safety(7))
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

extern "C" void stop_or_exit(int /*signal*/) {
    const std::int64_t now = now_ns();
    std::int64_t first = 0;
    if (first_at_ns.compare_exchange_strong(first, now)) {
        is_stopped.store(true);
        return;
    }
    if (now - first < kSameSignalNs) return;
    [[maybe_unused]] const ssize_t written =
        ::write(STDERR_FILENO, kExiting.data(), kExiting.size());
    ::_exit(kExitSecondSignal);
}

} // namespace

StopSignal::StopSignal() {
    is_stopped.store(false);
    first_at_ns.store(0);
    struct sigaction action {};
    action.sa_handler = stop_or_exit;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, &old_int_);
    sigaction(SIGTERM, &action, &old_term_);
    sigaction(SIGHUP, nullptr, &old_hup_);
    if (old_hup_.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
}

StopSignal::~StopSignal() {
    sigaction(SIGINT, &old_int_, nullptr);
    sigaction(SIGTERM, &old_term_, nullptr);
    sigaction(SIGHUP, &old_hup_, nullptr);
}

const std::atomic<bool>& StopSignal::flag() const { return is_stopped; }

} // namespace doorbuster
