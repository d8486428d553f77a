#include "adapters/http/lists.h"

#include <charconv>

#include "domain/json_text.h"

namespace doorbuster::http {

tl::unexpected<InvalidField> invalid(std::string field, std::string detail) {
    return tl::make_unexpected(InvalidField{std::move(field), std::move(detail)});
}

std::optional<std::int64_t> whole_number(std::string_view text) {
    std::int64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end) return std::nullopt;
    return number;
}

Parsed<Page> page_of(const std::map<std::string, std::string>& query) {
    Page page;
    if (const auto at = query.find("limit"); at != query.end()) {
        const auto limit = whole_number(at->second);
        if (!limit || *limit < 1 || *limit > static_cast<std::int64_t>(kPageMax)) {
            return invalid("limit", "must be a whole number from 1 to 1000");
        }
        page.limit = static_cast<std::size_t>(*limit);
    }
    if (const auto at = query.find("cursor"); at != query.end()) page.cursor = at->second;
    return page;
}

const std::string* filter_of(const std::map<std::string, std::string>& query,
                             const std::string& name) {
    const auto at = query.find(name);
    return at == query.end() || at->second.empty() ? nullptr : &at->second;
}

Response list_response(const std::vector<std::string>& items,
                       const std::optional<std::string>& next_cursor) {
    std::string list = "[";
    for (const std::string& item : items) {
        if (list.size() > 1) list += ',';
        list += item;
    }
    list += ']';
    JsonObject body;
    body.json("items", list).field("next_cursor", next_cursor);
    Response response;
    response.body = body.take();
    return response;
}

} // namespace doorbuster::http
