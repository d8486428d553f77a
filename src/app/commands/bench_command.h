// `doorbuster bench peak|writer`: measures on this machine, and says what it measured.
#pragma once

#include "app/commands/command_context.h"

namespace doorbuster {

void add_bench_command(CLI::App& app, CommandContext& context);

} // namespace doorbuster
