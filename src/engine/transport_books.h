// What an audit needs of a log that several processes write. Blocking; audits take turns.
#pragma once

#include <memory>
#include <vector>

#include "engine/audit.h"
#include "ports/log_transport.h"

namespace doorbuster {

class TransportBooks final : public LogBooks {
public:
    explicit TransportBooks(LogTransport& transport) : transport_(transport) {}

    [[nodiscard]] LogWriters writers() const override { return LogWriters::several; }
    // Nothing above the store's position is pruned anyway: the topic's retention says so.
    [[nodiscard]] std::unique_ptr<LogPin> pin() override { return nullptr; }
    [[nodiscard]] Result<std::vector<LogPosition>> ends() override;
    // Records that cannot be read are left out: they are nobody's orders.
    [[nodiscard]] Result<std::vector<AuditTail::Entry>> read(LogPlace from,
                                                             LogPosition to) override;

private:
    LogTransport& transport_;
};

} // namespace doorbuster
