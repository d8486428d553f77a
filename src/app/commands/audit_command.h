// `doorbuster audit`: do the books balance? Asks a running server, or reads store and log through
// CommandContext::offline_audit. Runs on the main thread.
#pragma once

#include "app/commands/command_context.h"

namespace doorbuster {

// Both outlive the parsing of the command line.
void add_audit_command(CLI::App& app, CommandContext& context);

} // namespace doorbuster
