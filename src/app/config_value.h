// A setting's value from what a person wrote: a node of the file, or the text of an environment
// variable or flag. Pure functions; whether the value keeps its row's rules is asked elsewhere.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <toml++/toml.h>

#include "app/config_keys.h"

namespace doorbuster {

// Why a text is no value of the row's type.
struct UnfitValue {
    std::string given;       // as a message repeats it
    std::string reason = {}; // where the row's allowed_words() do not say it: a sentence's end
};
using ConvertedValue = tl::expected<ConfigValue, UnfitValue>;

[[nodiscard]] ConvertedValue convert_node(const ConfigKey& key, const toml::node& node);
[[nodiscard]] ConvertedValue convert_text(const ConfigKey& key, std::string_view text);

// At most so much of a wrong value as a message repeats, cut between characters.
[[nodiscard]] std::string shortened(std::string_view text);

} // namespace doorbuster
