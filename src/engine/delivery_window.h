// What one receiver of webhooks still has to be told: which event is next, when a failed one is due
// again, and how far the receiver has come. Decides only: no I/O, no clock, no randomness of its
// own. Owned by the dispatcher's thread.
//
// One event of an order is in flight at a time, and an order's events go in their order; different
// orders do not wait for each other. An event that keeps failing while others get through is set
// aside, with whatever follows it in its order, so that the cursor moves on and a restart repeats
// little; after a day it is parked.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "domain/ids.h"
#include "domain/time.h"
#include "ports/event_outbox.h"
#include "ports/event_sender.h"

namespace doorbuster {

struct DeliveryLimits {
    std::size_t window_max = 1'000;      // events in memory, about 1 KB each
    std::size_t in_flight_max = 16;      // requests at a time
    Duration backoff_first{500};         // of an event that failed; doubles, with full jitter
    Duration backoff_max{300'000};       // five minutes
    int failures_to_probe = 3;           // in a row: from then on one request at a time
    Duration probe_pause_max{30'000};    // between those; short, so that its return is noticed
    Duration retry_after_max{3'600'000}; // what a receiver may ask for
    std::int64_t aside_after = 3;        // attempts
    Duration park_after{86'400'000};     // a day
    // With more than half a window of events set aside, they are parked after an hour, so that the
    // others find room.
    std::size_t crowd = 500;
    Duration park_crowd_after{3'600'000};
};

// Both clocks at one instant: pauses are measured by the steady one, what is remembered over a
// restart by the other.
struct Moment {
    std::int64_t steady_ms = 0;
    TimePoint wall;
};

class DeliveryWindow {
public:
    explicit DeliveryWindow(DeliveryLimits limits) : limits_(limits) {}

    // Forgets everything but the requests in flight, and begins behind `cursor`.
    void restart(std::int64_t cursor);

    // Events that are set aside come first, then those behind the cursor; each by rising seq.
    void add_aside(AsideEvent event);
    void add(OutboxEvent event);
    // Looked at, and not wanted: everything up to `seq` has been read.
    void skip_to(std::int64_t seq) { read_seq_ = seq; }

    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] std::size_t room() const {
        return limits_.window_max - std::min(limits_.window_max, entries_.size());
    }
    [[nodiscard]] std::int64_t read_seq() const { return read_seq_; }
    [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
    // Does the receiver fail, so that it gets one request at a time?
    [[nodiscard]] bool is_probing() const { return failures_ >= limits_.failures_to_probe; }

    struct Attempt {
        std::uint64_t life = 0; // counts restarts
        std::int64_t seq = 0;
        OrderId order;
        const OutboxEvent* event = nullptr; // until anything is called again
    };
    // The event to send now; it is in flight until finished() is told of it.
    [[nodiscard]] std::optional<Attempt> next(const Moment& now);
    // When next() may have one, as a steady time; nullopt: not before something else happens.
    [[nodiscard]] std::optional<std::int64_t> next_due_ms() const;

    enum class Outcome : std::uint8_t {
        delivered,
        failed, // and is tried again
        parked, // failed for good
        stale,  // was sent before a restart; it does not matter any more
    };
    // `random` in [0, 1) spreads the pauses.
    Outcome finished(const Attempt& attempt, const SendResult& result, const Moment& now,
                     double random);

    // For the endpoint's record. The receiver has failed at every attempt since:
    [[nodiscard]] std::optional<TimePoint> failing_since() const { return failing_since_; }
    [[nodiscard]] const std::string& last_error() const { return last_error_; }
    void set_failing_since(std::optional<TimePoint> since) { failing_since_ = since; }

    // What is to be saved: the cursor, and changes of what is set aside. saved() says that it was.
    struct Settled {
        std::int64_t cursor = 0;
        std::vector<DeliveryProgress::Aside> set_aside;
        std::vector<std::int64_t> delivered;
    };
    [[nodiscard]] Settled settle();
    void saved();

    struct Waiting {
        const OutboxEvent* event = nullptr;
        std::int64_t attempts = 0;
        std::optional<TimePoint> failing_since;
        std::string last_error;
    };
    // For people: what is in the window behind `after`, by seq.
    [[nodiscard]] std::vector<Waiting> list(std::int64_t after, std::size_t limit) const;

private:
    struct Entry {
        OutboxEvent event;
        std::int64_t attempts = 0;
        std::optional<TimePoint> failing_since;
        std::string last_error;
        std::int64_t due_ms = INT64_MIN;
        std::uint64_t successes_before = 0; // the receiver's, at this event's first failure
        bool others_got_through = false;    // since then
        bool is_aside = false;
        bool is_unsaved = false; // its row must be written
    };
    using Entries = std::map<std::int64_t, Entry>;

    void insert(Entry entry);
    void remove(Entries::iterator at);
    // The order's first event may go when no other one of it is in flight.
    void make_ready(const OrderId& order);
    [[nodiscard]] std::int64_t pause_ms(std::int64_t failures, Duration max, double random) const;
    [[nodiscard]] static DeliveryProgress::Aside row_of(std::int64_t seq, const Entry& entry,
                                                        AsideState state);

    DeliveryLimits limits_;
    std::uint64_t life_ = 0;
    std::int64_t read_seq_ = 0;
    Entries entries_;
    std::unordered_map<OrderId, std::set<std::int64_t>, OrderIdHash> orders_;
    std::set<std::pair<std::int64_t, std::int64_t>> ready_; // due and seq of events that may go
    std::unordered_set<OrderId, OrderIdHash> busy_;         // orders with a request in flight
    std::size_t in_flight_ = 0;
    std::size_t aside_ = 0;
    std::vector<DeliveryProgress::Aside> parked_; // not saved yet
    std::vector<std::int64_t> delivered_aside_;   // the same

    std::uint64_t successes_ = 0;
    std::int64_t failures_ = 0; // in a row
    std::int64_t probe_due_ms_ = INT64_MIN;
    std::optional<TimePoint> failing_since_;
    std::string last_error_;
};

} // namespace doorbuster
