// For tests: Tasks run on a core from the test's own thread, and conditions that come true. Every
// wait ends after kPatience.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <chrono>
#include <future>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>

#include "runtime/core.h"

namespace doorbuster::fixture {

inline constexpr std::chrono::seconds kPatience{60}; // far more than anything here takes

// Carries a Task's value to another thread. A Task that is dropped breaks the promise.
template <class T> Task<void> deliver(Task<T> task, std::promise<T> promise) {
    if constexpr (std::is_void_v<T>) {
        co_await std::move(task);
        promise.set_value();
    } else {
        T value = co_await std::move(task);
        promise.set_value(std::move(value));
    }
}

// Starts `task` on `core`.
template <class T> std::future<T> start_on(Core& core, Task<T> task) {
    std::promise<T> promise;
    auto result = promise.get_future();
    boost::asio::co_spawn(core.executor(), deliver<T>(std::move(task), std::move(promise)),
                          boost::asio::detached);
    return result;
}

template <class T> T finish(std::future<T>& result) {
    if (result.wait_for(kPatience) != std::future_status::ready) {
        throw std::runtime_error("the task does not end");
    }
    return result.get();
}

// Runs `task` on `core` and waits for what it returns. Not on a core.
template <class T> T run_on(Core& core, Task<T> task) {
    auto result = start_on(core, std::move(task));
    return finish(result);
}

// Polls until the condition holds.
template <class F> bool eventually(F condition) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::yield();
    }
    return true;
}

// Cores that run.
struct RunningCores : Cores {
    explicit RunningCores(std::size_t count) : Cores(count) { start(); }
};

} // namespace doorbuster::fixture
