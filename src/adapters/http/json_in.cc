#include "adapters/http/json_in.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <cmath>

namespace doorbuster::http {
namespace {

InvalidField wrong(std::string_view field, std::string detail) {
    return {std::string(field), std::move(detail)};
}

} // namespace

// What Boost.JSON calls as it parses. Returning false stops it; `problem` then says why.
struct FieldHandler {
    static constexpr std::size_t max_object_size = 64;
    static constexpr std::size_t max_array_size = 0;
    static constexpr std::size_t max_key_size = 64;
    static constexpr std::size_t max_string_size = 64 * 1024;

    using Error = boost::json::error_code;
    using View = boost::json::string_view;

    std::initializer_list<std::string_view> known;
    JsonFields fields;
    std::optional<InvalidField> problem;
    std::string partial;
    std::string key;
    int depth = 0;

    bool stop(Error& error, InvalidField why) {
        problem = std::move(why);
        error = boost::json::error::syntax;
        return false;
    }
    bool value(JsonFields::Value value, Error& error) {
        if (depth != 1) return stop(error, wrong("body", "must be a JSON object"));
        fields.fields_.push_back({key, std::move(value)});
        return true;
    }

    bool on_document_begin(Error&) { return true; }
    bool on_document_end(Error&) { return true; }
    bool on_object_begin(Error& error) {
        if (++depth > 1) return stop(error, wrong(key, "must not be an object"));
        return true;
    }
    bool on_object_end(std::size_t, Error&) {
        --depth;
        return true;
    }
    bool on_array_begin(Error& error) {
        if (depth == 0) return stop(error, wrong("body", "must be a JSON object"));
        return stop(error, wrong(key, "must not be an array"));
    }
    bool on_array_end(std::size_t, Error&) { return true; }
    bool on_key_part(View part, std::size_t, Error&) {
        partial.append(part.data(), part.size());
        return true;
    }
    bool on_key(View part, std::size_t, Error& error) {
        partial.append(part.data(), part.size());
        key.swap(partial);
        partial.clear();
        if (key.empty()) return stop(error, wrong("body", "has a field without a name"));
        if (std::ranges::find(known, key) == known.end()) {
            return stop(error, wrong(key, "is not a field of this request"));
        }
        if (fields.has(key)) return stop(error, wrong(key, "is there twice"));
        return true;
    }
    bool on_string_part(View part, std::size_t, Error&) {
        partial.append(part.data(), part.size());
        return true;
    }
    bool on_string(View part, std::size_t, Error& error) {
        partial.append(part.data(), part.size());
        std::string text;
        text.swap(partial);
        return value(std::move(text), error);
    }
    bool on_number_part(View, Error&) { return true; }
    bool on_int64(std::int64_t number, View, Error& error) { return value(number, error); }
    bool on_uint64(std::uint64_t, View, Error& error) {
        return value(JsonFields::TooLarge{}, error);
    }
    bool on_double(double number, View, Error& error) { return value(number, error); }
    bool on_bool(bool flag, Error& error) { return value(flag, error); }
    bool on_null(Error& error) { return value(nullptr, error); }
    bool on_comment_part(View, Error&) { return true; }
    bool on_comment(View, Error&) { return true; }
};

Parsed<JsonFields> JsonFields::parse(std::string_view text,
                                     std::initializer_list<std::string_view> known) {
    if (text.empty()) return JsonFields();
    boost::json::basic_parser<FieldHandler> parser(boost::json::parse_options{}, FieldHandler{});
    FieldHandler& handler = parser.handler();
    handler.known = known;
    boost::json::error_code error;
    const std::size_t read = parser.write_some(false, text.data(), text.size(), error);
    if (handler.problem) return tl::make_unexpected(std::move(*handler.problem));
    if (error || read < text.size()) {
        return tl::make_unexpected(wrong("body", "is not valid JSON"));
    }
    return std::move(handler.fields);
}

const JsonFields::Value* JsonFields::find(std::string_view name) const {
    const auto at = std::ranges::find(fields_, name, &Field::name);
    return at == fields_.end() ? nullptr : &at->value;
}

bool JsonFields::has(std::string_view name) const { return find(name) != nullptr; }

Parsed<std::optional<std::int64_t>> JsonFields::integer(std::string_view name, std::int64_t min,
                                                        std::int64_t max) const {
    const Value* value = find(name);
    if (value == nullptr || std::holds_alternative<std::nullptr_t>(*value)) {
        return std::optional<std::int64_t>();
    }
    const auto* number = std::get_if<std::int64_t>(value);
    if (number == nullptr || *number < min || *number > max) {
        return tl::make_unexpected(wrong(name, "must be a whole number from " +
                                                   std::to_string(min) + " to " +
                                                   std::to_string(max)));
    }
    return std::optional(*number);
}

Parsed<std::optional<std::string>> JsonFields::text(std::string_view name) const {
    const Value* value = find(name);
    if (value == nullptr || std::holds_alternative<std::nullptr_t>(*value)) {
        return std::optional<std::string>();
    }
    const auto* text = std::get_if<std::string>(value);
    if (text == nullptr) return tl::make_unexpected(wrong(name, "must be a text"));
    return std::optional(*text);
}

Parsed<std::optional<bool>> JsonFields::flag(std::string_view name) const {
    const Value* value = find(name);
    if (value == nullptr || std::holds_alternative<std::nullptr_t>(*value)) {
        return std::optional<bool>();
    }
    const auto* flag = std::get_if<bool>(value);
    if (flag == nullptr) return tl::make_unexpected(wrong(name, "must be true or false"));
    return std::optional(*flag);
}

} // namespace doorbuster::http
