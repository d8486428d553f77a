// How far the order store has come behind the log: what a rebuild, a withdrawal and a payment wait
// for. Its own process's order writer knows it; where others write, whoever watches the store.
#pragma once

#include "domain/ids.h"
#include "domain/time.h"
#include "runtime/task.h"

namespace doorbuster {

class StoreProgress {
public:
    virtual ~StoreProgress() = default;

    // Any core; false: not within the time. The record that this process enqueued at `position` is
    // in the store, and everything that it enqueued to that partition before.
    virtual Task<bool> reached(LogPosition position, Duration wait_max) = 0;
    // Any core; the same for an order that OrderLog::find() has just found in the log.
    virtual Task<bool> stored(const OrderId& order, Duration wait_max) = 0;
    // Any core; the same for everything that is in the partition by now, as far as this process
    // has read it.
    virtual Task<bool> caught_up(LogPartition partition, Duration wait_max) = 0;
    // Any thread.
    [[nodiscard]] virtual bool is_store_up() const = 0;
};

} // namespace doorbuster
