// Task: a coroutine that runs on one core's io_context. Awaited once, by its one owner.
//
// GCC 12: between `co_await` and its `;` write no brace and no lambda (design.md section 7);
// tools/check_style refuses them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>

namespace doorbuster {

using Executor = boost::asio::io_context::executor_type;
template <class T> using Task = boost::asio::awaitable<T, Executor>;

// The completion token for Asio operations awaited in a Task.
inline constexpr boost::asio::use_awaitable_t<Executor> use_task{};

// The completion token of a co_spawn that nobody waits for: what the Task throws ends the process,
// rather than the Task alone and in silence.
inline constexpr auto rethrow = [](std::exception_ptr exception) {
    if (exception) std::rethrow_exception(exception);
};

} // namespace doorbuster
