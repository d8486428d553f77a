// `doorbuster log dead`: the orders that the order store did not take, for an operator: what they
// are, storing them after all, giving them up. Works on the store itself, without a server.
#pragma once

#include "app/commands/command_context.h"

namespace doorbuster {

// Adds the command to `app`; both outlive the parsing.
void add_log_command(CLI::App& app, CommandContext& context);

} // namespace doorbuster
