// Watches how far the order store has come where other processes write to it, and tells the log. A
// thread of its own.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/read_back_log.h"
#include "ports/order_store.h"

namespace doorbuster {

class StoreWatch {
public:
    StoreWatch(OrderStore& store, ReadBackLog& log) : store_(store), log_(log) {}
    ~StoreWatch() { stop(); }
    StoreWatch(const StoreWatch&) = delete;
    StoreWatch& operator=(const StoreWatch&) = delete;

    void start();
    void stop();

private:
    OrderStore& store_;
    ReadBackLog& log_;
    std::mutex mutex_; // guards the next
    std::condition_variable stopping_;
    bool is_stopping_ = false;
    std::thread thread_;
};

} // namespace doorbuster
