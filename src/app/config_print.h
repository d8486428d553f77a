// The effective settings for people and programs, each with where it comes from, secrets masked.
#pragma once

#include <string>

#include "app/config.h"

namespace doorbuster {

// A TOML file that means the same settings, but for the secrets, which read "********".
[[nodiscard]] std::string config_as_toml(const ConfigReading& reading);
// {"server":{"listen":{"value":"127.0.0.1:8080","source":"default"},…},…}
[[nodiscard]] std::string config_as_json(const ConfigReading& reading);

} // namespace doorbuster
