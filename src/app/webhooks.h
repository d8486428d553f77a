// The webhooks of a server: the outbox's reading side, the sender, the dispatcher between them.
// Built by the assembly when the settings name endpoints; owned by the main thread.
#pragma once

#include <cstdint>
#include <memory>

#include "adapters/sql/outbox.h"
#include "adapters/webhook/http_event_sender.h"
#include "app/config.h"
#include "base/result.h"
#include "engine/webhook_dispatcher.h"
#include "engine/webhook_service.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"

namespace doorbuster {

struct Webhooks {
    std::unique_ptr<sql::SqlEventOutbox> outbox;
    std::unique_ptr<webhook::HttpEventSender> sender;
    std::unique_ptr<WebhookDispatcher> dispatcher;
    std::unique_ptr<WebhookService> service;
};

// Makes the endpoints known to the store; nothing is sent before the dispatcher is started. The
// store, the clock and the pool outlive what is returned. `seed` is of the pauses' jitter.
[[nodiscard]] Result<Webhooks> open_webhooks(const WebhooksConfig& config,
                                             sql::SqlOrderStore& store, const Clock& clock,
                                             BlockingPool& blocking, std::uint64_t seed);

} // namespace doorbuster
