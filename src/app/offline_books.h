// The books as the store and the log have them, whatever they are kept in: for `audit` and `export`
// without a server, also while servers run. Read-only. Called on the main thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/commands/command_context.h"
#include "app/config.h"
#include "base/result.h"

namespace doorbuster {

// As OfflineAudit and OfflineExport say.
[[nodiscard]] Result<std::vector<AuditRow>> audit_offline(const Config& config,
                                                          const std::optional<std::string>& sale);
[[nodiscard]] Result<void> export_offline(const Config& config, const std::string& sale,
                                          const OrderSink& sink);

} // namespace doorbuster
