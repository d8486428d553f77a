#include "app/expiry_trickle.h"

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <chrono>
#include <thread>

namespace doorbuster {
namespace {

using Steady = std::chrono::steady_clock;

constexpr std::chrono::seconds kDrainMax{20}; // longer than a purchase waits for the log

} // namespace

void ExpiryTrickle::start() {
    running_ = 1;
    boost::asio::co_spawn(parts_.core.executor(), run(), rethrow);
}

bool ExpiryTrickle::stop() {
    is_stopping_ = true;
    const auto until = Steady::now() + kDrainMax;
    while (running_.load(std::memory_order_acquire) > 0) {
        if (Steady::now() > until) return false;
        std::this_thread::yield();
    }
    return true;
}

Task<void> ExpiryTrickle::run() {
    using Timer =
        boost::asio::basic_waitable_timer<Steady, boost::asio::wait_traits<Steady>, Executor>;
    Timer timer(parts_.core.executor());
    std::int64_t due_ns = parts_.clock.steady_ns();
    for (std::uint64_t number = 0; !is_stopping_.load(std::memory_order_relaxed);) {
        for (; due_ns <= parts_.clock.steady_ns(); due_ns += gap_ns_) {
            running_.fetch_add(1, std::memory_order_relaxed);
            boost::asio::co_spawn(parts_.core.executor(), buy(number++, due_ns, during_.load()),
                                  rethrow);
        }
        timer.expires_at(Steady::time_point(std::chrono::nanoseconds(due_ns)));
        co_await timer.async_wait(use_task);
    }
    running_.fetch_sub(1, std::memory_order_release);
}

Task<void> ExpiryTrickle::buy(std::uint64_t number, std::int64_t due_ns, During during) {
    const std::string user = "passer-by-" + std::to_string(number);
    PurchaseRequest request;
    request.sale = parts_.sale.terms->no;
    request.user = user;
    request.user_print = parts_.prints.of(user);
    RateSubject subject;
    subject.user = request.user_print;
    const auto bought = co_await parts_.service.purchase(parts_.sale, request, subject);
    Phase& phase = phases_[static_cast<std::size_t>(during)];
    if (bought) {
        const std::int64_t took_ns = parts_.clock.steady_ns() - due_ns;
        phase.latency_ns.record(static_cast<std::uint64_t>(took_ns));
    } else {
        ++phase.refused;
    }
    running_.fetch_sub(1, std::memory_order_release);
}

} // namespace doorbuster
