// docs/openapi.yaml, as it was when this was built.
#pragma once

#include <string_view>

namespace doorbuster {

[[nodiscard]] std::string_view openapi_document();
[[nodiscard]] const char* version(); // of doorbuster

} // namespace doorbuster
