#include "app/load/lane.h"

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <fmt/format.h>

namespace doorbuster::load {
namespace {

using namespace std::chrono_literals;

// With keys: how long an attempt is sent again. A server that restarts takes a few seconds.
constexpr auto kRetryFor = 30s;
// Between attempts to connect: doubles from the first to the last while nothing succeeds.
constexpr auto kBackoffFirst = 10ms;
constexpr auto kBackoffLast = 1s;
// A connection that was idle for longer may have been closed by the server, as it is free to do.
constexpr auto kIdleUnchecked = 500ms;
// How often a lane looks whether all others are connected.
constexpr auto kStartPoll = 2ms;

void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) {
    // One writer: no need for a locked instruction.
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

} // namespace

Lane::Lane(const Executor& executor, Run& run, Totals& totals)
    : run_(run),
      totals_(totals),
      connection_(executor, run.take_target()),
      timer_(executor),
      request_(run.request),
      check_(run.options.sale) {}

Task<void> Lane::work() {
    co_await open_and_wait_for_the_others();
    while (claim()) {
        if (due_ > Clock::now()) co_await wait_until(due_);
        if (run_.is_ending()) break;
        co_await carry_out();
    }
    connection_.close();
}

// The connections' own cost is not a buyer's: all are open before the first attempt is due.
Task<void> Lane::open_and_wait_for_the_others() {
    deadline_ = Clock::now() + run_.options.timeout;
    // A failure shows again at the first attempt, and is counted there.
    co_await connection_.connect();
    deadline_ = Clock::time_point::max();
    idle_since_ = Clock::now();
    if (run_.connecting.fetch_sub(1) == 1) {
        run_.schedule.begin(Clock::now());
        run_.has_begun.store(true);
    }
    while (!run_.has_begun.load()) co_await wait_until(Clock::now() + kStartPoll);
}

Task<void> Lane::wait_until(Clock::time_point time) {
    is_waiting_ = true;
    timer_.expires_at(time);
    Connection::Code ended_early;
    co_await timer_.async_wait(boost::asio::redirect_error(use_task, ended_early));
    is_waiting_ = false;
}

Task<void> Lane::back_off() {
    const auto wait = kBackoffFirst * (1U << std::min(failures_ - 1, 10U));
    co_await wait_until(Clock::now() + std::min<Clock::duration>(wait, kBackoffLast));
}

void Lane::watch(Clock::time_point now) {
    const bool is_ending = run_.is_ending();
    if (is_waiting_ && is_ending) timer_.cancel();
    if (deadline_ == Clock::time_point::max()) return;
    if (is_ending) deadline_ = std::min(deadline_, now + run_.options.stop_grace);
    if (now < deadline_) return;
    has_timed_out_ = true;
    connection_.close();
}

bool Lane::claim() {
    if (run_.is_ending()) return false;
    const Clock::time_point now = Clock::now();
    if (now >= run_.schedule.end()) return false;
    const std::uint64_t index = run_.next_attempt.fetch_add(1, std::memory_order_relaxed);
    if (index >= run_.plan.size()) return false;
    due_ = run_.schedule.is_open_loop() ? run_.schedule.due(index) : now;
    if (due_ >= run_.schedule.end()) return false;
    attempt_ = run_.plan.at(index);
    return true;
}

Task<void> Lane::carry_out() {
    add(totals_.attempts, 1);
    asked_.quantity = attempt_.quantity;
    asked_.has_key = run_.options.keys;
    const Clock::time_point begun = Clock::now();
    for (;;) {
        asked_.is_bound = run_.options.keys && run_.books.is_bound(attempt_.buyer);
        const std::optional<Failure> failed = co_await exchange();
        deadline_ = Clock::time_point::max();
        if (!failed) {
            failures_ = 0;
            settle();
            co_return;
        }
        connection_.close();
        ++failures_;
        std::int64_t never = 0;
        run_.failing_since_ns.compare_exchange_strong(never,
                                                      Clock::now().time_since_epoch().count());
        if (failed->was_sent) run_.books.outcome_unknown(attempt_.buyer);
        const bool is_again =
            run_.options.keys && !run_.is_ending() && Clock::now() < begun + kRetryFor;
        if (!is_again) give_up(*failed);
        co_await back_off();
        if (!is_again) co_return;
        ++totals_.retries;
    }
}

Task<std::optional<Lane::Failure>> Lane::exchange() {
    has_timed_out_ = false;
    const Clock::time_point now = Clock::now();
    deadline_ = now + run_.options.timeout;
    if (connection_.is_open() && now - idle_since_ > kIdleUnchecked && connection_.is_stale()) {
        connection_.close();
    }
    if (!connection_.is_open()) {
        const Connection::Code error = co_await connection_.connect();
        if (error) co_return failure(error, LoadErrorKind::connect, false);
    }
    reader_.reset();
    const std::string_view request = request_.for_attempt(attempt_);
    asked_.user_id = request_.user_id();
    const Connection::Code error = co_await connection_.write(request);
    if (error) co_return failure(error, LoadErrorKind::io, true);
    co_return co_await receive();
}

Task<std::optional<Lane::Failure>> Lane::receive() {
    for (;;) {
        Connection::Code error;
        const std::span<char> space = reader_.space();
        const std::size_t bytes = co_await connection_.read_some(space, error);
        reader_.received(bytes);
        const bool is_end = error && is_peers_close(error) && reader_.has_bytes();
        if (error && !is_end) co_return failure(error, LoadErrorKind::io, true);
        const auto progress = is_end ? reader_.ended(answer_) : reader_.next(answer_);
        if (progress == AnswerReader::Progress::answer) co_return std::nullopt;
        if (progress == AnswerReader::Progress::broken) {
            Failure broken;
            broken.kind = is_end ? LoadErrorKind::io : LoadErrorKind::answer;
            broken.was_sent = true;
            broken.text = fmt::format("unreadable answer: {}", reader_.why());
            co_return broken;
        }
    }
}

Lane::Failure Lane::failure(const Connection::Code& code, LoadErrorKind kind, bool was_sent) const {
    Failure out;
    out.kind = has_timed_out_ ? LoadErrorKind::timeout : kind;
    out.was_sent = was_sent;
    out.text = has_timed_out_ ? fmt::format("no {} in time", was_sent ? "answer" : "connection")
                              : code.message();
    return out;
}

// The attempt ends without an answer. The wait counts in the latencies: leaving it out would make
// a server that does not answer look fast.
void Lane::give_up(const Failure& failure) {
    totals_.last_answer = Clock::now();
    const auto waited = totals_.last_answer - due_;
    totals_.latency.record(static_cast<std::uint64_t>(std::max<std::int64_t>(waited.count(), 0)));
    complain(failure.kind, failure.text);
}

void Lane::complain(LoadErrorKind kind, std::string_view what) {
    add(totals_.errors, 1);
    run_.complaints.add(kind, request_.user_id(), what);
}

void Lane::settle() {
    const Clock::time_point now = Clock::now();
    totals_.last_answer = now;
    idle_since_ = now;
    if (run_.failing_since_ns.load(std::memory_order_relaxed) != 0) run_.failing_since_ns.store(0);
    const Clock::duration latency = std::max(now - due_, Clock::duration::zero());
    totals_.latency.record(static_cast<std::uint64_t>(latency.count()));

    const Verdict& verdict = check_.judge(answer_, asked_);
    if (!verdict.is_explained()) {
        run_.books.outcome_unknown(attempt_.buyer);
        complain(LoadErrorKind::answer, verdict.complaint);
    } else if (verdict.outcome == PurchaseOutcome::accepted ||
               verdict.outcome == PurchaseOutcome::replayed) {
        enter_order(verdict, latency);
    } else {
        enter_refusal(verdict, latency);
    }
    const bool keep_alive = answer_.keep_alive;
    if (!reader_.drop()) {
        complain(LoadErrorKind::books, "bytes after the answer that nobody asked for");
        connection_.close();
    } else if (!keep_alive) {
        connection_.close();
    }
}

void Lane::enter_order(const Verdict& verdict, Clock::duration latency) {
    const bool is_replay = verdict.outcome == PurchaseOutcome::replayed;
    const Books::Entry entry = is_replay
                                   ? run_.books.replayed(attempt_.buyer, attempt_.quantity,
                                                         verdict.order_id, verdict.created_at)
                                   : run_.books.accepted(attempt_.buyer, attempt_.quantity,
                                                         verdict.order_id, verdict.created_at);
    if (entry.is_new) {
        add(totals_.accepted, 1);
        if (run_.options.keep_order_ids) totals_.order_ids.push_back(verdict.order_id);
        totals_.last_accepted = totals_.last_answer;
        totals_.accepted_latency.record(static_cast<std::uint64_t>(latency.count()));
    } else {
        ++totals_.replayed;
    }
    if (!entry.complaint.empty()) complain(LoadErrorKind::books, entry.complaint);
}

void Lane::enter_refusal(const Verdict& verdict, Clock::duration latency) {
    totals_.rejected_latency.record(static_cast<std::uint64_t>(latency.count()));
    ++totals_.rejected[static_cast<std::size_t>(verdict.outcome)];
    if (verdict.outcome == PurchaseOutcome::limit_reached) {
        const std::string complaint =
            run_.books.limit_reached(attempt_.buyer, attempt_.quantity, verdict.order_id);
        if (!complaint.empty()) complain(LoadErrorKind::books, complaint);
    } else if (verdict.outcome == PurchaseOutcome::idempotency_mismatch) {
        const std::string complaint = run_.books.idempotency_mismatch(attempt_.buyer);
        if (!complaint.empty()) complain(LoadErrorKind::books, complaint);
    } else if (verdict.outcome == PurchaseOutcome::sold_out) {
        Units& smallest = totals_.sold_out_quantity_min;
        smallest = smallest == 0 ? attempt_.quantity : std::min(smallest, attempt_.quantity);
    } else if (!verdict.order_id.empty()) {
        run_.books.outcome_unknown(attempt_.buyer); // a 503 whose order may still come
    }
}

} // namespace doorbuster::load
