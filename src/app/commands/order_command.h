// `doorbuster order show|pay|cancel`: looks at one order of a running server, or changes it. Runs
// on the main thread.
#pragma once

#include "app/commands/command_context.h"

namespace doorbuster {

// Both outlive the parsing of the command line.
void add_order_command(CLI::App& app, CommandContext& context);

} // namespace doorbuster
