// A server's JSON for people: an object as a table of its members. Values, used by one command's
// thread.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>

namespace doorbuster {

// A member's value in words; "-" for null.
[[nodiscard]] std::string words(const boost::json::value& value);
// "per_user_limit" as "per user limit".
[[nodiscard]] std::string spaced(std::string_view name);
// One line a member: its name, its value.
[[nodiscard]] std::string object_text(const boost::json::object& object);

} // namespace doorbuster
