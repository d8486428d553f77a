// Reads the members of a server's JSON object by type and remembers the first that does not fit, so
// that a whole object can be read and then looked at once. Lives as long as the value it reads.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace doorbuster {

class JsonReader {
public:
    // `what` names the object in the problem: "an order".
    JsonReader(const boost::json::value& value, std::string_view what);

    // A neutral value where the member is missing or of another type.
    [[nodiscard]] std::string text(std::string_view name);
    [[nodiscard]] std::int64_t whole(std::string_view name);
    [[nodiscard]] bool yes(std::string_view name);
    // Missing or null is none.
    [[nodiscard]] std::optional<std::string> text_if_any(std::string_view name);
    [[nodiscard]] std::optional<std::int64_t> whole_if_any(std::string_view name);
    // nullptr where it is missing or not of that kind.
    [[nodiscard]] const boost::json::object* object(std::string_view name);
    [[nodiscard]] const boost::json::array* array(std::string_view name);

    [[nodiscard]] bool complete() const { return problem_.empty(); }
    [[nodiscard]] const std::string& problem() const { return problem_; }

private:
    [[nodiscard]] const boost::json::value* find(std::string_view name) const;
    void unfit(std::string_view name, std::string_view kind);

    const boost::json::object* object_ = nullptr;
    std::string what_;
    std::string problem_;
};

} // namespace doorbuster
