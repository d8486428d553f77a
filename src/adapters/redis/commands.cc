#include "adapters/redis/commands.h"

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>

namespace doorbuster::redis {

Task<void> ClientCommands::pause(Duration duration) {
    using Steady = std::chrono::steady_clock;
    using Timer =
        boost::asio::basic_waitable_timer<Steady, boost::asio::wait_traits<Steady>, Executor>;
    const Executor here = co_await boost::asio::this_coro::executor;
    Timer timer(here, duration);
    boost::system::error_code ignored;
    co_await timer.async_wait(boost::asio::redirect_error(use_task, ignored));
}

} // namespace doorbuster::redis
