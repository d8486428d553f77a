#include "runtime/sleep.h"

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <utility>

namespace doorbuster {

Task<void> sleep_for(const Clock& clock, Duration time) {
    if (Alarms* alarms = clock.alarms()) {
        auto keep = [alarms, time](Resume<bool> wake) { alarms->wake_in(time, std::move(wake)); };
        static_cast<void>(co_await suspend<bool>(std::move(keep)));
        co_await boost::asio::post(use_task); // wherever the alarm rang
        co_return;
    }
    using Steady = std::chrono::steady_clock;
    using Timer =
        boost::asio::basic_waitable_timer<Steady, boost::asio::wait_traits<Steady>, Executor>;
    Timer timer(co_await boost::asio::this_coro::executor);
    timer.expires_after(time);
    co_await timer.async_wait(use_task);
}

} // namespace doorbuster
