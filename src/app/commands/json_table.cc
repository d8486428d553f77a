#include "app/commands/json_table.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "app/table.h"

namespace doorbuster {

namespace json = boost::json;

std::string words(const json::value& value) {
    if (value.is_null()) return "-";
    if (value.is_string()) return std::string(value.as_string());
    if (value.is_int64()) return grouped(value.as_int64());
    if (value.is_bool()) return value.as_bool() ? "yes" : "no";
    return json::serialize(value);
}

std::string spaced(std::string_view name) {
    std::string out(name);
    std::ranges::replace(out, '_', ' ');
    return out;
}

std::string object_text(const json::object& object) {
    Table table({{""}, {""}});
    for (const auto& [name, value] : object) table.add({spaced(name), words(value)});
    return table.text(Colour::off);
}

} // namespace doorbuster
