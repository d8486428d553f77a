// The calls that wait on one connection, oldest first: Redis answers in the order of the commands,
// so the next reply is the oldest call's. No I/O, no clock; one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <vector>

#include "adapters/redis/reply.h"
#include "base/result.h"
#include "runtime/resume.h"

namespace doorbuster::redis {

class Pipeline {
public:
    using Time = std::chrono::steady_clock::time_point;
    using Waiting = Resume<Result<Reply>>; // empty: nobody waits (any more)

    // A command behind the others. It waits until `deadline`; its reply is expected by `reply_due`
    // at the latest, else the connection is not to be trusted. An empty `waiting`: the reply is
    // read and dropped.
    void push(Waiting waiting, Time deadline, Time reply_due);
    // Everything pushed so far is on its way to the server.
    void mark_sent() { sent_ = calls_.size(); }

    // A reply has come: whose it is. Not when empty.
    [[nodiscard]] Waiting answer();
    // Those whose deadline has passed. Their replies are still to come, and go to nobody.
    [[nodiscard]] std::vector<Waiting> expire(Time now);
    // The oldest reply is overdue.
    [[nodiscard]] bool is_stalled(Time now) const;
    // When expire() or is_stalled() has something to say next; Time::max() when empty.
    [[nodiscard]] Time next_check() const;

    // The connection is lost. The outcome of what was sent is not known.
    struct Lost {
        std::vector<Waiting> sent;
        std::vector<Waiting> unsent;
    };
    [[nodiscard]] Lost take_all();

    [[nodiscard]] bool is_empty() const { return calls_.empty(); }
    [[nodiscard]] std::size_t size() const { return calls_.size(); }

private:
    struct Call {
        Waiting waiting;
        Time deadline;
        Time reply_due;
    };
    std::deque<Call> calls_;
    std::size_t sent_ = 0; // of calls_, from the front
};

} // namespace doorbuster::redis
