// What `bench stages` found, for people and for programs. Pure.
#pragma once

#include <string>

#include "app/stages/stages.h"
#include "base/result.h"

namespace doorbuster::stages {

// One JSON document, without a newline at its end. `with_curves`: with what only the pictures need.
enum class Curves : std::uint8_t { left_out, included };
[[nodiscard]] std::string to_json(const Report& report, Curves curves);
// A row a stage and load: medians, and beside each the least and the greatest of the rounds.
// RFC 4180, with a header.
[[nodiscard]] std::string to_csv(const Report& report);
// A table a load, for a terminal.
[[nodiscard]] std::string to_text(const Report& report);
[[nodiscard]] std::string to_markdown(const Report& report);
// One file with everything in it. Errc::invalid: this binary was built without Node, so that it has
// no page for the report.
[[nodiscard]] Result<std::string> to_html(const Report& report);

} // namespace doorbuster::stages
