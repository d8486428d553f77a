#include "adapters/jwt/members.h"

#include <boost/json/basic_parser_impl.hpp>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace doorbuster::jwt {
namespace {

namespace json = boost::json;

constexpr std::size_t kMembersMax = 64; // ten times what issuers put in; bounds the name checks
constexpr std::size_t kDepthMax = 16;

// Called by the parser for every piece of the text, in order. Returning false stops it.
class Handler {
public:
    static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
    static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
    static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
    static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
    using Code = json::error_code;

    bool on_document_begin(Code&) { return true; }
    bool on_document_end(Code&) { return true; }

    bool on_object_begin(Code& code) {
        if (depth_ == 0) {
            is_object_ = true;
        } else {
            other();
        }
        ++depth_;
        return go_on(code);
    }
    bool on_object_end(std::size_t, Code& code) { return close(code); }

    bool on_array_begin(Code& code) {
        if (depth_ == 1) {
            value_ = std::vector<std::string>();
        } else {
            other();
        }
        ++depth_;
        return go_on(code);
    }
    bool on_array_end(std::size_t, Code& code) { return close(code); }

    bool on_key_part(std::string_view part, std::size_t, Code&) {
        text_ += part;
        return true;
    }
    bool on_key(std::string_view part, std::size_t, Code& code) {
        text_ += part;
        if (depth_ == 1) {
            name_ = text_;
            repeated_ = members_.find(name_) != nullptr || ++count_ > kMembersMax;
        }
        text_.clear();
        return go_on(code);
    }

    bool on_string_part(std::string_view part, std::size_t, Code&) {
        text_ += part;
        return true;
    }
    bool on_string(std::string_view part, std::size_t, Code& code) {
        text_ += part;
        if (depth_ == 1) {
            value_ = std::move(text_);
            keep();
        } else if (auto* list = std::get_if<std::vector<std::string>>(&value_);
                   depth_ == 2 && list) {
            list->push_back(std::move(text_));
        }
        text_.clear();
        return go_on(code);
    }

    bool on_number_part(std::string_view, Code&) { return true; }
    bool on_int64(std::int64_t number, std::string_view, Code& code) {
        return on_number(static_cast<double>(number), code);
    }
    bool on_uint64(std::uint64_t number, std::string_view, Code& code) {
        return on_number(static_cast<double>(number), code);
    }
    bool on_double(double number, std::string_view, Code& code) { return on_number(number, code); }
    bool on_bool(bool, Code& code) { return on_other(code); }
    bool on_null(Code& code) { return on_other(code); }
    bool on_comment_part(std::string_view, Code&) { return false; }
    bool on_comment(std::string_view, Code&) { return false; }

    [[nodiscard]] bool is_object() const { return is_object_; }
    [[nodiscard]] Members take() { return std::move(members_); }

private:
    bool on_number(double number, Code& code) {
        if (depth_ != 1) return on_other(code);
        value_ = number;
        keep();
        return go_on(code);
    }
    bool on_other(Code& code) {
        other();
        if (depth_ == 1) keep();
        return go_on(code);
    }
    bool close(Code& code) {
        --depth_;
        if (depth_ == 1) keep();
        return go_on(code);
    }
    void other() { value_ = Other{}; }
    void keep() { members_.add(name_, std::exchange(value_, Other{})); }
    // False at the second of one name, at one member too many, and where no object is around.
    bool go_on(Code& code) {
        if (is_object_ && !repeated_) return true;
        code = json::error::not_object;
        return false;
    }

    Members members_;
    MemberValue value_;
    std::string name_;
    std::string text_;
    std::size_t depth_ = 0;
    std::size_t count_ = 0;
    bool is_object_ = false;
    bool repeated_ = false;
};

} // namespace

std::optional<Members> Members::parse(std::string_view text) {
    json::parse_options options;
    options.max_depth = kDepthMax;
    json::basic_parser<Handler> parser(options);
    json::error_code error;
    const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
    if (error || used != text.size() || !parser.done() || !parser.handler().is_object()) {
        return std::nullopt;
    }
    return parser.handler().take();
}

const MemberValue* Members::find(std::string_view name) const {
    for (const Member& member : all_) {
        if (member.name == name) return &member.value;
    }
    return nullptr;
}

} // namespace doorbuster::jwt
