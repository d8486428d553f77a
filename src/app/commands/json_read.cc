#include "app/commands/json_read.h"

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

namespace doorbuster {

namespace json = boost::json;

JsonReader::JsonReader(const json::value& value, std::string_view what)
    : object_(value.if_object()), what_(what) {
    if (object_ == nullptr) problem_ = fmt::format("the answer is not {}", what_);
}

std::string JsonReader::text(std::string_view name) {
    const json::value* value = find(name);
    if (value != nullptr && value->is_string()) return std::string(value->as_string());
    unfit(name, "a text");
    return {};
}

std::int64_t JsonReader::whole(std::string_view name) {
    const json::value* value = find(name);
    if (value != nullptr && value->is_int64()) return value->as_int64();
    unfit(name, "a whole number");
    return 0;
}

bool JsonReader::yes(std::string_view name) {
    const json::value* value = find(name);
    if (value != nullptr && value->is_bool()) return value->as_bool();
    unfit(name, "true or false");
    return false;
}

std::optional<std::string> JsonReader::text_if_any(std::string_view name) {
    const json::value* value = find(name);
    if (value == nullptr || value->is_null()) return std::nullopt;
    return text(name);
}

std::optional<std::int64_t> JsonReader::whole_if_any(std::string_view name) {
    const json::value* value = find(name);
    if (value == nullptr || value->is_null()) return std::nullopt;
    return whole(name);
}

const json::object* JsonReader::object(std::string_view name) {
    const json::value* value = find(name);
    const json::object* out = value == nullptr ? nullptr : value->if_object();
    if (out == nullptr) unfit(name, "an object");
    return out;
}

const json::array* JsonReader::array(std::string_view name) {
    const json::value* value = find(name);
    const json::array* out = value == nullptr ? nullptr : value->if_array();
    if (out == nullptr) unfit(name, "a list");
    return out;
}

const json::value* JsonReader::find(std::string_view name) const {
    return object_ == nullptr ? nullptr : object_->if_contains(name);
}

void JsonReader::unfit(std::string_view name, std::string_view kind) {
    if (!problem_.empty()) return;
    problem_ = fmt::format("the answer is not {}: its {} is not {}", what_, name, kind);
}

} // namespace doorbuster
