#include "app/load/stop_signal.h"

#include <unistd.h>

#include <cstdint>
#include <ctime>
#include <string_view>

namespace doorbuster {
namespace {

// A signal handler reaches nothing but what is static.
std::atomic<bool> is_stopped = false;
std::atomic<std::int64_t> stopped_ns = 0; // 0: not yet
static_assert(std::atomic<bool>::is_always_lock_free);
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

// `timeout` and others signal the process and then its group: one wish, told twice.
constexpr std::int64_t kSameWishNs = 200'000'000;

constexpr int kExitSecondSignal = 1; // the contract's: it failed
constexpr std::string_view kExiting = "doorbuster: second signal: exiting at once\n";

extern "C" void stop_or_exit(int /*signal*/) {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    const std::int64_t now_ns = time.tv_sec * 1'000'000'000 + time.tv_nsec;
    std::int64_t first_ns = 0;
    const bool is_first = stopped_ns.compare_exchange_strong(first_ns, now_ns);
    is_stopped.store(true);
    if (is_first || now_ns - first_ns < kSameWishNs) return;
    [[maybe_unused]] const ssize_t written =
        ::write(STDERR_FILENO, kExiting.data(), kExiting.size());
    ::_exit(kExitSecondSignal);
}

} // namespace

StopSignal::StopSignal() {
    is_stopped.store(false);
    stopped_ns.store(0);
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
