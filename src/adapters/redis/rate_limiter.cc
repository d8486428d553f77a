#include "adapters/redis/rate_limiter.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <cstdio>
#include <deque>
#include <exception>
#include <random>
#include <utility>

#include "adapters/redis/outage.h"
#include "adapters/redis/refused_subjects.h"
#include "adapters/redis/scripts.h"
#include "adapters/redis/system_lease.h"
#include "base/assert.h"

namespace doorbuster::redis {
namespace {

// Attempts in one call: about a millisecond of Redis' time, which everybody else waits for.
constexpr std::size_t kBatchMax = 256;
// Attempts of one core that wait for the next call; more are counted by the local limiter.
constexpr std::size_t kWaitingMax = 20'000;
// Nobody is sent away for longer: a day.
constexpr std::int64_t kWaitMaxUs = 86'400'000'000;

Refusal refuse(const char* policy, const Rate& rate, std::int64_t retry_after_ns) {
    Refusal refusal;
    refusal.reason = PurchaseOutcome::rate_limited;
    refusal.retry_after = std::chrono::ceil<Duration>(std::chrono::nanoseconds(retry_after_ns));
    const double window_s = rate.burst / rate.per_second;
    refusal.rate = RateRefusal{policy, static_cast<std::int64_t>(rate.burst),
                               Duration(static_cast<std::int64_t>(window_s * 1e3))};
    return refusal;
}

std::string microseconds(std::int64_t nanoseconds) {
    std::array<char, 40> text{};
    const int size =
        std::snprintf(text.data(), text.size(), "%.3f", static_cast<double>(nanoseconds) / 1e3);
    return {text.data(), static_cast<std::size_t>(size)};
}

std::string random_name() {
    std::random_device random;
    std::array<char, 40> text{};
    const int size = std::snprintf(text.data(), text.size(), "%08x%08x", random(), random());
    return {text.data(), static_cast<std::size_t>(size)};
}

} // namespace

// The limited things that an attempt counts against here, those whose limits are set.
struct RedisRateLimiter::Attempt {
    std::optional<Fingerprint> address;
    std::optional<Fingerprint> user;

    [[nodiscard]] char letter() const { return address ? (user ? 'b' : 'a') : 'u'; }
};

struct RedisRateLimiter::Verdict {
    bool is_known = false; // else: Redis did not say
    std::int64_t address_wait_ns = 0;
    std::int64_t user_wait_ns = 0;

    static Verdict of(const Reply& answer) {
        Verdict verdict;
        verdict.is_known = answer.is(Reply::Kind::integer);
        const auto wait_us = std::clamp(answer.integer, -kWaitMaxUs, kWaitMaxUs);
        if (wait_us > 0) verdict.address_wait_ns = wait_us * 1'000;
        if (wait_us < 0) verdict.user_wait_ns = -wait_us * 1'000;
        return verdict;
    }
};

struct RedisRateLimiter::PerCore {
    struct Waiter {
        Attempt attempt;
        Resume<Verdict> resume;
    };

    PerCore(Core& its_core, Client& its_client) : core(its_core), client(its_client) {}

    Core& core;
    Client& client;
    Outage outage;
    RefusedSubjects refused_addresses;
    RefusedSubjects refused_users;
    std::deque<Waiter> waiting;
    bool is_calling = false;
    std::optional<SystemLease> lease;
};

RedisRateLimiter::RedisRateLimiter(Cores& cores, std::span<Client* const> clients,
                                   RateLimiterOptions options, RateLimiter& local,
                                   const Clock& clock)
    : options_(std::move(options)), local_(local), clock_(clock), script_(text::rate_limiter) {
    DB_ASSERT(clients.size() == cores.size());
    const RateLimits& limits = options_.limits;
    const auto put = [&](std::size_t at, const Rate& rate) {
        arithmetic_[at] = microseconds(rate.is_set() ? rate.interval_ns() : 0);
        arithmetic_[at + 1] = microseconds(rate.is_set() ? rate.tolerance_ns() : 0);
    };
    put(0, limits.address);
    put(2, limits.user);
    for (std::size_t i = 0; i < cores.size(); ++i) {
        auto core = std::make_unique<PerCore>(cores.at(i), *clients[i]);
        if (limits.system.is_set()) {
            PerCore* const its = core.get();
            const auto on_reply = [this, its](const Result<Reply>& reply) { note(*its, reply); };
            const SystemLease::Parts parts{cores.at(i).executor(), core->client, core->outage,
                                           clock, on_reply};
            core->lease.emplace(parts, limits.system, options_.prefix, random_name(),
                                options_.call_wait_max, cores.size());
        }
        cores_.push_back(std::move(core));
    }
}

RedisRateLimiter::~RedisRateLimiter() = default;

bool RedisRateLimiter::is_on() const {
    const RateLimits& limits = options_.limits;
    return limits.system.is_set() || limits.user.is_set() || limits.address.is_set();
}

RedisRateLimiter::PerCore& RedisRateLimiter::core_of(const Executor& executor) {
    for (const auto& core : cores_) {
        if (core->core.executor() == executor) return *core;
    }
    DB_ASSERT(!"called on a core that is none of these");
    return *cores_.front();
}

// What this core knows to be a no costs no hop; then the system's limit, which rarely costs one;
// then Redis. A token of the system's is given back if Redis says no.
Task<std::optional<Refusal>> RedisRateLimiter::check(const RateSubject& subject) {
    const Executor here = co_await boost::asio::this_coro::executor;
    PerCore& core = core_of(here);
    const RateLimits& limits = options_.limits;
    Attempt attempt;
    if (limits.address.is_set()) attempt.address = subject.address;
    if (limits.user.is_set()) attempt.user = subject.user;

    const std::int64_t now_ns = clock_.steady_ns();
    if (attempt.address) {
        const std::int64_t wait_ns = core.refused_addresses.wait_ns(*attempt.address, now_ns);
        if (wait_ns > 0) co_return refuse("ip", limits.address, wait_ns);
    }
    if (attempt.user) {
        const std::int64_t wait_ns = core.refused_users.wait_ns(*attempt.user, now_ns);
        if (wait_ns > 0) co_return refuse("user", limits.user, wait_ns);
    }
    SystemLease::Answer token;
    const bool counts = core.lease && subject.counts_for_system;
    if (counts) {
        token = co_await core.lease->take();
        if (token.wait_ns > 0) co_return refuse("system", limits.system, token.wait_ns);
    }
    if (!attempt.address && !attempt.user) co_return std::nullopt;
    auto refusal = co_await check_subject(core, attempt);
    if (refusal && counts) core.lease->give_back(token);
    co_return refusal;
}

Task<std::optional<Refusal>> RedisRateLimiter::check_subject(PerCore& core,
                                                             const Attempt& attempt) {
    Verdict verdict;
    if (core.waiting.size() < kWaitingMax && core.outage.lets_call(clock_.steady_ns())) {
        verdict = co_await ask(core, attempt);
    }
    if (!verdict.is_known) {
        RateSubject subject;
        subject.user = attempt.user;
        subject.address = attempt.address;
        co_return co_await local_.check(subject);
    }
    const std::int64_t now_ns = clock_.steady_ns();
    if (verdict.address_wait_ns > 0) {
        core.refused_addresses.add(*attempt.address, now_ns + verdict.address_wait_ns, now_ns);
        co_return refuse("ip", options_.limits.address, verdict.address_wait_ns);
    }
    if (verdict.user_wait_ns > 0) {
        core.refused_users.add(*attempt.user, now_ns + verdict.user_wait_ns, now_ns);
        co_return refuse("user", options_.limits.user, verdict.user_wait_ns);
    }
    co_return std::nullopt;
}

Task<RedisRateLimiter::Verdict> RedisRateLimiter::ask(PerCore& core, const Attempt& attempt) {
    // In a cluster a script's keys lie in one slot, and these lie anywhere.
    if (core.client.options().is_cluster) co_return co_await ask_key_by_key(core, attempt);
    auto keep = [this, &core, &attempt](Resume<Verdict> resume) {
        core.waiting.push_back({attempt, std::move(resume)});
        if (std::exchange(core.is_calling, true)) return;
        // Later, so that what else comes in this turn of the loop is in the first call.
        boost::asio::post(core.core.executor(), [this, &core] {
            boost::asio::co_spawn(core.core.executor(), ask_in_batches(core), rethrow);
        });
    };
    co_return co_await suspend<Verdict>(std::move(keep));
}

// One call at a time: what comes meanwhile shares the next one.
Task<void> RedisRateLimiter::ask_in_batches(PerCore& core) {
    while (!core.waiting.empty()) {
        std::vector<PerCore::Waiter> batch;
        std::vector<std::string> keys;
        std::string letters;
        while (!core.waiting.empty() && batch.size() < kBatchMax) {
            const Attempt& attempt = core.waiting.front().attempt;
            if (attempt.address) keys.push_back(key_of('a', *attempt.address));
            if (attempt.user) keys.push_back(key_of('u', *attempt.user));
            letters.push_back(attempt.letter());
            batch.push_back(std::move(core.waiting.front()));
            core.waiting.pop_front();
        }
        const std::vector<std::string_view> views(keys.begin(), keys.end());
        const auto reply = co_await run(core, views, letters, "");
        const bool is_known = reply && reply->is_array_of(batch.size());
        if (!is_known) {
            // The rest would only wait for the same.
            for (auto& waiter : core.waiting) batch.push_back(std::move(waiter));
            core.waiting.clear();
        }
        for (std::size_t i = 0; i < batch.size(); ++i) {
            batch[i].resume(is_known ? Verdict::of(reply->items[i]) : Verdict());
        }
    }
    core.is_calling = false;
}

// The address first; it gets back what it was counted for when the user is refused.
Task<RedisRateLimiter::Verdict> RedisRateLimiter::ask_key_by_key(PerCore& core,
                                                                 const Attempt& attempt) {
    Verdict verdict;
    std::string key;
    if (attempt.address) {
        key = key_of('a', *attempt.address);
        const std::string_view view = key;
        const auto reply = co_await run(core, std::span(&view, 1), "a", view);
        if (!reply || !reply->is_array_of(1)) co_return verdict;
        verdict = Verdict::of(reply->items[0]);
        if (!verdict.is_known || verdict.address_wait_ns > 0 || !attempt.user) co_return verdict;
    }
    const std::string user_key = key_of('u', *attempt.user);
    const std::string_view user_view = user_key;
    const auto reply = co_await run(core, std::span(&user_view, 1), "u", user_view);
    verdict = reply && reply->is_array_of(1) ? Verdict::of(reply->items[0]) : Verdict();
    if (attempt.address && verdict.user_wait_ns > 0) {
        const std::string_view view = key;
        // If this fails, the address has one request less until it would have been restored.
        static_cast<void>(co_await run(core, std::span(&view, 1), "r", view));
    }
    co_return verdict;
}

Task<Result<Reply>> RedisRateLimiter::run(PerCore& core, std::span<const std::string_view> keys,
                                          std::string_view letters, std::string_view routing_key) {
    const std::array<std::string_view, 5> arguments = {arithmetic_[0], arithmetic_[1],
                                                       arithmetic_[2], arithmetic_[3], letters};
    auto reply =
        co_await core.client.run(script_, keys, arguments, routing_key, options_.call_wait_max);
    note(core, reply);
    co_return reply;
}

void RedisRateLimiter::note(PerCore& core, const Result<Reply>& reply) {
    const std::int64_t now_ns = clock_.steady_ns();
    if (reply && reply->is(Reply::Kind::array)) {
        if (core.outage.worked() && options_.tell) {
            options_.tell("rate limits: Redis is back, core " + std::to_string(core.core.index()) +
                          " counts with the others again");
        }
        return;
    }
    if (core.outage.failed(now_ns) && options_.tell) {
        options_.tell("rate limits: core " + std::to_string(core.core.index()) +
                      " counts by itself meanwhile: " +
                      (reply ? "Redis says " + reply->text : reply.error().message()));
    }
}

std::string RedisRateLimiter::key_of(char kind, const Fingerprint& subject) const {
    std::array<char, 40> text{};
    const int size = std::snprintf(text.data(), text.size(), "%c:%016llx%016llx", kind,
                                   static_cast<unsigned long long>(subject.high),
                                   static_cast<unsigned long long>(subject.low));
    return options_.prefix + std::string(text.data(), static_cast<std::size_t>(size));
}

} // namespace doorbuster::redis
