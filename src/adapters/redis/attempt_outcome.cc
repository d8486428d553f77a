#include "adapters/redis/attempt_outcome.h"

namespace doorbuster::redis {
namespace {

// What was seen in the log may be told at once.
constexpr LogPosition kDurableAlready{0};

Stop refused(PurchaseOutcome reason) {
    Refusal refusal;
    refusal.reason = reason;
    return refusal;
}

LogRecordView view_of(const LogRecord& record, LogPartition partition) {
    return {record.kind,     record.sale, record.epoch, record.order,
            record.quantity, record.user, record.key,   partition};
}

} // namespace

Stop log_refuses(const OrderLog& log, LogPartition partition) {
    return refused(log.is_stalled(partition) ? PurchaseOutcome::unavailable
                                             : PurchaseOutcome::overloaded);
}

LogPosition AttemptOutcome::append(const LogRecordView& record) {
    const LogPosition position = parts_.log.append(record);
    parts_.appends.add(record.order, position, parts_.clock.steady_ns());
    return position;
}

LogPosition AttemptOutcome::append_again(const LogRecord& record, LogPartition partition) {
    const auto position = parts_.appends.find(record.order, parts_.clock.steady_ns());
    if (!position) return append(view_of(record, partition));
    parts_.log.return_room(partition);
    return *position;
}

Refusal AttemptOutcome::refusal_without_decision(const OrderId& order) const {
    Refusal refusal;
    refusal.reason = PurchaseOutcome::unavailable;
    switch (answer_.how) {
    case AttemptAnswer::How::crowded: refusal.reason = PurchaseOutcome::overloaded; break;
    case AttemptAnswer::How::unknown: refusal.order_id = order; break; // it may be held
    case AttemptAnswer::How::cold:
    case AttemptAnswer::How::not_sent:
    case AttemptAnswer::How::decided: break;
    }
    return refusal;
}

Refusal AttemptOutcome::refusal_by_sale() const {
    Refusal refusal;
    switch (answer_.decision) {
    case Decision::mismatch: refusal.reason = PurchaseOutcome::idempotency_mismatch; break;
    case Decision::closed: refusal.reason = PurchaseOutcome::closed; break;
    case Decision::paused: refusal.reason = PurchaseOutcome::paused; break;
    case Decision::pending_full: refusal.reason = PurchaseOutcome::overloaded; break;
    case Decision::sold_out: refusal.reason = PurchaseOutcome::sold_out; break;
    case Decision::too_few:
        refusal.reason = PurchaseOutcome::sold_out;
        refusal.remaining = parse_number(answer_.detail);
        break;
    case Decision::not_started:
        refusal.reason = PurchaseOutcome::not_started;
        refusal.retry_after = Duration(parse_number(answer_.detail));
        break;
    case Decision::limit:
        refusal.reason = PurchaseOutcome::limit_reached;
        refusal.order_id = parse_order(answer_.detail);
        break;
    case Decision::held:
    case Decision::held_and_seen:
    case Decision::key_is_free:
    case Decision::bound_pending:
    case Decision::bound:
    case Decision::limit_pending: break; // no answer of a script that is ours: unavailable
    }
    return refusal;
}

Step<Reservation> AttemptOutcome::of_purchase(const PurchaseRequest& request) {
    if (answer_.how != AttemptAnswer::How::decided) {
        parts_.log.return_room(request.partition);
        return tl::make_unexpected(Stop(refusal_without_decision(request.order_id)));
    }
    if (answer_.decision == Decision::held) {
        const LogPosition position =
            append({LogRecordKind::order, request.sale, answer_.status.epoch, request.order_id,
                    request.quantity, request.user, request.key, request.partition});
        return Reservation{request.order_id, request.quantity, position, false};
    }
    const auto pending = parse_record(answer_.detail);
    if (answer_.decision == Decision::bound_pending && pending) {
        const LogPosition position = append_again(*pending, request.partition);
        return Reservation{pending->order, pending->quantity, position, true};
    }
    if (answer_.decision == Decision::limit_pending && pending) {
        Refusal refusal;
        refusal.reason = PurchaseOutcome::limit_reached;
        refusal.order_id = pending->order;
        refusal.leaves_at = append_again(*pending, request.partition);
        return tl::make_unexpected(Stop(refusal));
    }
    parts_.log.return_room(request.partition);
    if (answer_.decision == Decision::held_and_seen) {
        return Reservation{request.order_id, request.quantity, kDurableAlready, false};
    }
    const auto bound = parse_order(answer_.detail);
    if (answer_.decision == Decision::bound && bound) {
        return Reservation{*bound, request.quantity, kDurableAlready, true};
    }
    return tl::make_unexpected(Stop(refusal_by_sale()));
}

Step<LogPosition> AttemptOutcome::of_withdrawal(const Withdrawal& withdrawal) {
    if (answer_.how == AttemptAnswer::How::decided && answer_.decision == Decision::held) {
        return append({LogRecordKind::withdraw, withdrawal.sale, answer_.status.epoch,
                       withdrawal.id, withdrawal.units, withdrawal.who, withdrawal.key,
                       withdrawal.partition});
    }
    parts_.log.return_room(withdrawal.partition);
    if (answer_.how != AttemptAnswer::How::decided) {
        return tl::make_unexpected(Stop(refusal_without_decision(withdrawal.id)));
    }
    if (answer_.decision == Decision::held_and_seen) return kDurableAlready;
    return tl::make_unexpected(Stop(refusal_by_sale()));
}

Step<std::optional<Reservation>> AttemptOutcome::of_key(const PurchaseRequest& request) {
    if (answer_.how != AttemptAnswer::How::decided) {
        Refusal refusal = refusal_without_decision(request.order_id);
        refusal.order_id.reset(); // it was only a question
        return tl::make_unexpected(Stop(refusal));
    }
    if (answer_.decision == Decision::key_is_free) return std::optional<Reservation>();
    if (answer_.decision == Decision::bound_pending) {
        const auto pending = parse_record(answer_.detail);
        if (!pending) return tl::make_unexpected(Stop(refusal_by_sale()));
        if (!parts_.log.take_room(request.partition)) {
            Stop stop = log_refuses(parts_.log, request.partition);
            if (auto* refusal = std::get_if<Refusal>(&stop)) refusal->order_id = pending->order;
            return tl::make_unexpected(std::move(stop));
        }
        const LogPosition position = append_again(*pending, request.partition);
        return Reservation{pending->order, pending->quantity, position, true};
    }
    const auto bound = parse_order(answer_.detail);
    if (answer_.decision == Decision::bound && bound) {
        return Reservation{*bound, request.quantity, kDurableAlready, true};
    }
    return tl::make_unexpected(Stop(refusal_by_sale()));
}

} // namespace doorbuster::redis
