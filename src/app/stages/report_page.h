// The page of `bench stages --html` as it was when this was built (web/report): it draws what
// stands in its element `report-data`. Empty where there was no Node.js to build it.
#pragma once

#include <string_view>

namespace doorbuster::stages {

[[nodiscard]] std::string_view report_page();

} // namespace doorbuster::stages
