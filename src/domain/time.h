// Points in time as the contract writes them. Pure: nobody here reads a clock.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace doorbuster {

using Duration = std::chrono::milliseconds;
using TimePoint = std::chrono::sys_time<std::chrono::milliseconds>; // UTC

// RFC 3339 with milliseconds: "2026-11-27T09:00:00.000Z".
[[nodiscard]] std::string to_rfc3339(TimePoint time);
// Any RFC 3339 date-time, with an offset or Z; finer than a millisecond is cut off. Years 1970 to
// 9999. nullopt when it is not one.
[[nodiscard]] std::optional<TimePoint> parse_rfc3339(std::string_view text);

} // namespace doorbuster
