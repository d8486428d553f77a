#include "adapters/redis/link.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <exception>
#include <utility>

namespace doorbuster::redis {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Late by so much does no harm, and spares a timer a call.
constexpr milliseconds kCheckGrain{1};
// Memory that a burst took for its commands and that later ones may use again.
constexpr std::size_t kKeptBytesMax = 1UL << 20;

} // namespace

Link::Link(Executor executor, LinkOptions options)
    : executor_(executor),
      options_(std::move(options)),
      lookup_(options_.url.address.host),
      check_timer_(executor),
      pause_timer_(executor),
      state_(options_.url.address.text() + ": connecting") {}

void Link::start() {
    auto rethrow = [](std::exception_ptr exception) {
        if (exception) std::rethrow_exception(exception);
    };
    asio::co_spawn(executor_, run(shared_from_this()), rethrow);
}

Task<void> Link::run(std::shared_ptr<Link> self) {
    while (!self->is_closed_) {
        ++self->generation_;
        self->session_ =
            std::make_unique<Session>(self->executor_, self->options_.url, self->options_.tls);
        const auto deadline = steady_clock::now() + self->options_.connect_wait_max;
        const auto opened =
            co_await self->session_->open(self->lookup_, self->options_.demands, deadline);
        if (self->is_closed_) break;
        std::string why;
        if (opened) {
            self->came_up();
            why = co_await self->converse();
        } else {
            why = opened.error().context;
        }
        self->session_->close();
        if (self->is_closed_) break;
        self->went_down(why);
        if (!self->is_closed_) co_await self->pause();
    }
    self->session_.reset();
}

// Replies to those who wait for them, until the connection ends. Returns why it did.
Task<std::string> Link::converse() {
    Session& session = *session_;
    for (;;) {
        auto first = co_await session.read();
        if (!first) co_return first.error().context;
        if (!take_reply(std::move(*first))) co_return "Redis sent a reply that nobody asked for";
        for (;;) {
            if (is_closed_) co_return "closed";
            auto reply = session.next();
            if (!reply) co_return reply.error().context;
            if (!*reply) break;
            if (!take_reply(std::move(**reply))) {
                co_return "Redis sent a reply that nobody asked for";
            }
        }
        if (is_retired_ && pipeline_.is_empty()) co_return retired_why_;
    }
}

bool Link::take_reply(Reply reply) {
    if (pipeline_.is_empty()) return is_closed_;
    if (auto waiting = pipeline_.answer()) waiting(std::move(reply));
    return true;
}

Task<void> Link::pause() {
    pause_timer_.expires_after(backoff_.next());
    boost::system::error_code ignored;
    co_await pause_timer_.async_wait(asio::redirect_error(use_task, ignored));
}

void Link::came_up() {
    is_up_ = true;
    was_tried_ = true;
    backoff_.reset();
    state_ = "up";
    stall_why_.clear();
    // An operator hears of a change once, not at every attempt.
    if (!told_why_.empty()) tell(address().text() + " is back");
    told_why_.clear();
    if (session_->warning() != warned_) {
        warned_ = session_->warning();
        tell(address().text() + ": " + warned_);
    }
    wake_waiters();
    if (options_.on_change) options_.on_change();
}

void Link::went_down(const std::string& reason) {
    // We closed it, and why says more than that it is closed.
    std::string why = is_retired_ ? retired_why_ : reason;
    if (!stall_why_.empty()) why = std::exchange(stall_why_, {});
    is_up_ = false;
    is_retired_ = false;
    was_tried_ = true;
    state_ = address().text() + ": " + why;
    if (why != told_why_) tell(state_ + "; trying again");
    told_why_ = why;
    fail_calls(why);
    wake_waiters();
    if (options_.on_change) options_.on_change();
}

void Link::tell(const std::string& text) {
    if (options_.tell && !text.empty()) options_.tell("Redis " + text);
}

void Link::fail_calls(const std::string& why) {
    out_.clear();
    is_writing_ = false;
    Pipeline::Lost lost = pipeline_.take_all();
    const std::string where = address().text() + ": " + why;
    for (auto& waiting : lost.unsent) waiting(fail(Errc::unavailable, where));
    for (auto& waiting : lost.sent) {
        waiting(fail(Errc::timeout, where + "; the outcome is not known"));
    }
}

Task<Result<Reply>> Link::call(std::string_view commands, std::size_t skipped,
                               SteadyTime deadline) {
    if (!is_up()) co_return fail(Errc::unavailable, state_);
    if (pipeline_.size() + skipped >= options_.in_flight_max) {
        co_return fail(Errc::unavailable, address().text() + ": too many calls wait for Redis");
    }
    if (out_.size() + commands.size() > options_.unsent_bytes_max) {
        co_return fail(Errc::unavailable, address().text() + ": too many bytes wait to be sent");
    }
    auto keep = [this, commands, skipped, deadline](Pipeline::Waiting waiting) {
        const auto due = std::max(deadline, steady_clock::now() + options_.silence_max);
        for (std::size_t i = 0; i < skipped; ++i) pipeline_.push({}, deadline, due);
        pipeline_.push(std::move(waiting), deadline, due);
        out_.append(commands);
        check_by(deadline);
        schedule_flush();
    };
    // Nothing of this link is touched behind the wait: it may be gone by then.
    co_return co_await suspend<Result<Reply>>(std::move(keep));
}

// What else is called in this turn of the loop comes along.
void Link::schedule_flush() {
    if (is_writing_ || flush_is_posted_) return;
    flush_is_posted_ = true;
    asio::post(executor_, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self) return;
        self->flush_is_posted_ = false;
        self->flush();
    });
}

void Link::flush() {
    if (!is_up_ || is_closed_ || is_writing_ || out_.empty()) return;
    is_writing_ = true;
    pipeline_.mark_sent();
    auto done = [self = shared_from_this(), generation = generation_](bool is_written,
                                                                      std::string bytes) {
        if (generation != self->generation_ || !self->is_up_) return;
        self->is_writing_ = false;
        if (!is_written) return self->session_->close(); // its reader says why
        if (self->out_.empty() && bytes.capacity() <= kKeptBytesMax) {
            bytes.clear();
            self->out_ = std::move(bytes);
        }
        self->flush();
    };
    session_->write(std::exchange(out_, {}), std::move(done));
}

// One timer for all calls: set for the earliest deadline, then looked at again.
void Link::check_by(SteadyTime at) {
    if (at >= check_at_) return;
    check_at_ = at;
    check_timer_.expires_at(at);
    check_timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& ec) {
        if (ec) return;
        if (const auto self = weak.lock()) self->check();
    });
}

void Link::check() {
    const auto now = steady_clock::now();
    check_at_ = SteadyTime::max();
    const std::string where = address().text();
    for (auto& waiting : pipeline_.expire(now)) {
        waiting(fail(Errc::timeout, where + ": no answer in time; the outcome is not known"));
    }
    std::vector<Waiter> late;
    for (Waiter& waiter : waiters_) {
        if (waiter.deadline <= now) late.push_back(std::move(waiter));
    }
    std::erase_if(waiters_, [](const Waiter& waiter) { return !waiter.resume; });
    for (Waiter& waiter : late) waiter.resume(false);
    if (is_closed_) return;
    if (is_up_ && pipeline_.is_stalled(now)) {
        stall_why_ = "no answer for too long";
        is_up_ = false; // no more calls; the reader ends and makes a new connection
        session_->close();
        return;
    }
    auto next = pipeline_.next_check();
    for (const Waiter& waiter : waiters_) next = std::min(next, waiter.deadline);
    if (next != SteadyTime::max()) check_by(std::max(next, now + kCheckGrain));
}

Task<void> Link::wait_for_change(SteadyTime deadline) {
    if (waiters_.size() >= options_.in_flight_max) co_return;
    auto keep = [this, deadline](Resume<bool> resume) {
        waiters_.push_back({std::move(resume), deadline});
        check_by(deadline);
    };
    co_await suspend<bool>(std::move(keep));
}

Task<bool> Link::wait_until_tried(SteadyTime deadline) {
    if (!was_tried_ && !is_closed_) co_await wait_for_change(deadline);
    co_return is_up();
}

void Link::wake_waiters() {
    for (Waiter& waiter : std::exchange(waiters_, {})) waiter.resume(true);
}

void Link::retire(std::string why) {
    if (!is_up_ || is_retired_) return;
    is_retired_ = true;
    retired_why_ = std::move(why);
    state_ = address().text() + ": " + retired_why_;
    // The reader looks again when the last reply is there; without one it would wait for ever.
    if (pipeline_.is_empty()) session_->close();
    if (options_.on_change) options_.on_change();
}

void Link::close() {
    if (std::exchange(is_closed_, true)) return;
    is_up_ = false;
    state_ = address().text() + ": closed";
    lookup_.close();
    pause_timer_.cancel();
    check_timer_.cancel();
    if (session_) session_->close();
    fail_calls("closed");
    wake_waiters();
}

void Link::abandon() {
    is_closed_ = true;
    is_up_ = false;
    lookup_.close();
    if (session_) session_->close();
    static_cast<void>(pipeline_.take_all());
    waiters_.clear();
}

} // namespace doorbuster::redis
