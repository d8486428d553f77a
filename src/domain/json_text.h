// Writing JSON objects, field by field, into one string.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "domain/time.h"

namespace doorbuster {

class JsonObject {
public:
    JsonObject& field(std::string_view name, std::string_view text);
    JsonObject& field(std::string_view name, const char* text) {
        return field(name, std::string_view(text));
    }
    JsonObject& field(std::string_view name, std::int64_t number);
    JsonObject& field(std::string_view name, bool flag);
    JsonObject& field(std::string_view name, TimePoint time); // RFC 3339
    template <class T> JsonObject& field(std::string_view name, const std::optional<T>& value) {
        if (value) return field(name, *value);
        return json(name, "null");
    }
    // The value is JSON already.
    JsonObject& json(std::string_view name, std::string_view value);

    // The object, closed. Call once.
    [[nodiscard]] std::string take();

private:
    void name(std::string_view name);

    std::string out_ = "{";
};

// A JSON string with its quotes.
[[nodiscard]] std::string quoted(std::string_view text);

} // namespace doorbuster
