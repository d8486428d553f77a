// The reading side of the outbox, in the order store's database. One session of its own, which its
// callers take turns with: neither the writer nor a buyer's read waits for one.
#pragma once

#include <memory>
#include <string>

#include "adapters/sql/order_store.h"
#include "ports/event_outbox.h"

namespace doorbuster::sql {

class SqlEventOutbox final : public EventOutbox {
public:
    // The store outlives the outbox.
    [[nodiscard]] static Result<std::unique_ptr<SqlEventOutbox>> open(SqlOrderStore& store);
    ~SqlEventOutbox() override;

    [[nodiscard]] Result<bool> try_lead() override;
    [[nodiscard]] Result<std::vector<EndpointRecord>>
    register_endpoints(std::span<const std::string> urls, TimePoint now,
                       TimePoint forget_before) override;
    [[nodiscard]] Result<std::vector<EndpointRecord>> list_endpoints() override;
    [[nodiscard]] Result<std::int64_t> last_seq() override;
    [[nodiscard]] Result<std::vector<OutboxEvent>> read(std::int64_t endpoint, std::int64_t after,
                                                        std::size_t limit) override;
    [[nodiscard]] Result<std::vector<AsideEvent>> read_aside(std::int64_t endpoint,
                                                             AsideState state, std::int64_t after,
                                                             std::size_t limit) override;
    [[nodiscard]] Result<void> save(std::span<const DeliveryProgress> progress) override;
    [[nodiscard]] Result<EndpointRecord> replay(std::int64_t endpoint, const ReplayRequest& request,
                                                TimePoint now) override;
    [[nodiscard]] Result<std::size_t> prune(TimePoint before, std::size_t events_max) override;

private:
    class Channel; // outbox.cc
    explicit SqlEventOutbox(std::unique_ptr<Channel> channel);
    [[nodiscard]] Result<void> number_all();

    std::unique_ptr<Channel> channel_;
    bool is_shared_ = false; // with other processes
};

} // namespace doorbuster::sql
