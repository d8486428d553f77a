// `doorbuster load`: the command line of app/load/load.h.
#pragma once

#include <optional>
#include <string_view>

#include "domain/ids.h"
#include "domain/time.h"

namespace CLI {
class App;
}

namespace doorbuster {

// Adds the subcommand to `app`. When it was given, parsing runs it and sets `exit_code`, which
// outlives the app: 0 every answer is explained; 1 it failed, or met an answer that it cannot
// explain; 2 the command line is wrong.
CLI::App* add_load_command(CLI::App& app, int& exit_code);

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
