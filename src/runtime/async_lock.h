// AsyncLock: one Task at a time, the others wait in line without blocking their core. Belongs to
// one core: taken and given back there.
#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <deque>
#include <utility>

#include "runtime/resume.h"
#include "runtime/task.h"

namespace doorbuster {

class AsyncLock {
public:
    // Given back when it goes away.
    class Held {
    public:
        explicit Held(AsyncLock& lock) : lock_(&lock) {}
        Held(Held&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)) {}
        Held& operator=(Held&&) = delete;
        ~Held() {
            if (lock_ != nullptr) lock_->release();
        }

    private:
        AsyncLock* lock_;
    };

    Task<Held> take() {
        if (is_taken_) {
            const Executor home = co_await boost::asio::this_coro::executor;
            auto keep = [this, home](Resume<bool> resume) {
                line_.push_back({home, std::move(resume)});
            };
            co_await suspend<bool>(std::move(keep)); // handed over by release(), still taken
        }
        is_taken_ = true;
        co_return Held(*this);
    }
    [[nodiscard]] std::size_t waiting() const { return line_.size(); }

private:
    struct Waiter {
        Executor home;
        Resume<bool> resume;
    };
    void release() {
        if (line_.empty()) {
            is_taken_ = false;
            return;
        }
        Waiter next = std::move(line_.front());
        line_.pop_front();
        const Executor home = next.home;
        boost::asio::post(home, [resume = std::move(next.resume)]() mutable { resume(true); });
    }

    bool is_taken_ = false;
    std::deque<Waiter> line_;
};

} // namespace doorbuster
