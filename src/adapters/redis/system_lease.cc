#include "adapters/redis/system_lease.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <cstdio>
#include <exception>
#include <iterator>
#include <utility>

#include "adapters/redis/scripts.h"

namespace doorbuster::redis {
namespace {

// Attempts of one core that wait for a share. More than a core has in flight.
constexpr std::size_t kWaitingMax = 20'000;
// Redis has given less than was wanted: it is not asked again for so long, and who comes meanwhile
// hears no at once. Short enough that a limit is used up evenly.
constexpr std::int64_t kAskPauseNs = 5'000'000;
// A core that has not asked for so long counts no more among those that share the limit.
constexpr int kForgetMs = 10'000;
// Of a share: bounds what is lost with a core that dies.
constexpr std::int64_t kShareMax = 20'000;

std::string microseconds(std::int64_t nanoseconds) {
    std::array<char, 40> text{};
    const int size =
        std::snprintf(text.data(), text.size(), "%.3f", static_cast<double>(nanoseconds) / 1e3);
    return {text.data(), static_cast<std::size_t>(size)};
}

} // namespace

SystemLease::SystemLease(Parts parts, const Rate& rate, const std::string& prefix, std::string name,
                         Duration call_wait_max, std::size_t sharers)
    : parts_(std::move(parts)),
      rate_(rate),
      script_(text::rate_lease),
      arrival_key_(prefix + "{system}:arrival"), // in a cluster both lie together
      sharers_key_(prefix + "{system}:sharers"),
      name_(std::move(name)),
      call_wait_max_(call_wait_max),
      sharers_(std::max<std::size_t>(sharers, 1)) {}

Task<SystemLease::Answer> SystemLease::take() {
    const std::int64_t now_ns = parts_.clock.steady_ns();
    ++attempts_;
    Answer answer;
    if (Lot* const lot = lot_with_some(now_ns)) {
        --lot->count;
        answer.expires_ns = lot->expires_ns;
        const bool is_low = lots_[0].count + lots_[1].count <= last_grant_ / 2;
        if (is_low && last_grant_ > 1 && now_ns >= ask_not_before_ns_ && !parts_.outage.is_on()) {
            start_asking();
        }
        co_return answer;
    }
    if (now_ns < ask_not_before_ns_) {
        answer.wait_ns = ask_not_before_ns_ - now_ns;
        co_return answer;
    }
    // While a call tries whether Redis is back, nobody joins it.
    if (!parts_.outage.lets_call(now_ns) || waiting_.size() >= kWaitingMax) {
        co_return take_own_part(now_ns);
    }
    auto keep = [this](Resume<Answer> resume) {
        waiting_.push_back(std::move(resume));
        start_asking();
    };
    co_return co_await suspend<Answer>(std::move(keep));
}

void SystemLease::give_back(const Answer& answer) {
    if (answer.expires_ns == 0) {
        own_arrival_ns_ -= own_part().interval_ns();
        return;
    }
    if (parts_.clock.steady_ns() >= answer.expires_ns) return;
    for (Lot& lot : lots_) {
        if (lot.expires_ns == answer.expires_ns) ++lot.count;
    }
}

SystemLease::Lot* SystemLease::lot_with_some(std::int64_t now_ns) {
    for (Lot& lot : lots_) {
        if (now_ns >= lot.expires_ns) lot.count = 0;
        if (lot.count > 0) return &lot;
    }
    return nullptr;
}

Rate SystemLease::own_part() const {
    const auto sharers = static_cast<double>(sharers_);
    return {rate_.per_second / sharers, std::max(1.0, rate_.burst / sharers)};
}

SystemLease::Answer SystemLease::take_own_part(std::int64_t now_ns) {
    const RateDecision decision = decide_rate(own_part(), own_arrival_ns_, now_ns);
    own_arrival_ns_ = decision.arrival_ns;
    Answer answer;
    answer.wait_ns = decision.retry_after_ns;
    return answer;
}

// As many as are likely to come within the lease, and those that wait.
std::int64_t SystemLease::wanted(std::int64_t now_ns) {
    const std::int64_t passed_ns = std::max<std::int64_t>(now_ns - asked_at_ns_, kLeaseNs / 50);
    const double lease_s = static_cast<double>(kLeaseNs) / 1e9;
    const double coming = static_cast<double>(attempts_) / static_cast<double>(passed_ns) *
                          static_cast<double>(kLeaseNs);
    const double most = rate_.per_second * lease_s; // more is never free in that time
    asked_at_ns_ = now_ns;
    attempts_ = 0;
    const auto ahead = static_cast<std::int64_t>(std::min(coming, most));
    const auto waiting = static_cast<std::int64_t>(waiting_.size());
    return std::clamp<std::int64_t>(std::max(ahead, waiting), 1, kShareMax);
}

void SystemLease::start_asking() {
    if (is_asking_) return;
    is_asking_ = true;
    // Later, so that what else comes in this turn of the loop is counted in.
    boost::asio::post(parts_.executor, [this] {
        auto rethrow = [](std::exception_ptr exception) {
            if (exception) std::rethrow_exception(exception);
        };
        boost::asio::co_spawn(parts_.executor, ask(), rethrow);
    });
}

Task<void> SystemLease::ask() {
    const std::string interval = microseconds(rate_.interval_ns());
    const std::string tolerance = microseconds(rate_.tolerance_ns());
    const std::string forget = std::to_string(kForgetMs);
    do {
        const std::int64_t sent_ns = parts_.clock.steady_ns();
        const std::int64_t count = wanted(sent_ns);
        const std::string want = std::to_string(count);
        const std::array<std::string_view, 2> keys = {arrival_key_, sharers_key_};
        const std::array<std::string_view, 5> arguments = {interval, tolerance, want, name_,
                                                           forget};
        const auto reply =
            co_await parts_.client.run(script_, keys, arguments, arrival_key_, call_wait_max_);
        parts_.on_reply(reply);
        if (reply && reply->is_array_of(3)) {
            settle(count, *reply, sent_ns);
        } else {
            settle_without_redis(parts_.clock.steady_ns());
        }
    } while (!waiting_.empty());
    is_asking_ = false;
}

void SystemLease::settle(std::int64_t wanted, const Reply& reply, std::int64_t sent_ns) {
    const std::int64_t now_ns = parts_.clock.steady_ns();
    const std::int64_t granted = reply.items[0].integer;
    const std::int64_t wait_ns = std::max<std::int64_t>(reply.items[1].integer * 1'000, 1);
    sharers_ = static_cast<std::size_t>(std::max<std::int64_t>(reply.items[2].integer, 1));
    last_grant_ = granted;
    if (granted < wanted) ask_not_before_ns_ = now_ns + std::max(wait_ns, kAskPauseNs);

    auto waiting = std::exchange(waiting_, {});
    const auto served = std::min(waiting.size(), static_cast<std::size_t>(granted));
    if (lots_[0].count == 0 || now_ns >= lots_[0].expires_ns) lots_[0] = lots_[1];
    lots_[1] = {granted - static_cast<std::int64_t>(served), sent_ns + kLeaseNs};
    if (granted == wanted) { // Redis may have more: those who came since the call was sent ask on
        const auto rest = waiting.begin() + static_cast<std::ptrdiff_t>(served);
        waiting_.assign(std::make_move_iterator(rest), std::make_move_iterator(waiting.end()));
        waiting.erase(rest, waiting.end());
    }
    // Those that are resumed may take from the lots: what is theirs is set aside already.
    for (std::size_t i = 0; i < waiting.size(); ++i) {
        Answer answer;
        if (i < served) {
            answer.expires_ns = sent_ns + kLeaseNs;
        } else {
            answer.wait_ns = wait_ns;
        }
        waiting[i](answer);
    }
}

void SystemLease::settle_without_redis(std::int64_t now_ns) {
    last_grant_ = 0;
    for (auto& resume : std::exchange(waiting_, {})) resume(take_own_part(now_ns));
}

} // namespace doorbuster::redis
