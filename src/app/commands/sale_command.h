// `doorbuster sale create|list|show|edit|extend|pause|resume|close|restock`: administers a running
// server. Runs on the main thread.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "app/commands/command_context.h"

namespace doorbuster {

// Both outlive the parsing of the command line.
void add_sale_command(CLI::App& app, CommandContext& context);

// "0", or a whole number with s, m, h or d: "90s", "15m".
[[nodiscard]] std::optional<std::chrono::seconds> parse_seconds(std::string_view text);

} // namespace doorbuster
