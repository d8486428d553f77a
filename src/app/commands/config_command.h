// `doorbuster config check|show`: is the configuration right, and what is in force? Runs on the
// main thread.
#pragma once

#include "app/commands/command_context.h"

namespace doorbuster {

// Both outlive the parsing of the command line.
void add_config_command(CLI::App& app, CommandContext& context);

} // namespace doorbuster
