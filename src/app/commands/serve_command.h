// `doorbuster serve`: everything in one process, until a signal stops it.
#pragma once

#include "app/commands/command_context.h"

namespace doorbuster {

void add_serve_command(CLI::App& app, CommandContext& context);

} // namespace doorbuster
