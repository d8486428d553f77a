// A Link: the connection to one Redis, which comes back by itself. Many calls share it
// (pipelining); what is called during a turn of the core's loop, or while a write is under way,
// shares the next write.
//
// Lives on one core. Held by shared_ptr: its coroutine and its operations under way need it until
// they have ended, however its owner fares.
#pragma once

#include <boost/asio/basic_waitable_timer.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis/backoff.h"
#include "adapters/redis/pipeline.h"
#include "adapters/redis/session.h"
#include "base/result.h"
#include "domain/time.h"
#include "runtime/task.h"

namespace doorbuster::redis {

struct LinkOptions {
    Url url;
    boost::asio::ssl::context* tls = nullptr; // outlives the link
    ServerDemands demands = {};
    Duration connect_wait_max{1'000};
    // A server that has not answered the oldest call for so long is given up: the connection is
    // made anew. Never before that call's own deadline.
    Duration silence_max{1'000};
    std::size_t in_flight_max = 16'384;           // calls sent or waiting to be sent
    std::size_t unsent_bytes_max = 32UL << 20;    // waiting to be sent
    std::function<void(const std::string&)> tell; // for operators: the connection came or went
    std::function<void()> on_change;              // is_up() has changed
};

class Link : public std::enable_shared_from_this<Link> {
public:
    Link(Executor executor, LinkOptions options);

    // On the core or before it runs. Connects, and again whenever the connection is lost.
    void start();

    // Sends the bytes of `skipped` commands whose replies are dropped and of one whose reply this
    // returns. Errc::unavailable: nothing was sent. Errc::timeout: sent, and the outcome is not
    // known. May be awaited beyond the link's end.
    Task<Result<Reply>> call(std::string_view commands, std::size_t skipped, SteadyTime deadline);

    // Waits for the first attempt to connect, if it is still under way, but not past the deadline.
    // Whether the link is up.
    Task<bool> wait_until_tried(SteadyTime deadline);

    // Takes no more calls, lets those in flight end and connects anew: this server said that it is
    // not the one to talk to.
    void retire(std::string why);

    [[nodiscard]] bool is_up() const { return is_up_ && !is_retired_; }
    // "up", or what is wrong.
    [[nodiscard]] const std::string& state() const { return state_; }
    [[nodiscard]] const Address& address() const { return options_.url.address; }

    // On the core: ends for good; calls in flight fail.
    void close();
    // When the core was joined: ends for good; who waits is dropped, not called.
    void abandon();

private:
    using Timer = Session::Timer;
    struct Waiter {
        Resume<bool> resume;
        SteadyTime deadline;
    };

    static Task<void> run(std::shared_ptr<Link> self);
    Task<std::string> converse();
    Task<void> pause();
    bool take_reply(Reply reply);
    void came_up();
    void went_down(const std::string& reason);
    void fail_calls(const std::string& why);
    Task<void> wait_for_change(SteadyTime deadline);
    void wake_waiters();
    void schedule_flush();
    void flush();
    void check_by(SteadyTime at);
    void check();
    void tell(const std::string& text);

    Executor executor_;
    LinkOptions options_;
    HostLookup lookup_;
    std::unique_ptr<Session> session_; // while connecting or connected
    Pipeline pipeline_;
    std::string out_; // not yet handed to the session
    std::vector<Waiter> waiters_;
    Timer check_timer_;
    SteadyTime check_at_ = SteadyTime::max();
    Timer pause_timer_;
    Backoff backoff_{kConnectPauseMin, kConnectPauseMax};
    std::uint64_t generation_ = 0; // of sessions: an old one's write may end late
    bool is_up_ = false;
    bool is_retired_ = false;
    bool was_tried_ = false;
    bool is_closed_ = false;
    bool is_writing_ = false;
    bool flush_is_posted_ = false;
    std::string state_;
    std::string retired_why_;
    std::string stall_why_; // we gave the connection up, and this is why
    std::string told_why_;  // what operators were last told is wrong
    std::string warned_;
};

} // namespace doorbuster::redis
