// `doorbuster bench stages`. Used by the main thread.
#pragma once

namespace CLI {
class App;
}

namespace doorbuster {

struct CommandContext;

void add_stages_command(CLI::App& bench, CommandContext& context);

} // namespace doorbuster
