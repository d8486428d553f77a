// What the section [webhooks] must keep beyond the form of each key. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "app/config.h"

namespace doorbuster {

// What is wrong with the endpoints, one line each and beginning with the key's name; repeats no
// secret and no URL, which may hold one. Secrets must have been read from their files.
[[nodiscard]] std::vector<std::string> webhook_problems(const WebhooksConfig& config);

} // namespace doorbuster
