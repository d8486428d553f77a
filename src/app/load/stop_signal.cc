#include "app/load/stop_signal.h"

#include <unistd.h>

namespace doorbuster {
namespace {

// A signal handler reaches nothing but what is static.
std::atomic<bool> is_stopped = false;
static_assert(std::atomic<bool>::is_always_lock_free);

constexpr int kExitBySignal = 128; // and the signal's number, as shells say it

extern "C" void stop_or_exit(int signal) {
    if (is_stopped.exchange(true)) _exit(kExitBySignal + signal);
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
}

StopSignal::~StopSignal() {
    sigaction(SIGINT, &old_int_, nullptr);
    sigaction(SIGTERM, &old_term_, nullptr);
}

const std::atomic<bool>& StopSignal::flag() const { return is_stopped; }

} // namespace doorbuster
