// What Redis answers: a value of RESP2 (the Redis serialization protocol, version 2).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace doorbuster::redis {

struct Reply {
    enum class Kind : std::uint8_t { nil, integer, status, text, error, array };
    Kind kind = Kind::nil;
    std::int64_t integer = 0;      // of an integer
    std::string text = {};         // of a status ("OK"), a bulk string, an error
    std::vector<Reply> items = {}; // of an array

    [[nodiscard]] bool is(Kind which) const { return kind == which; }
    [[nodiscard]] bool is_error() const { return kind == Kind::error; }
    // An error that begins with this code: is_error("NOSCRIPT").
    [[nodiscard]] bool is_error(std::string_view code) const {
        return is_error() && text.starts_with(code) &&
               (text.size() == code.size() || text[code.size()] == ' ');
    }
    // An array of so many items.
    [[nodiscard]] bool is_array_of(std::size_t count) const {
        return kind == Kind::array && items.size() == count;
    }
};

} // namespace doorbuster::redis
