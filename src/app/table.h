// Tables for people: aligned columns of UTF-8 text. Values, used by one command's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "app/config.h"

namespace doorbuster {

enum class Colour : std::uint8_t { off, on };
enum class Terminal : std::uint8_t { no, yes };

// On for a terminal, unless NO_COLOR has a value (no-color.org).
[[nodiscard]] Colour colour_for(Terminal terminal, const Environment& environment);

class Table {
public:
    enum class Align : std::uint8_t { left, right };
    struct Column {
        std::string title; // empty in all columns: no line of titles
        Align align = Align::left;
    };

    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

    // One cell a column. What a terminal would act on is made harmless.
    void add(std::vector<std::string> cells);
    // Lines with an end each; nothing behind the last cell of a line.
    [[nodiscard]] std::string text(Colour colour) const;

private:
    void append_line(std::string& out, const std::vector<std::string>& cells,
                     const std::vector<std::size_t>& widths) const;

    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

// How many cells of a terminal a text fills: wide East Asian characters and emoji take two,
// combining marks none. Close enough to align columns; grapheme clusters are not looked at.
[[nodiscard]] std::size_t display_width(std::string_view text);
// Control characters, marks that reorder text, and bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string printable(std::string_view text);
// 1234567 as "1,234,567".
[[nodiscard]] std::string grouped(std::int64_t number);

} // namespace doorbuster
