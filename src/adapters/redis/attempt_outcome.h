// What becomes of an attempt that Redis has answered: the records that must be in the log before
// the answer leaves, and the answer. Any core.
#pragma once

#include <optional>

#include "adapters/redis/attempt_queue.h"
#include "adapters/redis/recent_appends.h"
#include "ports/inventory.h"
#include "runtime/clock.h"

namespace doorbuster::redis {

// Refuses because the log takes no record.
[[nodiscard]] Stop log_refuses(const OrderLog& log, LogPartition partition);

// Appends what an answer depends on. For one attempt; `has_room`: room was taken in the log for it,
// which is used or given back by exactly one of these functions.
class AttemptOutcome {
public:
    struct Parts {
        OrderLog& log;
        RecentAppends& appends;
        const Clock& clock;
    };
    AttemptOutcome(Parts parts, AttemptAnswer answer) : parts_(parts), answer_(std::move(answer)) {}

    // With room in the log.
    [[nodiscard]] Step<Reservation> of_purchase(const PurchaseRequest& request);
    [[nodiscard]] Step<LogPosition> of_withdrawal(const Withdrawal& withdrawal);
    // Without; it is taken when it is needed.
    [[nodiscard]] Step<std::optional<Reservation>> of_key(const PurchaseRequest& request);

private:
    // Of a hold that may or may not be there.
    [[nodiscard]] Refusal refusal_without_decision(const OrderId& order) const;
    // Of what is decided and holds nothing: the sale's state, and what is left.
    [[nodiscard]] Refusal refusal_by_sale() const;
    LogPosition append(const LogRecordView& record);
    // A pending hold's: where it stands already, or the record once more. Uses up the room.
    LogPosition append_again(const LogRecord& record, LogPartition partition);

    Parts parts_;
    AttemptAnswer answer_;
};

} // namespace doorbuster::redis
