// The order log in Kafka as a serving process has it: the transport, the log on top of it, who
// watches the store, and where audits read. Owned by the assembly.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "adapters/kafka/feed.h"
#include "adapters/kafka/transport.h"
#include "adapters/sql/order_store.h"
#include "app/config.h"
#include "base/result.h"
#include "engine/read_back_log.h"
#include "engine/store_watch.h"
#include "engine/transport_books.h"
#include "runtime/clock.h"
#include "runtime/core.h"

namespace doorbuster {

// From the settings, for a store that names `store_log_id` (or none yet).
[[nodiscard]] kafka::OpenOptions kafka_options(const Config& config, std::string store_log_id,
                                               std::string new_log_id);

// Rule 2 of design.md section 4: the store names its log. A new store takes this one's name;
// Errc::foreign_log when it has another's.
[[nodiscard]] Result<void> bind_shared_log(sql::SqlOrderStore& store, const std::string& log_id);

struct KafkaLog {
    std::unique_ptr<kafka::KafkaTransport> transport;
    std::unique_ptr<ReadBackLog> log;
    std::unique_ptr<TransportBooks> books;
    std::unique_ptr<StoreWatch> watch;

    // Nothing is read before start(). Errc::unavailable while no broker answers.
    [[nodiscard]] static Result<KafkaLog> open(const Config& config, sql::SqlOrderStore& store,
                                               Cores& cores, const Clock& clock,
                                               ReadBackLog::Options options);
    // Blocking. Reads from where the store is.
    [[nodiscard]] Result<void> start(sql::SqlOrderStore& store);
    void stop(Duration wait_max);
};

// What an order writer reads from this log.
[[nodiscard]] Result<std::unique_ptr<kafka::KafkaFeed>> open_feed(const Config& config,
                                                                  sql::SqlOrderStore& store);

} // namespace doorbuster
