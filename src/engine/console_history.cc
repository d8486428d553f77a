#include "engine/console_history.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <system_error>

#include "base/assert.h"

namespace doorbuster {
namespace {

constexpr Duration kSpacingMin{500};

// Thousands of them are written when a console opens: std::to_chars, for printf takes ten times as
// long.
void append_value(std::string& out, double value) {
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    std::array<char, 32> text; // a count, or milliseconds with three digits
    char* const begin = text.data();
    char* const end = begin + text.size();
    const auto whole = static_cast<std::int64_t>(value);
    const auto written = value == static_cast<double>(whole)
                             ? std::to_chars(begin, end, whole)
                             : std::to_chars(begin, end, value, std::chars_format::fixed, 3);
    DB_ASSERT(written.ec == std::errc());
    out.append(begin, written.ptr);
}

} // namespace

void ConsoleHistory::add(TimePoint at, std::vector<double> values) {
    DB_ASSERT(values.size() == columns_.size());
    if (!whole_.empty() && at <= whole_.back().at) return; // the clock was set back
    add_to_whole({at, values});
    recent_.push_back({at, std::move(values)});
    if (recent() > kRecentMax) ++recent_begin_;
    if (recent_begin_ >= kRecentSlack) {
        recent_.erase(recent_.begin(),
                      recent_.begin() + static_cast<std::ptrdiff_t>(recent_begin_));
        recent_begin_ = 0;
    }
}

void ConsoleHistory::stood_still_until(TimePoint at) {
    if (!whole_.empty() && at > whole_.back().at) add(at, whole_.back().values);
}

void ConsoleHistory::add_to_whole(Point point) {
    const std::size_t size = whole_.size();
    // The last point gives way if it is too near to the one before it.
    if (size >= 2 && whole_[size - 1].at - whole_[size - 2].at < spacing_) {
        whole_.back() = std::move(point);
        return;
    }
    whole_.push_back(std::move(point));
    if (whole_.size() < kWholeMax) return;
    spacing_ = std::max(kSpacingMin, spacing_) * 2;
    // The first one stays, and the last one; of the others those that are far enough apart.
    std::vector<Point> kept;
    for (Point& old : whole_) {
        const bool is_last = &old == &whole_.back();
        if (kept.empty() || is_last || old.at - kept.back().at >= spacing_) {
            kept.push_back(std::move(old));
        }
    }
    whole_ = std::move(kept);
}

std::string ConsoleHistory::columns_json(std::span<const Point> points) const {
    std::string out = "{\"t\":[";
    for (const Point& point : points) {
        if (out.back() != '[') out += ',';
        out += std::to_string(point.at.time_since_epoch().count());
    }
    out += ']';
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        out.append(",\"").append(columns_[i]).append("\":[");
        for (const Point& point : points) {
            if (out.back() != '[') out += ',';
            append_value(out, point.values[i]);
        }
        out += ']';
    }
    out += '}';
    return out;
}

std::string ConsoleHistory::json() const {
    const std::span<const Point> recent = std::span(recent_).subspan(recent_begin_);
    return "{\"recent\":" + columns_json(recent) + ",\"whole\":" + columns_json(whole_) + "}";
}

} // namespace doorbuster
