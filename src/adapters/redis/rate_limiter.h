// Rate limits that all nodes share, in Redis: GCRA (domain/rate.h), by Redis' clock.
//
// Users and addresses are counted exactly, with a call that many attempts share: those that come
// while it is under way go into the next one. The system's limit is taken in shares (SystemLease).
// Whoever was refused hears no without a hop until it may come back. While Redis is away, or slower
// than call_wait_max, users and addresses are counted by this node's `local` limiter and the system
// by this core's part of the limit; never by nothing. It comes back by itself.
//
// One object for all cores; each core has its own state in it and its own Client.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "adapters/redis/client.h"
#include "adapters/redis/script.h"
#include "domain/rate.h"
#include "ports/rate_limiter.h"
#include "runtime/clock.h"
#include "runtime/core.h"

namespace doorbuster::redis {

struct RateLimits {
    Rate system;
    Rate user;
    Rate address;
};

struct RateLimiterOptions {
    RateLimits limits;
    std::string prefix = "doorbuster:rate:"; // of every key; they expire by themselves
    // Of a call to Redis: what a slow one may cost a purchase, once in Outage::kTryEveryNs.
    Duration call_wait_max{50};
    std::function<void(const std::string&)> tell = {}; // for operators
};

class RedisRateLimiter final : public RateLimiter {
public:
    // clients[i] is core i's. `local` limits users and addresses, as strictly as here, and is not
    // asked about the system. All of them outlive this; destroyed after the cores were joined.
    RedisRateLimiter(Cores& cores, std::span<Client* const> clients, RateLimiterOptions options,
                     RateLimiter& local, const Clock& clock);
    ~RedisRateLimiter() override;

    Task<std::optional<Refusal>> check(const RateSubject& subject) override;
    [[nodiscard]] bool is_on() const override;

private:
    struct PerCore;
    struct Attempt;
    struct Verdict;

    [[nodiscard]] PerCore& core_of(const Executor& executor);
    Task<std::optional<Refusal>> check_subject(PerCore& core, const Attempt& attempt);
    Task<Verdict> ask(PerCore& core, const Attempt& attempt);
    Task<Verdict> ask_key_by_key(PerCore& core, const Attempt& attempt);
    Task<void> ask_in_batches(PerCore& core);
    Task<Result<Reply>> run(PerCore& core, std::span<const std::string_view> keys,
                            std::string_view letters, std::string_view routing_key);
    void note(PerCore& core, const Result<Reply>& reply);
    [[nodiscard]] std::string key_of(char kind, const Fingerprint& subject) const;

    RateLimiterOptions options_;
    RateLimiter& local_;
    const Clock& clock_;
    Script script_;
    std::array<std::string, 4> arithmetic_; // the script's first arguments
    std::vector<std::unique_ptr<PerCore>> cores_;
};

} // namespace doorbuster::redis
