// Sending one event to one receiver. Used by the webhook dispatcher, on its own thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "domain/time.h"
#include "runtime/task.h"

namespace doorbuster {

struct EventMessage {
    std::string id;   // the same at every attempt: receivers tell duplicates by it
    std::string body; // a CloudEvent in JSON
};

struct SendResult {
    enum class Kind : std::uint8_t {
        delivered, // 2xx
        failed,    // anything else: try again later
        gone,      // 410: the receiver wants nothing any more
    };
    Kind kind = Kind::failed;
    std::string detail; // for people: "500", "connection refused"; never the secret
    std::optional<Duration> retry_after; // the receiver asked for it; at most an hour
};

class EventSender {
public:
    virtual ~EventSender() = default;
    // One attempt, bounded in time; any number at once. `endpoint` is the index in the settings.
    // `message` lives until the Task ends. Never throws.
    virtual Task<SendResult> send(std::size_t endpoint, const EventMessage& message) = 0;
    // Drops the connections that are kept open. The owner of the io_context calls it before that
    // io_context goes away, when nothing runs on it any more (the thread may be joined already).
    virtual void close() {}
};

} // namespace doorbuster
