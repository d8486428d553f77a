// AsyncPlaces: so many Tasks at a time, on any cores; the others wait in line without blocking
// theirs, in order of arrival, each for a bounded time. A copy is the same places.
#pragma once

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "domain/time.h"
#include "runtime/resume.h"
#include "runtime/task.h"

namespace doorbuster {

class AsyncPlaces {
    struct Line;

public:
    // A place, given back when it goes away. It may outlive the AsyncPlaces that it is of.
    class Held {
    public:
        explicit Held(std::shared_ptr<Line> line) : line_(std::move(line)) {}
        Held(Held&& other) noexcept = default;
        Held& operator=(Held&&) = delete;
        ~Held() {
            if (line_) give_back(*line_);
        }

    private:
        std::shared_ptr<Line> line_;
    };

    explicit AsyncPlaces(std::size_t places) : line_(std::make_shared<Line>(places)) {}

    // Any core. nullopt: none became free within `wait_max`.
    Task<std::optional<Held>> take(Duration wait_max) {
        const std::shared_ptr<Line> line = line_;
        if (auto held = try_take(line)) co_return std::move(held);
        const Executor home = co_await boost::asio::this_coro::executor;
        auto keep = [&line, home, wait_max](Resume<bool> resume) {
            // Not kept here: what waits would own itself.
            wait(line, std::make_shared<Waiter>(home), wait_max, std::move(resume));
        };
        const bool is_served = co_await suspend<bool>(std::move(keep));
        if (!is_served) co_return std::nullopt;
        co_return std::optional<Held>(Held(line)); // handed over by give_back(), still taken
    }
    // Any thread. nullopt: none is free.
    [[nodiscard]] std::optional<Held> try_take() { return try_take(line_); }
    // Any thread.
    [[nodiscard]] std::size_t waiting() const {
        const std::lock_guard lock(line_->mutex);
        return line_->waiting;
    }

private:
    using Timer = boost::asio::basic_waitable_timer<
        std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, Executor>;
    struct Waiter { // owned by what its core is to run: a core that goes away takes it along
        explicit Waiter(const Executor& executor) : home(executor), timer(executor) {}
        Executor home;
        Timer timer;
        Resume<bool> resume;
        bool is_over = false; // guarded by the line's mutex: served, or its time is up
    };
    struct Line {
        explicit Line(std::size_t places) : free(places) {}
        mutable std::mutex mutex; // guards the rest
        std::size_t free;
        std::size_t waiting = 0; // of those in the deque
        std::deque<std::weak_ptr<Waiter>> waiters;
    };

    static std::optional<Held> try_take(const std::shared_ptr<Line>& line) {
        const std::lock_guard lock(line->mutex);
        if (line->free == 0) return std::nullopt;
        --line->free;
        return std::optional<Held>(Held(line));
    }
    static void wait(const std::shared_ptr<Line>& line, const std::shared_ptr<Waiter>& waiter,
                     Duration wait_max, Resume<bool> resume) {
        waiter->resume = std::move(resume);
        waiter->timer.expires_after(wait_max);
        waiter->timer.async_wait([line, waiter](const boost::system::error_code&) {
            {
                const std::lock_guard lock(line->mutex);
                if (std::exchange(waiter->is_over, true)) return;
                --line->waiting;
                static_cast<void>(first_of(*line));
            }
            Resume<bool> rest = std::move(waiter->resume);
            rest(false);
        });
        const std::lock_guard lock(line->mutex);
        if (line->free > 0) {
            --line->free;
            waiter->is_over = true;
            serve(waiter);
            return;
        }
        ++line->waiting;
        line->waiters.push_back(waiter);
    }
    // Who waits in front, once those who left are dropped; null: nobody. Whoever came first leaves
    // first, where all wait equally long.
    static std::shared_ptr<Waiter> first_of(Line& line) {
        while (!line.waiters.empty()) {
            auto first = line.waiters.front().lock();
            if (first && !first->is_over) return first;
            line.waiters.pop_front();
        }
        return nullptr;
    }
    static void serve(const std::shared_ptr<Waiter>& waiter) {
        boost::asio::post(waiter->home, [waiter] {
            waiter->timer.cancel();
            Resume<bool> rest = std::move(waiter->resume);
            rest(true);
        });
    }
    static void give_back(Line& line) {
        const std::lock_guard lock(line.mutex);
        const auto next = first_of(line);
        if (!next) {
            ++line.free;
            return;
        }
        line.waiters.pop_front();
        --line.waiting;
        next->is_over = true;
        serve(next);
    }

    std::shared_ptr<Line> line_;
};

} // namespace doorbuster
