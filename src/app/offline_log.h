// The order log, read from outside: for commands that read the books without a server, also while
// servers run. Touches nothing: it takes no lock, makes no topic, joins no group. Blocking; used by
// one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapters/sqlite/log_file.h"
#include "app/config.h"
#include "base/result.h"
#include "engine/audit.h"

namespace doorbuster {

class OfflineLog : public LogBooks {
public:
    // By which the store knows it.
    [[nodiscard]] virtual const std::string& id() const = 0;
    // The records of one partition in [from, to), a part at a time in memory. Ends with the first
    // error that `take` returns.
    using Take = std::function<Result<void>(AuditTail::Entry&& entry)>;
    [[nodiscard]] virtual Result<void> for_each(LogPlace from, LogPosition to,
                                                const Take& take) = 0;

    // Nobody waits for us: what is pruned meanwhile is an error of the reading.
    [[nodiscard]] std::unique_ptr<LogPin> pin() override { return nullptr; }
    [[nodiscard]] Result<std::vector<AuditTail::Entry>> read(LogPlace from,
                                                             LogPosition to) override;
};

// A log file as it stood at one moment. Its end is the last position that there can be: all that it
// holds was in it at that moment.
class SnapshotLog final : public OfflineLog {
public:
    explicit SnapshotLog(sqlite::LogSnapshot snapshot) : snapshot_(std::move(snapshot)) {}
    [[nodiscard]] const std::string& id() const override { return snapshot_.id(); }
    [[nodiscard]] LogWriters writers() const override { return LogWriters::one; }
    [[nodiscard]] Result<std::vector<LogPosition>> ends() override;
    [[nodiscard]] Result<void> for_each(LogPlace from, LogPosition to, const Take& take) override;

private:
    sqlite::LogSnapshot snapshot_;
};

// The log that the settings name, of a store that takes its orders from log `store_log_id`.
// Errc::foreign_log when it is another one, or gone; Errc::unavailable or timeout when it does not
// answer.
[[nodiscard]] Result<std::unique_ptr<OfflineLog>> open_offline_log(const Config& config,
                                                                   const std::string& store_log_id);

} // namespace doorbuster
