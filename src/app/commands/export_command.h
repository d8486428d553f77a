// `doorbuster export orders`: a sale's orders as CSV, NDJSON or a JSON list, streamed: memory does
// not grow with their number. From a running server, or through CommandContext::offline_export.
// Runs on the main thread.
#pragma once

#include <cstdint>
#include <iosfwd>

#include "app/commands/command_context.h"

namespace doorbuster {

enum class ExportFormat : std::uint8_t { csv, ndjson, json };

// Both outlive the parsing of the command line.
void add_export_command(CLI::App& app, CommandContext& context);

// Writes orders to a stream in one format: begin(), write() for each, end(). An error is the
// stream's, which is then of no more use.
class OrderStream {
public:
    OrderStream(std::ostream& out, ExportFormat format) : out_(out), format_(format) {}

    [[nodiscard]] Result<void> begin();
    [[nodiscard]] Result<void> write(const OrderRow& order);
    [[nodiscard]] Result<void> end();
    [[nodiscard]] std::int64_t count() const { return count_; }

private:
    [[nodiscard]] Result<void> check() const;

    std::ostream& out_;
    ExportFormat format_;
    std::int64_t count_ = 0;
};

} // namespace doorbuster
