#include "app/load/stop_signal.h"

#include <unistd.h>

#include <string_view>

namespace doorbuster {
namespace {

// A signal handler reaches nothing but what is static.
std::atomic<bool> is_stopped = false;
static_assert(std::atomic<bool>::is_always_lock_free);

constexpr int kExitSecondSignal = 1; // the contract's: it failed
constexpr std::string_view kExiting = "doorbuster: second signal: exiting at once\n";

extern "C" void stop_or_exit(int /*signal*/) {
    if (!is_stopped.exchange(true)) return;
    [[maybe_unused]] const ssize_t written =
        ::write(STDERR_FILENO, kExiting.data(), kExiting.size());
    ::_exit(kExitSecondSignal);
}

} // namespace

StopSignal::StopSignal() {
    is_stopped.store(false);
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
