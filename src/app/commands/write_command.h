// `doorbuster write`: only the order writer, one of several of a cluster.
#pragma once

#include "app/commands/command_context.h"

namespace doorbuster {

void add_write_command(CLI::App& app, CommandContext& context);

} // namespace doorbuster
