// `doorbuster load`: the command line of app/load/load.h.
#pragma once

#include <optional>
#include <string_view>

#include "app/commands/command_context.h"
#include "domain/ids.h"
#include "domain/time.h"

namespace doorbuster {

// Adds the subcommand to `app`. When it was given, parsing runs it and sets the exit status of
// `context`: kExitFailed also when it met an answer that it cannot explain. Both outlive the
// parsing of the command line.
void add_load_command(CLI::App& app, CommandContext& context);

// "90s", "15m", "500ms", "1h"; a number without a unit is seconds. nullopt when it is none of
// these, not above 0, or above a year.
[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text);

struct QuantityRange {
    Units min = 1;
    Units max = 1;
};
// "2" or "1-3".
[[nodiscard]] std::optional<QuantityRange> parse_quantity(std::string_view text);

} // namespace doorbuster
