// One core's share of the system-wide limit: taken from Redis for a few tens of milliseconds at a
// time, so that a purchase rarely waits for it. One core.
//
// Redis counts a share when it is granted, and a core uses it within kLeaseNs or not at all. So in
// any time t all cores of all nodes together let in at most burst + per_second * (t + kLeaseNs).
// While Redis is away each core goes on with its part of the limit: a part for each core that had
// asked lately, as Redis last said.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "adapters/redis/client.h"
#include "adapters/redis/outage.h"
#include "adapters/redis/script.h"
#include "domain/rate.h"
#include "runtime/clock.h"
#include "runtime/resume.h"
#include "runtime/task.h"

namespace doorbuster::redis {

class SystemLease {
public:
    static constexpr std::int64_t kLeaseNs = 50'000'000;

    struct Parts {
        Executor executor;
        Client& client;
        Outage& outage;
        const Clock& clock;
        std::function<void(const Result<Reply>&)> on_reply; // of each call: for the outage
    };
    // `sharers`: how many share the limit before Redis has said it.
    SystemLease(Parts parts, const Rate& rate, const std::string& prefix, std::string name,
                Duration call_wait_max, std::size_t sharers);

    struct Answer {
        std::int64_t wait_ns = 0;    // 0: allowed, and counted
        std::int64_t expires_ns = 0; // of the share that it is from; 0: of the core's own part
    };
    Task<Answer> take();
    // What take() had allowed was refused elsewhere. Another may have it while the share lasts.
    void give_back(const Answer& answer);

private:
    struct Lot {
        std::int64_t count = 0;
        std::int64_t expires_ns = 0;
    };

    [[nodiscard]] Lot* lot_with_some(std::int64_t now_ns);
    [[nodiscard]] Rate own_part() const;
    [[nodiscard]] Answer take_own_part(std::int64_t now_ns);
    void start_asking();
    Task<void> ask();
    void settle(std::int64_t wanted, const Reply& reply, std::int64_t sent_ns);
    void settle_without_redis(std::int64_t now_ns);
    [[nodiscard]] std::int64_t wanted(std::int64_t now_ns);

    Parts parts_;
    Rate rate_;
    Script script_;
    std::string arrival_key_;
    std::string sharers_key_;
    std::string name_;
    Duration call_wait_max_;
    std::array<Lot, 2> lots_{}; // the older one first
    std::int64_t last_grant_ = 0;
    std::int64_t ask_not_before_ns_ = 0; // Redis has no more until then
    bool is_asking_ = false;
    std::vector<Resume<Answer>> waiting_;
    std::int64_t attempts_ = 0; // since asked_at_ns_
    std::int64_t asked_at_ns_ = 0;
    std::size_t sharers_;
    std::int64_t own_arrival_ns_ = 0; // of the own part, while Redis is away
};

} // namespace doorbuster::redis
