// The rate limiter: how often the system, a user and an address may try.
#pragma once

#include <cstdint>
#include <optional>

#include "base/fingerprint.h"
#include "domain/purchase.h"
#include "runtime/task.h"

namespace doorbuster {

// Whom a request counts against. An address is the client's, IPv6 by its /64.
struct RateSubject {
    std::optional<Fingerprint> user;
    std::optional<Fingerprint> address;
    bool counts_for_system = false; // purchases only
};

class RateLimiter {
public:
    virtual ~RateLimiter() = default;

    // Any core. nullopt: allowed, and counted. A refusal is `rate_limited` with its headers, or
    // `unavailable`; a refused request is not counted against the limits that would have let it in.
    virtual Task<std::optional<Refusal>> check(const RateSubject& subject) = 0;
    // False: check() never refuses, callers may skip it.
    [[nodiscard]] virtual bool is_on() const = 0;
};

} // namespace doorbuster
