// The members of a JSON object as far as a token's header and claims need them: numbers, texts and
// lists of texts at the top; the rest only has to be well formed. Values, on any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace doorbuster::jwt {

struct Other {}; // null, a bool, an object, a list with anything but texts

using MemberValue = std::variant<Other, std::string, double, std::vector<std::string>>;

class Members {
public:
    // nullopt when the text is not one JSON object, names a member twice, or has too many. A name
    // given twice is two readings of one token: each library would choose its own.
    [[nodiscard]] static std::optional<Members> parse(std::string_view json);

    // nullptr when there is none.
    [[nodiscard]] const MemberValue* find(std::string_view name) const;

    void add(std::string name, MemberValue value) {
        all_.push_back({std::move(name), std::move(value)});
    }

private:
    struct Member {
        std::string name;
        MemberValue value;
    };
    std::vector<Member> all_;
};

} // namespace doorbuster::jwt
