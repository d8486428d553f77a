#include "app/table.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/assert.h"

namespace doorbuster {
namespace {

constexpr std::size_t kGap = 2; // spaces between columns
constexpr char32_t kReplacement = 0xfffd;
constexpr std::string_view kReplacementText = "\xef\xbf\xbd";

struct Range {
    char32_t first;
    char32_t last;
};

bool in_any(char32_t code, const auto& ranges) {
    return std::ranges::any_of(
        ranges, [&](const Range& range) { return code >= range.first && code <= range.last; });
}

// Unicode Standard Annex 11 (East Asian Width): W and F, joined to whole blocks.
constexpr std::array<Range, 14> kWide = {{{0x1100, 0x115f},
                                          {0x2e80, 0x303e},
                                          {0x3041, 0x33ff},
                                          {0x3400, 0x4dbf},
                                          {0x4e00, 0x9fff},
                                          {0xa000, 0xa4cf},
                                          {0xac00, 0xd7a3},
                                          {0xf900, 0xfaff},
                                          {0xfe30, 0xfe6f},
                                          {0xff00, 0xff60},
                                          {0xffe0, 0xffe6},
                                          {0x1f300, 0x1f64f},
                                          {0x1f900, 0x1f9ff},
                                          {0x20000, 0x3fffd}}};
constexpr std::array<Range, 4> kCombining = {
    {{0x0300, 0x036f}, {0x200b, 0x200d}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}}};
// Controls, line separators, and the marks that turn the direction of text.
constexpr std::array<Range, 5> kUnprintable = {
    {{0x00, 0x1f}, {0x7f, 0x9f}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}}};

struct Decoded {
    char32_t code = kReplacement;
    std::size_t bytes = 1;
};

// The first character; one byte of U+FFFD where the text is not UTF-8 (RFC 3629).
Decoded decode(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return {lead, 1};
    const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {};
    char32_t code = lead & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return {};
        code = code << 6 | (byte(i) & 0x3fU);
    }
    const char32_t smallest = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
    if (code < smallest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
    return {code, length};
}

} // namespace

Colour colour_for(Terminal terminal, const Environment& environment) {
    const auto no_color = environment.find("NO_COLOR");
    const bool refused = no_color != environment.end() && !no_color->second.empty();
    return terminal == Terminal::yes && !refused ? Colour::on : Colour::off;
}

void Table::add(std::vector<std::string> cells) {
    DB_ASSERT(cells.size() == columns_.size());
    for (std::string& cell : cells) cell = printable(cell);
    rows_.push_back(std::move(cells));
}

std::string Table::text(Colour colour) const {
    std::vector<std::string> titles;
    std::vector<std::size_t> widths;
    for (const Column& column : columns_) {
        titles.push_back(column.title);
        widths.push_back(display_width(column.title));
    }
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            widths[i] = std::max(widths[i], display_width(row[i]));
        }
    }
    std::string out;
    if (std::ranges::any_of(titles, [](const std::string& title) { return !title.empty(); })) {
        if (colour == Colour::on) out += "\x1b[1m";
        append_line(out, titles, widths);
        if (colour == Colour::on) out.insert(out.size() - 1, "\x1b[0m");
    }
    for (const auto& row : rows_) append_line(out, row, widths);
    return out;
}

void Table::append_line(std::string& out, const std::vector<std::string>& cells,
                        const std::vector<std::size_t>& widths) const {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        const std::size_t padding = widths[i] - display_width(cells[i]);
        if (columns_[i].align == Align::right) line.append(padding, ' ');
        line += cells[i];
        if (columns_[i].align == Align::left) line.append(padding, ' ');
        line.append(kGap, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
}

std::size_t display_width(std::string_view text) {
    std::size_t width = 0;
    while (!text.empty()) {
        const Decoded character = decode(text);
        text.remove_prefix(character.bytes);
        if (in_any(character.code, kCombining)) continue;
        width += in_any(character.code, kWide) ? 2 : 1;
    }
    return width;
}

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const Decoded character = decode(text);
        if (character.code == kReplacement || in_any(character.code, kUnprintable)) {
            out += kReplacementText;
        } else {
            out += text.substr(0, character.bytes);
        }
        text.remove_prefix(character.bytes);
    }
    return out;
}

std::string grouped(std::int64_t number) {
    std::string out = std::to_string(number);
    const std::size_t first = number < 0 ? 1 : 0;
    for (std::size_t at = out.size(); at > first + 3;) {
        at -= 3;
        out.insert(at, 1, ',');
    }
    return out;
}

} // namespace doorbuster
