// What cmake/EmbedPages.cmake takes where the pages cannot be built, or are not wanted.
#include "app/stages/report_page.h"
#include "app/web_pages.h"

namespace doorbuster {

std::span<const http::WebFile> web_pages() { return {}; }

std::string_view stages::report_page() { return {}; }

} // namespace doorbuster
