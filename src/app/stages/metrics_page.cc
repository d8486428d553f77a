#include "app/stages/metrics_page.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace doorbuster::stages {

MetricsPage MetricsPage::parse(std::string_view text) {
    MetricsPage page;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        const std::size_t space = line.rfind(' ');
        if (line.starts_with('#') || space == std::string_view::npos) continue;
        const std::string_view series = line.substr(0, space);
        const std::string_view number = line.substr(space + 1);
        double value = 0;
        const auto [end, error] =
            std::from_chars(number.data(), number.data() + number.size(), value);
        if (error != std::errc{} || end != number.data() + number.size()) continue;
        const std::size_t brace = std::min(series.find('{'), series.size());
        page.samples_.emplace(std::string(series.substr(0, brace)),
                              std::pair(std::string(series.substr(brace)), value));
    }
    return page;
}

double MetricsPage::sum(std::string_view name, std::string_view label,
                        std::string_view other_label) const {
    double sum = 0;
    const auto [first, last] = samples_.equal_range(name);
    for (auto at = first; at != last; ++at) {
        const auto& [labels, value] = at->second;
        const bool fits = labels.find(label) != std::string::npos &&
                          labels.find(other_label) != std::string::npos;
        if (fits) sum += value;
    }
    return sum;
}

} // namespace doorbuster::stages
