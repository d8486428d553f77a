#include "adapters/redis/attempt_queue.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <exception>
#include <utility>

namespace doorbuster::redis {
namespace {

// An attempt without an answer is asked again until then; a buyer waits no longer.
constexpr Duration kAskMax{2'000};
// One call. Three of them fit into kAskMax.
constexpr Duration kCallMax{600};
// Between two attempts while Redis is away.
constexpr Duration kAwayPause{50};
// What was seen in the log waits so long for an attempt to ride with.
constexpr Duration kRideMax{10};
// While Redis is away.
constexpr Duration kSettleAgain{500};
// Told in one call; forgotten when Redis is away for so long that more come together: then whoever
// looks after pending holds appends their records once more, and they are seen again.
constexpr std::size_t kSettledAtOnce = 500;
constexpr std::size_t kSettledMax = 100'000;
constexpr std::size_t kArgumentsBefore = 3; // channel, sale, how many may be pending

} // namespace

AttemptQueue::AttemptQueue(Parts parts, Limits limits)
    : parts_(std::move(parts)),
      limits_(std::move(limits)),
      channel_(channel_of(limits_.prefix)),
      pending_max_(std::to_string(limits_.pending_max)) {}

AttemptQueue::Lane& AttemptQueue::lane_of(SaleNo sale) {
    auto& lane = lanes_[sale];
    if (!lane) lane = std::make_unique<Lane>(limits_.prefix, sale);
    return *lane;
}

Task<AttemptAnswer> AttemptQueue::ask(SaleNo sale, std::string attempt) {
    if (waiting_ >= limits_.waiting_max) {
        AttemptAnswer crowded;
        crowded.how = AttemptAnswer::How::crowded;
        co_return crowded;
    }
    auto keep = [this, sale, &attempt](Resume<AttemptAnswer> resume) {
        Lane& lane = lane_of(sale);
        const std::int64_t deadline_ns =
            parts_.clock.steady_ns() + std::chrono::nanoseconds(kAskMax).count();
        lane.waiting.push_back({std::move(attempt), deadline_ns, false, std::move(resume)});
        ++waiting_;
        start(lane);
    };
    co_return co_await suspend<AttemptAnswer>(std::move(keep));
}

void AttemptQueue::settle(SaleNo sale, const OrderId& order) {
    Lane& lane = lane_of(sale);
    if (lane.seen.size() >= kSettledMax) return;
    lane.seen.push_back(order);
    settle_soon(lane, kRideMax);
}

bool AttemptQueue::has_work(const Lane& lane) {
    return !lane.waiting.empty() || (lane.settles_now && !lane.seen.empty());
}

// What else comes in this turn of the loop shares the batch: serve() begins with a post.
void AttemptQueue::start(Lane& lane) {
    if (lane.is_starting || lane.calls >= limits_.calls_max || !has_work(lane)) return;
    lane.is_starting = true;
    ++lane.calls;
    boost::asio::co_spawn(parts_.executor, serve(lane), rethrow);
}

Task<void> AttemptQueue::serve(Lane& lane) {
    co_await boost::asio::post(use_task);
    lane.is_starting = false;
    while (has_work(lane)) {
        Batch batch = take(lane);
        if (batch.attempts.empty() && batch.seen.empty()) continue; // all were too late
        start(lane);                                                // for what did not fit
        batch.asked = parts_.board.shows(lane.sale);
        const auto reply = co_await send(lane, batch);
        const bool pauses = conclude(lane, std::move(batch), reply);
        if (pauses) co_await parts_.commands.pause(kAwayPause);
    }
    --lane.calls;
    if (!lane.seen.empty()) settle_soon(lane, kRideMax);
}

AttemptQueue::Batch AttemptQueue::take(Lane& lane) {
    Batch batch;
    std::vector<Waiting> late;
    const std::int64_t now_ns = parts_.clock.steady_ns();
    while (!lane.waiting.empty() && batch.attempts.size() < limits_.batch_max) {
        Waiting& next = lane.waiting.front();
        (next.deadline_ns <= now_ns ? late : batch.attempts).push_back(std::move(next));
        lane.waiting.pop_front();
    }
    const auto count = std::min(lane.seen.size(), kSettledAtOnce);
    const auto end = lane.seen.begin() + static_cast<std::ptrdiff_t>(count);
    batch.seen.assign(lane.seen.begin(), end);
    lane.seen.erase(lane.seen.begin(), end);
    if (lane.seen.empty()) lane.settles_now = false;
    for (Waiting& waiting : late) {
        AttemptAnswer answer;
        answer.how =
            waiting.may_be_decided ? AttemptAnswer::How::unknown : AttemptAnswer::How::crowded;
        --waiting_;
        waiting.resume(std::move(answer));
    }
    return batch;
}

Task<Result<Reply>> AttemptQueue::send(const Lane& lane, const Batch& batch) {
    const std::string sale = std::to_string(lane.sale.get());
    std::string seen(1, 's');
    for (const OrderId& order : batch.seen) append_order(seen, order);
    std::vector<std::string_view> arguments;
    arguments.reserve(kArgumentsBefore + 1 + batch.attempts.size());
    arguments.assign({channel_, sale, pending_max_});
    if (!batch.seen.empty()) arguments.push_back(seen);
    for (const Waiting& waiting : batch.attempts) {
        arguments.push_back(waiting.attempt);
        if (waiting.may_be_decided) ++counts_.asked_again;
    }
    ++counts_.calls;
    counts_.attempts += batch.attempts.size();
    const auto keys = lane.keys.views();
    co_return co_await parts_.commands.run(parts_.scripts.decide, keys, arguments,
                                           lane.keys.routing_key(), kCallMax);
}

bool AttemptQueue::conclude(Lane& lane, Batch batch, const Result<Reply>& reply) {
    std::optional<SaleStatus> status;
    if (reply && reply->is(Reply::Kind::array) && !reply->items.empty()) {
        status = parse_status(reply->items.front().text);
    }
    if (status && (!status->is_ok() || reply->is_array_of(1 + batch.attempts.size()))) {
        told_.clear();
        parts_.board.observe(lane.sale, *status, batch.asked);
        answer(std::move(batch.attempts), *status, *reply);
        return false;
    }
    // Not told, as far as we know; it does no harm to tell it twice.
    if (lane.seen.size() + batch.seen.size() <= kSettledMax) {
        lane.seen.insert(lane.seen.end(), batch.seen.begin(), batch.seen.end());
    }
    lane.settles_now = false;
    settle_soon(lane, kSettleAgain);
    if (reply) tell(reply->is_error() ? reply->text : "an answer that no script of ours gives");
    // An error stands before the script's first write (too little memory, no right to write), so
    // nothing was decided; but another answer than ours tells nothing.
    const bool may_be_decided = reply ? !reply->is_error() : reply.error().is(Errc::timeout);
    const bool some_again = ask_again(lane, std::move(batch.attempts), may_be_decided);
    // After a time-out enough time has passed.
    return some_again && (reply || !may_be_decided);
}

void AttemptQueue::answer(std::vector<Waiting> attempts, const SaleStatus& status,
                          const Reply& reply) {
    for (std::size_t i = 0; i < attempts.size(); ++i) {
        AttemptAnswer answer;
        answer.status = status;
        const std::string_view text =
            status.is_ok() ? std::string_view(reply.items[i + 1].text) : std::string_view();
        const auto decision = parse_decision(text);
        if (decision) {
            answer.how = AttemptAnswer::How::decided;
            answer.decision = *decision;
            answer.detail = text.substr(1);
        } else if (status.is_ok() || attempts[i].may_be_decided) {
            // Cold since: what the first call held may stand in the log, or be appended yet.
            answer.how = AttemptAnswer::How::unknown;
        } else {
            answer.how = AttemptAnswer::How::cold;
        }
        --waiting_;
        attempts[i].resume(std::move(answer));
    }
}

bool AttemptQueue::ask_again(Lane& lane, std::vector<Waiting> attempts, bool may_be_decided) {
    const std::int64_t now_ns = parts_.clock.steady_ns();
    std::vector<Waiting> given_up;
    bool some_again = false;
    for (auto at = attempts.rbegin(); at != attempts.rend(); ++at) {
        at->may_be_decided = at->may_be_decided || may_be_decided;
        if (at->may_be_decided && now_ns < at->deadline_ns) {
            lane.waiting.push_front(std::move(*at));
            some_again = true;
        } else {
            given_up.push_back(std::move(*at));
        }
    }
    if (!may_be_decided) {
        // Redis is away: who was not sent yet need not wait until those are answered that were.
        std::deque<Waiting> kept;
        for (Waiting& waiting : lane.waiting) {
            if (waiting.may_be_decided) {
                kept.push_back(std::move(waiting));
            } else {
                given_up.push_back(std::move(waiting));
            }
        }
        lane.waiting = std::move(kept);
    }
    for (Waiting& waiting : given_up) {
        AttemptAnswer answer;
        answer.how =
            waiting.may_be_decided ? AttemptAnswer::How::unknown : AttemptAnswer::How::not_sent;
        --waiting_;
        waiting.resume(std::move(answer));
    }
    return some_again;
}

void AttemptQueue::settle_soon(Lane& lane, Duration wait) {
    if (lane.settles_soon || lane.seen.empty()) return;
    lane.settles_soon = true;
    boost::asio::co_spawn(parts_.executor, settle_later(lane, wait), rethrow);
}

Task<void> AttemptQueue::settle_later(Lane& lane, Duration wait) {
    co_await parts_.commands.pause(wait);
    lane.settles_soon = false;
    if (lane.seen.empty()) co_return;
    lane.settles_now = true;
    start(lane);
}

void AttemptQueue::tell(const std::string& text) {
    if (text == told_) return;
    told_ = text;
    if (parts_.tell) parts_.tell("Redis does not decide purchases: " + text);
}

} // namespace doorbuster::redis
