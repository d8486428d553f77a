// Lists, page by page: what their queries have in common, and their answers. Values of one request.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/http/json_in.h"
#include "adapters/http/message.h"

namespace doorbuster::http {

inline constexpr std::size_t kPageDefault = 100;
inline constexpr std::size_t kPageMax = 1'000;

[[nodiscard]] tl::unexpected<InvalidField> invalid(std::string field, std::string detail);
[[nodiscard]] std::optional<std::int64_t> whole_number(std::string_view text);

struct Page {
    std::size_t limit = kPageDefault;
    std::string cursor; // empty: the first one
};
[[nodiscard]] Parsed<Page> page_of(const std::map<std::string, std::string>& query);

// What a list is narrowed down by; null: nothing. A name without a value is a form's empty field.
[[nodiscard]] const std::string* filter_of(const std::map<std::string, std::string>& query,
                                           const std::string& name);

// {"items":[…],"next_cursor":…}; the items are JSON.
[[nodiscard]] Response list_response(const std::vector<std::string>& items,
                                     const std::optional<std::string>& next_cursor);

// The same of the first `shown` rows.
template <class Row>
Response list_response(const std::vector<Row>& rows, std::size_t shown,
                       const std::function<std::string(const Row&)>& json_of,
                       const std::optional<std::string>& next_cursor) {
    std::vector<std::string> items;
    for (std::size_t i = 0; i < shown; ++i) items.push_back(json_of(rows[i]));
    return list_response(items, next_cursor);
}

// The same of rows that were asked for with one more than the page has room for: only that one
// tells whether there is a next page.
template <class Row>
Response list_response(const std::vector<Row>& rows, const Page& page,
                       const std::function<std::string(const Row&)>& json_of,
                       const std::function<std::string(const Row&)>& cursor_of) {
    const std::size_t shown = std::min(rows.size(), page.limit);
    std::optional<std::string> next_cursor;
    if (rows.size() > shown) next_cursor = cursor_of(rows[shown - 1]);
    return list_response(rows, shown, json_of, next_cursor);
}

} // namespace doorbuster::http
