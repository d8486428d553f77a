// A Lua script that runs inside Redis.
#pragma once

#include <string>
#include <string_view>

namespace doorbuster::redis {

// Its text and the name that Redis knows it by. `text` outlives it: scripts are embedded in the
// program (cmake/EmbedLua.cmake).
class Script {
public:
    explicit Script(std::string_view text);

    [[nodiscard]] std::string_view text() const { return text_; }
    [[nodiscard]] std::string_view sha1() const { return sha1_; } // 40 digits in lower case

private:
    std::string_view text_;
    std::string sha1_;
};

} // namespace doorbuster::redis
