// Resume: the rest of a suspended Task, kept until somebody has its value. Owned by one place at a
// time; called once, on the Task's own core; dropping it uncalled ends the Task.
#pragma once

#include <boost/asio/async_result.hpp>
#include <memory>
#include <utility>

#include "runtime/task.h"

namespace doorbuster {

template <class T> class Resume {
public:
    Resume() = default;
    template <class Handler>
    explicit Resume(Handler handler) : rest_(std::make_unique<Rest<Handler>>(std::move(handler))) {}

    // Continues the Task inside this call.
    void operator()(T value) {
        const auto rest = std::move(rest_);
        rest->run(std::move(value));
    }
    explicit operator bool() const { return rest_ != nullptr; }

private:
    struct Base {
        virtual ~Base() = default;
        virtual void run(T value) = 0;
    };
    template <class Handler> struct Rest final : Base {
        explicit Rest(Handler handler) : handler_(std::move(handler)) {}
        void run(T value) override {
            Handler handler = std::move(handler_);
            std::move(handler)(std::move(value));
        }
        Handler handler_;
    };
    std::unique_ptr<Base> rest_;
};

// Suspends the calling Task, hands `keep` its Resume, and continues with the value it is given.
template <class T, class Keep> Task<T> suspend(Keep keep) {
    auto initiate = [&keep](auto handler) { keep(Resume<T>(std::move(handler))); };
    co_return co_await boost::asio::async_initiate<decltype(use_task), void(T)>(initiate, use_task);
}

} // namespace doorbuster
