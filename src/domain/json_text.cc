#include "domain/json_text.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/string_view.hpp>

namespace doorbuster {
namespace {

bool needs_no_escape(std::string_view text) {
    return std::ranges::all_of(
        text, [](char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; });
}

} // namespace

std::string quoted(std::string_view text) {
    return boost::json::serialize(boost::json::string_view(text.data(), text.size()));
}

void JsonObject::name(std::string_view name) {
    if (out_.size() > 1) out_ += ',';
    out_ += '"';
    out_ += name;
    out_ += "\":";
}

JsonObject& JsonObject::json(std::string_view field_name, std::string_view value) {
    name(field_name);
    out_ += value;
    return *this;
}

JsonObject& JsonObject::field(std::string_view field_name, std::string_view text) {
    name(field_name);
    if (!needs_no_escape(text)) {
        out_ += quoted(text);
        return *this;
    }
    out_ += '"';
    out_ += text;
    out_ += '"';
    return *this;
}

JsonObject& JsonObject::field(std::string_view field_name, std::int64_t number) {
    return json(field_name, std::to_string(number));
}

JsonObject& JsonObject::field(std::string_view field_name, bool flag) {
    return json(field_name, flag ? "true" : "false");
}

JsonObject& JsonObject::field(std::string_view field_name, TimePoint time) {
    return field(field_name, to_rfc3339(time));
}

std::string JsonObject::take() {
    out_ += '}';
    return std::move(out_);
}

} // namespace doorbuster
