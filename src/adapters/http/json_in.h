// Reading requests' JSON: one flat object whose fields are all known, each at most once. Boost.JSON
// parses; it would let the last of two equal fields win, so the fields are collected as it meets
// them. Values of one request.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

namespace doorbuster::http {

// What is wrong with a request, for `invalid_request`.
struct InvalidField {
    std::string field;  // its name; "body" for the whole
    std::string detail; // what is allowed
};
template <class T> using Parsed = tl::expected<T, InvalidField>;

class JsonFields {
public:
    // `known` names every field that may be there. An empty text is an empty object.
    [[nodiscard]] static Parsed<JsonFields> parse(std::string_view text,
                                                  std::initializer_list<std::string_view> known);

    // nullopt: absent or null. An error names the field and what is allowed.
    [[nodiscard]] Parsed<std::optional<std::int64_t>>
    integer(std::string_view name, std::int64_t min, std::int64_t max) const;
    [[nodiscard]] Parsed<std::optional<std::string>> text(std::string_view name) const;
    [[nodiscard]] Parsed<std::optional<bool>> flag(std::string_view name) const;
    [[nodiscard]] bool has(std::string_view name) const;
    [[nodiscard]] std::size_t size() const { return fields_.size(); }

private:
    friend struct FieldHandler;
    struct TooLarge {}; // a number beyond 64 bits
    using Value = std::variant<std::nullptr_t, bool, std::int64_t, double, TooLarge, std::string>;
    struct Field {
        std::string name;
        Value value;
    };
    [[nodiscard]] const Value* find(std::string_view name) const;

    std::vector<Field> fields_;
};

} // namespace doorbuster::http
