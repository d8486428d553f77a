// web/report, built, as it was when this was built: a page that draws what stands in its element
// `report-data`. Empty where there was no Node.
#pragma once

#include <string_view>

namespace doorbuster::stages {

[[nodiscard]] std::string_view report_page();

} // namespace doorbuster::stages
