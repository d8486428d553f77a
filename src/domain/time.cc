#include "domain/time.h"

#include <array>
#include <cstddef>

namespace doorbuster {
namespace {

// Reads the decimal digits of a date-time from left to right.
class Scanner {
public:
    explicit Scanner(std::string_view text) : rest_(text) {}

    [[nodiscard]] bool number(std::size_t digits, int& out) {
        if (rest_.size() < digits) return false;
        out = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            if (!is_digit(rest_[i])) return false;
            out = out * 10 + (rest_[i] - '0');
        }
        rest_.remove_prefix(digits);
        return true;
    }
    [[nodiscard]] bool one_of(std::string_view choices) {
        if (rest_.empty() || choices.find(rest_.front()) == std::string_view::npos) return false;
        taken_ = rest_.front();
        rest_.remove_prefix(1);
        return true;
    }
    // ".123456": the first three digits count. False when a point has no digit behind it.
    [[nodiscard]] bool fraction(int& ms) {
        ms = 0;
        if (rest_.empty() || rest_.front() != '.') return true;
        rest_.remove_prefix(1);
        if (rest_.empty() || !is_digit(rest_.front())) return false;
        for (int weight = 100; !rest_.empty() && is_digit(rest_.front()); weight /= 10) {
            ms += weight * (rest_.front() - '0');
            rest_.remove_prefix(1);
        }
        return true;
    }
    [[nodiscard]] char taken() const { return taken_; }
    [[nodiscard]] bool done() const { return rest_.empty(); }

private:
    static bool is_digit(char c) { return c >= '0' && c <= '9'; }

    std::string_view rest_;
    char taken_ = 0;
};

void put(std::string& out, int value, int digits) {
    std::array<char, 8> text{};
    for (int i = digits - 1; i >= 0; --i) {
        text[static_cast<std::size_t>(i)] = static_cast<char>('0' + value % 10);
        value /= 10;
    }
    out.append(text.data(), static_cast<std::size_t>(digits));
}

} // namespace

std::string to_rfc3339(TimePoint time) {
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const auto ms = static_cast<int>((time - day).count());
    std::string out;
    out.reserve(24);
    put(out, static_cast<int>(date.year()), 4);
    out += '-';
    put(out, static_cast<int>(static_cast<unsigned>(date.month())), 2);
    out += '-';
    put(out, static_cast<int>(static_cast<unsigned>(date.day())), 2);
    out += 'T';
    put(out, ms / 3'600'000, 2);
    out += ':';
    put(out, ms / 60'000 % 60, 2);
    out += ':';
    put(out, ms / 1000 % 60, 2);
    out += '.';
    put(out, ms % 1000, 3);
    out += 'Z';
    return out;
}

std::optional<TimePoint> parse_rfc3339(std::string_view text) {
    int year = 0;
    int month = 0;
    int day = 0;
    int hour = 0;
    int minute = 0;
    int second = 0;
    int ms = 0;
    Scanner in(text);
    if (!in.number(4, year) || !in.one_of("-") || !in.number(2, month) || !in.one_of("-") ||
        !in.number(2, day) || !in.one_of("Tt ") || !in.number(2, hour) || !in.one_of(":") ||
        !in.number(2, minute) || !in.one_of(":") || !in.number(2, second) || !in.fraction(ms) ||
        !in.one_of("Zz+-")) {
        return std::nullopt;
    }
    int offset_min = 0;
    if (in.taken() == '+' || in.taken() == '-') {
        const int sign = in.taken() == '+' ? 1 : -1;
        int offset_hours = 0;
        if (!in.number(2, offset_hours) || !in.one_of(":") || !in.number(2, offset_min)) {
            return std::nullopt;
        }
        if (offset_hours > 23 || offset_min > 59) return std::nullopt;
        offset_min = sign * (offset_hours * 60 + offset_min);
    }
    const std::chrono::year_month_day date{std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    // A leap second (60) is read as the first instant of the next minute.
    if (!in.done() || !date.ok() || year < 1970 || hour > 23 || minute > 59 || second > 60) {
        return std::nullopt;
    }
    const TimePoint out = std::chrono::sys_days(date) + std::chrono::hours(hour) +
                          std::chrono::minutes(minute - offset_min) + std::chrono::seconds(second) +
                          std::chrono::milliseconds(ms);
    // The offset or the leap second may lead out of the years that to_rfc3339 can write.
    constexpr TimePoint kEnd = std::chrono::sys_days(std::chrono::year(10'000) / 1 / 1);
    if (out < TimePoint{} || out >= kEnd) return std::nullopt;
    return out;
}

} // namespace doorbuster
