// Cores: one io_context and one thread each. State belongs to a core; `co_await call_on(core, f)`
// goes there. Nothing in here knows sales.
#pragma once

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/task.h"

namespace doorbuster {

// One core. Created and destroyed by Cores; everything else is called on the core's own thread
// unless it says otherwise.
class Core {
public:
    // One thread runs the context, and only that thread touches its sockets and timers: Asio need
    // not lock its reactor. Posting from other threads stays safe.
    explicit Core(std::size_t index)
        : index_(index), context_(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO) {}

    [[nodiscard]] std::size_t index() const { return index_; }
    // Any thread. Posting to it is how another thread reaches this core.
    [[nodiscard]] Executor executor() { return context_.get_executor(); }
    [[nodiscard]] boost::asio::io_context& context() { return context_; }
    // Any thread.
    [[nodiscard]] bool is_here() { return context_.get_executor().running_in_this_thread(); }

private:
    std::size_t index_;
    boost::asio::io_context context_;
};

// The cores of a process. The owner joins them before anything that they use goes away.
class Cores {
public:
    explicit Cores(std::size_t count);
    ~Cores();
    Cores(const Cores&) = delete;
    Cores& operator=(const Cores&) = delete;

    [[nodiscard]] std::size_t size() const { return cores_.size(); }
    [[nodiscard]] Core& at(std::size_t index) { return *cores_[index]; }
    // The core that owns number `n` of anything that is spread over the cores.
    [[nodiscard]] Core& owner_of(std::size_t n) { return *cores_[n % cores_.size()]; }

    // Starts the threads; they run until stop().
    void start();
    // Any thread but a core's. Ends the loops at once and joins the threads; idempotent.
    void stop();

private:
    std::vector<std::unique_ptr<Core>> cores_; // at fixed addresses
    std::vector<boost::asio::executor_work_guard<Executor>> work_;
    std::vector<std::thread> threads_;
};

// Runs `f` on `target`'s thread and comes back to the caller's core with what it returned. The
// caller's core is that of the Task; `f` must not block.
template <class F> Task<std::invoke_result_t<F&>> call_on(Core& target, F f) {
    using R = std::invoke_result_t<F&>;
    if (target.is_here()) co_return f();
    // Resuming a Task on another executor and back again: two posts, nothing allocated but them.
    co_await boost::asio::post(boost::asio::bind_executor(target.executor(), use_task));
    if constexpr (std::is_void_v<R>) {
        f();
        co_await boost::asio::post(use_task);
    } else {
        R result = f();
        co_await boost::asio::post(use_task);
        co_return result;
    }
}

} // namespace doorbuster
