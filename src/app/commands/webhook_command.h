// `doorbuster webhook list|replay`: what a running server's receivers of webhooks have been told,
// and telling them again. Runs on the main thread.
#pragma once

#include "app/commands/command_context.h"

namespace doorbuster {

// Both outlive the parsing of the command line.
void add_webhook_command(CLI::App& app, CommandContext& context);

} // namespace doorbuster
