// The console and the storefront with what they load, as they were when this was built: bytes made
// by cmake/EmbedPages.cmake from web/. Empty where there was no Node.js to build them.
#pragma once

#include <span>

#include "adapters/http/pages.h"

namespace doorbuster {

[[nodiscard]] std::span<const http::WebFile> web_pages();

} // namespace doorbuster
