// For tests: an outbox in memory that keeps the port's promises, and fails when the test says so.
// Any thread.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ports/event_outbox.h"

namespace doorbuster::fixture {

class FakeEventOutbox final : public EventOutbox {
public:
    // The test's side. Returns the event's seq.
    std::int64_t add(const OrderId& order, OrderStatus status, std::int64_t version,
                     TimePoint at = {}) {
        const std::lock_guard lock(mutex_);
        OutboxEvent event;
        event.seq = ++last_;
        event.order.id = order;
        event.order.user = "alice";
        event.order.quantity = 1;
        event.order.status = status;
        event.order.version = version;
        event.sale_id = "demo";
        event.at = at;
        events_.emplace(event.seq, event);
        return event.seq;
    }
    void fail_with(std::optional<Error> error) {
        const std::lock_guard lock(mutex_);
        failure_ = std::move(error);
    }
    [[nodiscard]] EndpointRecord record(const std::string& url) const {
        const std::lock_guard lock(mutex_);
        for (const EndpointRecord& record : records_) {
            if (record.url == url) return record;
        }
        return {};
    }
    [[nodiscard]] std::size_t events() const {
        const std::lock_guard lock(mutex_);
        return events_.size();
    }
    [[nodiscard]] std::size_t saves() const {
        const std::lock_guard lock(mutex_);
        return saves_;
    }
    [[nodiscard]] std::size_t largest_read() const {
        const std::lock_guard lock(mutex_);
        return largest_read_;
    }
    // How many events the endpoint has set aside in this state.
    [[nodiscard]] std::size_t aside(const std::string& url, AsideState state) const {
        const std::int64_t no = record(url).no;
        const std::lock_guard lock(mutex_);
        return static_cast<std::size_t>(std::ranges::count_if(aside_, [&](const auto& one) {
            return one.first.second == no && one.second.state == state;
        }));
    }

    // Does this process lead? At first it does.
    void set_leading(bool leading) {
        const std::lock_guard lock(mutex_);
        is_leading_ = leading;
    }
    // What another process that leads has got done meanwhile.
    void deliver_elsewhere(const std::string& url, std::int64_t cursor) {
        const std::lock_guard lock(mutex_);
        EndpointRecord& record = *std::ranges::find(records_, url, &EndpointRecord::url);
        record.delivered += cursor - record.cursor;
        record.cursor = cursor;
    }
    [[nodiscard]] std::size_t looks() const { // of every kind, at the events
        const std::lock_guard lock(mutex_);
        return looks_;
    }

    Result<bool> try_lead() override {
        const std::lock_guard lock(mutex_);
        if (failure_) return tl::make_unexpected(*failure_);
        return is_leading_;
    }
    Result<std::vector<EndpointRecord>> register_endpoints(std::span<const std::string> urls,
                                                           TimePoint now,
                                                           TimePoint forget_before) override {
        const std::lock_guard lock(mutex_);
        const auto is_named = [&](const EndpointRecord& record) {
            return std::ranges::find(urls, record.url) != urls.end();
        };
        std::erase_if(records_, [&](const EndpointRecord& record) {
            return !is_named(record) && record.state == EndpointState::removed &&
                   record.since < forget_before;
        });
        for (EndpointRecord& record : records_) {
            const bool is_removed = record.state == EndpointState::removed;
            if (is_named(record) != is_removed) continue;
            record.state = is_removed ? EndpointState::active : EndpointState::removed;
            record.since = now;
        }
        std::vector<EndpointRecord> named;
        for (const std::string& url : urls) {
            auto at = std::ranges::find(records_, url, &EndpointRecord::url);
            if (at == records_.end()) {
                EndpointRecord made;
                made.no = ++last_no_;
                made.url = url;
                made.cursor = last_;
                made.since = now;
                records_.push_back(made);
                at = std::prev(records_.end());
            }
            named.push_back(*at);
        }
        return named;
    }
    Result<std::vector<EndpointRecord>> list_endpoints() override {
        const std::lock_guard lock(mutex_);
        std::vector<EndpointRecord> all = records_;
        for (EndpointRecord& record : all) {
            record.parked = std::ranges::count_if(aside_, [&](const auto& one) {
                return one.first.second == record.no && one.second.state == AsideState::parked;
            });
        }
        return all;
    }
    Result<std::int64_t> last_seq() override {
        const std::lock_guard lock(mutex_);
        ++looks_;
        if (failure_) return tl::make_unexpected(*failure_);
        return events_.empty() ? 0 : events_.rbegin()->first;
    }
    Result<std::vector<OutboxEvent>> read(std::int64_t endpoint, std::int64_t after,
                                          std::size_t limit) override {
        const std::lock_guard lock(mutex_);
        ++looks_;
        if (failure_) return tl::make_unexpected(*failure_);
        largest_read_ = std::max(largest_read_, limit);
        std::vector<OutboxEvent> found;
        for (auto at = events_.upper_bound(after); at != events_.end() && found.size() < limit;
             ++at) {
            if (!aside_.contains({at->first, endpoint})) found.push_back(at->second);
        }
        return found;
    }
    Result<std::vector<AsideEvent>> read_aside(std::int64_t endpoint, AsideState state,
                                               std::int64_t after, std::size_t limit) override {
        const std::lock_guard lock(mutex_);
        if (failure_) return tl::make_unexpected(*failure_);
        std::vector<AsideEvent> found;
        for (const auto& [key, row] : aside_) {
            if (key.second != endpoint || row.state != state || key.first <= after) continue;
            if (found.size() == limit) break;
            found.push_back({events_.at(key.first), row.state, row.attempts, row.failing_since,
                             row.last_error});
        }
        return found;
    }
    Result<void> save(std::span<const DeliveryProgress> progress) override {
        const std::lock_guard lock(mutex_);
        if (failure_) return tl::make_unexpected(*failure_);
        if (!is_leading_) return fail(Errc::fenced);
        for (const DeliveryProgress& one : progress) {
            if (find(one.endpoint.no)->revision != one.endpoint.revision) {
                return fail(Errc::conflict);
            }
        }
        ++saves_;
        for (const DeliveryProgress& one : progress) {
            *find(one.endpoint.no) = one.endpoint;
            for (const auto& row : one.set_aside) aside_[{row.seq, one.endpoint.no}] = row;
            for (const std::int64_t seq : one.delivered) aside_.erase({seq, one.endpoint.no});
        }
        return {};
    }
    Result<EndpointRecord> replay(std::int64_t endpoint, const ReplayRequest& request,
                                  TimePoint now) override {
        const std::lock_guard lock(mutex_);
        EndpointRecord& record = *find(endpoint);
        if (request.since) {
            const auto first = std::ranges::find_if(
                events_, [&](const auto& one) { return one.second.at >= *request.since; });
            if (first != events_.end() && first->first <= record.cursor) {
                record.cursor = first->first - 1;
                std::erase_if(aside_, [&](const auto& one) {
                    return one.first.second == endpoint && one.first.first > record.cursor;
                });
            }
        }
        if (request.event) {
            const auto named = std::ranges::find_if(events_, [&](const auto& one) {
                return one.second.order.id == request.event->order &&
                       one.second.order.version == request.event->version;
            });
            if (named == events_.end()) return fail(Errc::not_found);
            const std::pair key(named->first, endpoint);
            aside_.erase(key);
            if (named->first <= record.cursor) aside_[key].seq = named->first;
        }
        if (request.parked) {
            std::erase_if(aside_, [&](const auto& one) {
                return one.first.second == endpoint && one.first.first > record.cursor;
            });
            for (auto& [key, row] : aside_) {
                if (key.second != endpoint || row.state != AsideState::parked) continue;
                row = {key.first, AsideState::retrying, 0, {}, {}};
            }
        }
        if (record.state != EndpointState::active) record.since = now;
        record.state = EndpointState::active;
        record.reason.clear();
        record.failing_since.reset();
        ++record.revision;
        return record;
    }
    Result<std::size_t> prune(TimePoint before, std::size_t events_max) override {
        const std::lock_guard lock(mutex_);
        if (failure_) return tl::make_unexpected(*failure_);
        std::int64_t up_to = INT64_MAX;
        for (const EndpointRecord& record : records_) {
            if (record.state == EndpointState::active) up_to = std::min(up_to, record.cursor);
        }
        const auto is_held = [&](std::int64_t seq) {
            return std::ranges::any_of(aside_, [&](const auto& one) {
                return one.first.first == seq && one.second.state == AsideState::retrying &&
                       find(one.first.second)->state == EndpointState::active;
            });
        };
        std::size_t pruned = 0;
        for (auto at = events_.begin(); at != events_.end() && pruned < events_max;) {
            if (at->first > up_to || at->second.at >= before) break;
            const std::int64_t seq = at->first;
            if (is_held(seq)) {
                ++at;
                continue;
            }
            at = events_.erase(at);
            std::erase_if(aside_, [&](const auto& one) { return one.first.first == seq; });
            ++pruned;
        }
        return pruned;
    }

private:
    EndpointRecord* find(std::int64_t no) {
        return &*std::ranges::find(records_, no, &EndpointRecord::no);
    }

    mutable std::mutex mutex_; // guards everything below
    std::map<std::int64_t, OutboxEvent> events_;
    std::vector<EndpointRecord> records_;
    std::map<std::pair<std::int64_t, std::int64_t>, DeliveryProgress::Aside> aside_;
    bool is_leading_ = true;
    std::int64_t last_ = 0;
    std::int64_t last_no_ = 0;
    std::size_t saves_ = 0;
    std::size_t largest_read_ = 0;
    std::size_t looks_ = 0;
    std::optional<Error> failure_;
};

} // namespace doorbuster::fixture
