// The outbox, from its reading side: what happened to orders, in the order in which it happened,
// and how far each receiver of webhooks has come. Blocking: never on a core; any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "domain/ids.h"
#include "domain/order.h"
#include "domain/time.h"

namespace doorbuster {

// One change of an order. `seq` grows in the order of the changes and is never used twice.
struct OutboxEvent {
    std::int64_t seq = 0;
    Order order; // as it was after the change; its version tells the order's events apart
    std::string sale_id;
    TimePoint at; // of the change
};

// Stable numbers: the store keeps them.
enum class EndpointState : std::uint8_t {
    active = 1,
    disabled = 2, // gets nothing until it is replayed
    removed = 3,  // not in the settings any more; forgotten after a while
};
[[nodiscard]] constexpr const char* to_string(EndpointState state) {
    switch (state) {
    case EndpointState::active: return "active";
    case EndpointState::disabled: return "disabled";
    case EndpointState::removed: return "removed";
    }
    return "unknown";
}

// What is remembered of an endpoint.
struct EndpointRecord {
    std::int64_t no = 0;     // the outbox's own name for it
    std::string url;         // its name
    std::int64_t cursor = 0; // every event up to here is delivered, set aside, or not wanted
    EndpointState state = EndpointState::active;
    TimePoint since;                        // in this state
    std::string reason;                     // of a disabled one, for people
    std::optional<TimePoint> failing_since; // its first failure after its last success
    std::string last_error;
    std::int64_t delivered = 0;
    std::int64_t parked = 0; // events set aside for good; counted by list_endpoints() only
    // Counts what operators did to it; save() compares it.
    std::int64_t revision = 0;
};

// An event that an endpoint did not take while others got through.
enum class AsideState : std::uint8_t {
    retrying = 1, // is tried again
    parked = 2,   // is not, until it is replayed
};

struct AsideEvent {
    OutboxEvent event;
    AsideState state = AsideState::retrying;
    std::int64_t attempts = 0;
    std::optional<TimePoint> failing_since;
    std::string last_error;
};

// What changed about one endpoint since it was saved last.
struct DeliveryProgress {
    EndpointRecord endpoint;
    struct Aside {
        std::int64_t seq = 0;
        AsideState state = AsideState::retrying;
        std::int64_t attempts = 0;
        std::optional<TimePoint> failing_since;
        std::string last_error;
    };
    std::vector<Aside> set_aside;        // new, or changed
    std::vector<std::int64_t> delivered; // were set aside, and are delivered now
};

// What an operator wants sent again. One of the three, or none of them: only go on.
struct ReplayRequest {
    std::optional<TimePoint> since; // every event of that time and later
    struct EventName {
        OrderId order;
        std::int64_t version = 0;
    };
    std::optional<EventName> event; // one
    bool parked = false;            // all that were set aside for good
};

class EventOutbox {
public:
    virtual ~EventOutbox() = default;

    // Of the processes that share a store one sends its webhooks: the one that leads. Becomes it,
    // if nobody is, or makes sure that it still is. The lead ends with the process or its
    // connection. True at once where no other process shares the store. Call it before the rest,
    // and now and then, and after any error; read the endpoints again (register_endpoints())
    // whenever it was lost in between.
    [[nodiscard]] virtual Result<bool> try_lead() = 0;

    // Says which endpoints the settings name, and returns their records in that order. A new one
    // starts at the end of the outbox; one that came back goes on where it was. All others are
    // `removed`, and forgotten once they have been so since before `forget_before`.
    [[nodiscard]] virtual Result<std::vector<EndpointRecord>>
    register_endpoints(std::span<const std::string> urls, TimePoint now,
                       TimePoint forget_before) = 0;
    // All records, removed ones too, by number.
    [[nodiscard]] virtual Result<std::vector<EndpointRecord>> list_endpoints() = 0;

    // The last event's seq; 0: there is none. Cheap enough to be asked many times a second. Events
    // get their seq, in an order that is the same for all, when the one that leads asks.
    [[nodiscard]] virtual Result<std::int64_t> last_seq() = 0;
    // Events behind `after`, without those that this endpoint has set aside.
    [[nodiscard]] virtual Result<std::vector<OutboxEvent>>
    read(std::int64_t endpoint, std::int64_t after, std::size_t limit) = 0;
    // The endpoint's events in this state, behind `after`.
    [[nodiscard]] virtual Result<std::vector<AsideEvent>>
    read_aside(std::int64_t endpoint, AsideState state, std::int64_t after, std::size_t limit) = 0;

    // All of it in one transaction. Errc::fenced when this process does not lead (any more);
    // Errc::conflict when an operator did something to an endpoint on another process: read the
    // endpoints again. A crash of the machine may take the last few saves back: the
    // same is then delivered again.
    [[nodiscard]] virtual Result<void> save(std::span<const DeliveryProgress> progress) = 0;
    // Makes the endpoint active and what is asked for undelivered again. Errc::not_found: there is
    // no such event (any more). Returns the record as it is now.
    [[nodiscard]] virtual Result<EndpointRecord>
    replay(std::int64_t endpoint, const ReplayRequest& request, TimePoint now) = 0;
    // Drops events that are older than `before` and that every active endpoint is past; at most
    // `events_max`, the oldest first. Returns how many.
    [[nodiscard]] virtual Result<std::size_t> prune(TimePoint before, std::size_t events_max) = 0;
};

} // namespace doorbuster
