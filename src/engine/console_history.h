// ConsoleHistory: how figures went, for charts: the last minutes at every tick, and everything
// since it began in a bounded number of points. One owner; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "domain/time.h"

namespace doorbuster {

class ConsoleHistory {
public:
    static constexpr std::size_t kRecentMax = 600;   // five minutes of ticks
    static constexpr std::size_t kRecentSlack = 150; // old ones are dropped so many at once
    static constexpr std::size_t kWholeMax = 512;    // more than a chart has pixels for, about

    // `columns` name the figures of a point, and outlive the history. A figure that only grows is
    // recorded as it stands: its rate over any two points is right, however many were dropped in
    // between.
    explicit ConsoleHistory(std::span<const std::string_view> columns) : columns_(columns) {}

    // In place of a figure that is not known now; "null" in JSON.
    static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

    // A point, as many values as columns. Later than the one before.
    void add(TimePoint at, std::vector<double> values);
    // The figures stood still since the last point until `at`: so that a chart draws no slope from
    // there to what comes next. Nothing before the first point.
    void stood_still_until(TimePoint at);

    [[nodiscard]] std::size_t recent() const { return recent_.size() - recent_begin_; }
    [[nodiscard]] std::size_t whole() const { return whole_.size(); }
    // {"recent":{"t":[ms,…],"column":[…]},"whole":{…}}
    [[nodiscard]] std::string json() const;

private:
    struct Point {
        TimePoint at;
        std::vector<double> values;
    };
    [[nodiscard]] std::string columns_json(std::span<const Point> points) const;
    void add_to_whole(Point point);

    std::span<const std::string_view> columns_;
    std::vector<Point> recent_;
    std::size_t recent_begin_ = 0;
    std::vector<Point> whole_;
    // Points of the whole are at least so far apart, but for the last one, which is now.
    Duration spacing_{0};
};

} // namespace doorbuster
