#include "engine/store_watch.h"

#include <chrono>
#include <spdlog/spdlog.h>

namespace doorbuster {
namespace {

// While orders are on their way a look costs the store one read of a few rows; whoever pays an
// order that was accepted a moment ago waits for the next one.
constexpr std::chrono::milliseconds kLookOften{10};
constexpr std::chrono::milliseconds kLookSeldom{100};
constexpr std::chrono::milliseconds kLookWhenDown{500};

} // namespace

void StoreWatch::start() {
    thread_ = std::thread([this] {
        bool is_up = true;
        std::unique_lock lock(mutex_);
        auto pause = kLookOften;
        while (!stopping_.wait_for(lock, pause, [this] { return is_stopping_; })) {
            lock.unlock();
            const auto binding = store_.log_binding();
            if (binding.has_value() != is_up) {
                is_up = binding.has_value();
                if (is_up) spdlog::info("order store: answers again");
                else spdlog::warn("order store: {}", binding.error().message());
            }
            log_.set_store_up(is_up);
            if (binding) log_.stored(binding->next);
            pause = !is_up ? kLookWhenDown : log_.lag_records() > 0 ? kLookOften : kLookSeldom;
            lock.lock();
        }
    });
}

void StoreWatch::stop() {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    stopping_.notify_all();
    if (thread_.joinable()) thread_.join();
}

} // namespace doorbuster
