#include "engine/delivery_window.h"

namespace doorbuster {

void DeliveryWindow::restart(std::int64_t cursor) {
    ++life_;
    read_seq_ = cursor;
    entries_.clear();
    orders_.clear();
    ready_.clear();
    aside_ = 0;
    parked_.clear();
    delivered_aside_.clear();
    failures_ = 0;
    probe_due_ms_ = INT64_MIN;
    failing_since_.reset();
}

void DeliveryWindow::add_aside(AsideEvent event) {
    Entry entry;
    entry.event = std::move(event.event);
    entry.attempts = event.attempts;
    entry.failing_since = event.failing_since;
    entry.last_error = std::move(event.last_error);
    entry.others_got_through = true; // else it had not been set aside
    entry.is_aside = true;
    ++aside_;
    insert(std::move(entry));
}

void DeliveryWindow::add(OutboxEvent event) {
    read_seq_ = event.seq;
    Entry entry;
    entry.event = std::move(event);
    insert(std::move(entry));
}

void DeliveryWindow::insert(Entry entry) {
    const std::int64_t seq = entry.event.seq;
    const OrderId order = entry.event.order.id;
    entries_.emplace(seq, std::move(entry));
    auto& of_order = orders_[order];
    of_order.insert(seq);
    if (*of_order.begin() == seq) make_ready(order);
}

void DeliveryWindow::remove(Entries::iterator at) {
    const std::int64_t seq = at->first;
    const OrderId order = at->second.event.order.id;
    if (at->second.is_aside) --aside_;
    entries_.erase(at);
    const auto of_order = orders_.find(order);
    of_order->second.erase(seq);
    if (of_order->second.empty()) orders_.erase(of_order);
}

void DeliveryWindow::make_ready(const OrderId& order) {
    const auto of_order = orders_.find(order);
    if (of_order == orders_.end() || busy_.contains(order)) return;
    const std::int64_t seq = *of_order->second.begin();
    ready_.emplace(entries_.at(seq).due_ms, seq);
}

std::optional<DeliveryWindow::Attempt> DeliveryWindow::next(const Moment& now) {
    if (ready_.empty() || in_flight_ >= limits_.in_flight_max) return std::nullopt;
    auto chosen = ready_.begin();
    if (chosen->first > now.steady_ms) return std::nullopt;
    if (is_probing()) {
        if (in_flight_ > 0 || now.steady_ms < probe_due_ms_) return std::nullopt;
        // Another event each time: one that nobody could take must not stand for the receiver.
        for (auto at = chosen; at != ready_.end() && at->first <= now.steady_ms; ++at) {
            const std::int64_t attempts = entries_.at(at->second).attempts;
            const std::int64_t least = entries_.at(chosen->second).attempts;
            if (attempts < least || (attempts == least && at->second < chosen->second)) chosen = at;
        }
    }
    const std::int64_t seq = chosen->second;
    ready_.erase(chosen);
    const OutboxEvent& event = entries_.at(seq).event;
    busy_.insert(event.order.id);
    ++in_flight_;
    return Attempt{life_, seq, event.order.id, &event};
}

std::optional<std::int64_t> DeliveryWindow::next_due_ms() const {
    if (ready_.empty() || in_flight_ >= limits_.in_flight_max) return std::nullopt;
    const std::int64_t due = ready_.begin()->first;
    if (!is_probing()) return due;
    if (in_flight_ > 0) return std::nullopt;
    return std::max(due, probe_due_ms_);
}

// Full jitter: anything between nothing and the doubled pause
// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
std::int64_t DeliveryWindow::pause_ms(std::int64_t failures, Duration max, double random) const {
    std::int64_t bound = limits_.backoff_first.count();
    for (std::int64_t i = 1; i < failures && bound < max.count(); ++i) bound *= 2;
    bound = std::min<std::int64_t>(bound, max.count());
    return static_cast<std::int64_t>(random * static_cast<double>(bound));
}

DeliveryWindow::Outcome DeliveryWindow::finished(const Attempt& attempt, const SendResult& result,
                                                 const Moment& now, double random) {
    --in_flight_;
    busy_.erase(attempt.order);
    const auto at = attempt.life == life_ ? entries_.find(attempt.seq) : entries_.end();
    if (at == entries_.end()) {
        make_ready(attempt.order);
        return Outcome::stale;
    }
    Entry& entry = at->second;
    if (result.kind == SendResult::Kind::delivered) {
        ++successes_;
        failures_ = 0;
        failing_since_.reset();
        if (entry.is_aside) delivered_aside_.push_back(attempt.seq);
        remove(at);
        make_ready(attempt.order);
        return Outcome::delivered;
    }
    const Duration asked =
        std::clamp(result.retry_after.value_or(Duration(0)), Duration(0), limits_.retry_after_max);
    ++failures_;
    if (!failing_since_) failing_since_ = now.wall;
    last_error_ = result.detail;
    probe_due_ms_ =
        now.steady_ms +
        std::max<std::int64_t>(pause_ms(failures_, limits_.probe_pause_max, random), asked.count());

    ++entry.attempts;
    entry.last_error = result.detail;
    if (!entry.failing_since) entry.failing_since = now.wall;
    if (entry.attempts == 1) entry.successes_before = successes_;
    // Patience begins when the event is at fault, not the receiver that was away.
    if (!entry.others_got_through && successes_ > entry.successes_before) {
        entry.others_got_through = true;
        entry.failing_since = now.wall;
    }
    entry.is_unsaved = entry.is_unsaved || entry.is_aside;
    const Duration patience =
        aside_ > limits_.crowd ? limits_.park_crowd_after : limits_.park_after;
    if (entry.others_got_through && now.wall - *entry.failing_since >= patience) {
        parked_.push_back(row_of(attempt.seq, entry, AsideState::parked));
        remove(at);
        make_ready(attempt.order);
        return Outcome::parked;
    }
    entry.due_ms = now.steady_ms +
                   std::max<std::int64_t>(pause_ms(entry.attempts, limits_.backoff_max, random),
                                          asked.count());
    make_ready(attempt.order);
    return Outcome::failed;
}

DeliveryProgress::Aside DeliveryWindow::row_of(std::int64_t seq, const Entry& entry,
                                               AsideState state) {
    return {seq, state, entry.attempts, entry.failing_since, entry.last_error};
}

DeliveryWindow::Settled DeliveryWindow::settle() {
    Settled settled;
    settled.cursor = read_seq_;
    for (auto& [seq, entry] : entries_) {
        if (!entry.is_aside) {
            const std::int64_t first = *orders_.at(entry.event.order.id).begin();
            const bool is_behind = first != seq && entries_.at(first).is_aside;
            const bool is_stubborn =
                entry.attempts >= limits_.aside_after && entry.others_got_through;
            if (!is_behind && !is_stubborn) {
                settled.cursor = seq - 1;
                break;
            }
            entry.is_aside = true;
            entry.is_unsaved = true;
            ++aside_;
        }
        if (entry.is_unsaved) {
            settled.set_aside.push_back(row_of(seq, entry, AsideState::retrying));
        }
    }
    settled.set_aside.insert(settled.set_aside.end(), parked_.begin(), parked_.end());
    settled.delivered = delivered_aside_;
    return settled;
}

void DeliveryWindow::saved() {
    for (auto& [seq, entry] : entries_) {
        if (!entry.is_aside) break;
        entry.is_unsaved = false;
    }
    parked_.clear();
    delivered_aside_.clear();
}

std::vector<DeliveryWindow::Waiting> DeliveryWindow::list(std::int64_t after,
                                                          std::size_t limit) const {
    std::vector<Waiting> waiting;
    for (auto at = entries_.upper_bound(after); at != entries_.end() && waiting.size() < limit;
         ++at) {
        const Entry& entry = at->second;
        waiting.push_back({&entry.event, entry.attempts, entry.failing_since, entry.last_error});
    }
    return waiting;
}

} // namespace doorbuster
