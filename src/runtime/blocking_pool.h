// BlockingPool: threads for calls that block (SQL). A core awaits them and is never held up. A
// simulation has no threads: there, a Runner makes the calls.
#pragma once

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/result.h"
#include "domain/time.h"
#include "runtime/resume.h"
#include "runtime/task.h"

namespace doorbuster {

class BlockingPool {
public:
    class Runner {
    public:
        virtual ~Runner() = default;
        virtual void run(std::function<void()> call) = 0; // calls it later, or drops it
    };

    // At most `queue_max` calls wait or run at once; one more is refused.
    BlockingPool(std::size_t threads, std::size_t queue_max)
        : queue_max_(queue_max), pool_(std::in_place, threads) {}
    BlockingPool(Runner& runner, std::size_t queue_max)
        : queue_max_(queue_max), runner_(&runner) {} // outlives the pool
    ~BlockingPool() { stop(); }
    BlockingPool(const BlockingPool&) = delete;
    BlockingPool& operator=(const BlockingPool&) = delete;

    // Any core. Runs `f` (which returns a Result) on a thread of the pool and continues on the
    // calling core. Errc::unavailable when too many calls wait. `f` may refer to the caller's
    // frame, which outlives it.
    template <class F> Task<std::invoke_result_t<F&>> run(F f) {
        using R = std::invoke_result_t<F&>;
        if (queued_.fetch_add(1, std::memory_order_relaxed) >= queue_max_) {
            queued_.fetch_sub(1, std::memory_order_relaxed);
            co_return fail(Errc::unavailable, "too many calls wait for the store");
        }
        const Executor home = co_await boost::asio::this_coro::executor;
        auto keep = [this, &f, home](Resume<R> resume) {
            auto call = [this, &f, home, resume = std::move(resume)]() mutable {
                auto deliver = [resume = std::move(resume), result = f()]() mutable {
                    resume(std::move(result));
                };
                queued_.fetch_sub(1, std::memory_order_relaxed);
                boost::asio::post(home, std::move(deliver));
            };
            if (pool_) {
                boost::asio::post(*pool_, std::move(call));
            } else {
                runner_->run(
                    [call = std::make_shared<decltype(call)>(std::move(call))] { (*call)(); });
            }
        };
        co_return co_await suspend<R>(std::move(keep));
    }

    // Any core. As run(), but ends with Errc::unavailable, "`who` does not answer", after
    // `wait_max`. `f` then ends later, or is never begun: it owns what it refers to, or refers to
    // what outlives the pool's threads.
    template <class F>
    Task<std::invoke_result_t<F&>> run_within(Duration wait_max, std::string who, F f) {
        using R = std::invoke_result_t<F&>;
        if (!pool_) co_return co_await run(std::move(f)); // a simulation's calls all end
        if (queued_.fetch_add(1, std::memory_order_relaxed) >= queue_max_) {
            queued_.fetch_sub(1, std::memory_order_relaxed);
            co_return fail(Errc::unavailable, "too many calls wait for the store");
        }
        struct Call {
            Call(F work, const Executor& executor) : f(std::move(work)), timer(executor) {}
            F f;
            Timer timer;
            Resume<R> resume; // the core's; empty: it has its value
            std::atomic<bool> is_given_up{false};
        };
        const Executor home = co_await boost::asio::this_coro::executor;
        const auto call = std::make_shared<Call>(std::move(f), home);
        auto keep = [this, call, home, wait_max, who = std::move(who)](Resume<R> resume) {
            call->resume = std::move(resume);
            call->timer.expires_after(wait_max);
            call->timer.async_wait([call, who](const boost::system::error_code& error) {
                if (error || !call->resume) return;
                call->is_given_up.store(true, std::memory_order_relaxed);
                auto rest = std::move(call->resume);
                rest(fail(Errc::unavailable, who + " does not answer"));
            });
            boost::asio::post(*pool_, [this, call, home]() mutable {
                std::optional<R> result;
                if (!call->is_given_up.load(std::memory_order_relaxed)) result.emplace(call->f());
                queued_.fetch_sub(1, std::memory_order_relaxed);
                // Moved: the last that knows the call is the core, whose timer it holds.
                auto deliver = [call = std::move(call), result = std::move(result)]() mutable {
                    if (!result || !call->resume) return;
                    call->timer.cancel();
                    auto rest = std::move(call->resume);
                    rest(std::move(*result));
                };
                boost::asio::post(home, std::move(deliver));
            });
        };
        co_return co_await suspend<R>(std::move(keep));
    }

    // Any thread but a core's or the pool's: what runs is finished, what waits is dropped.
    void stop() {
        if (!pool_) return;
        pool_->stop();
        pool_->join();
    }

private:
    using Timer = boost::asio::basic_waitable_timer<
        std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, Executor>;

    std::size_t queue_max_;
    std::atomic<std::size_t> queued_{0};
    Runner* runner_ = nullptr;
    std::optional<boost::asio::thread_pool> pool_;
};

} // namespace doorbuster
