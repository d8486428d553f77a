// A page of Prometheus metrics, as far as a benchmark reads it. A value.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace doorbuster::stages {

class MetricsPage {
public:
    // Lines that are no sample are left out.
    [[nodiscard]] static MetricsPage parse(std::string_view text);

    // The sum of all samples of that name whose labels hold each of these texts
    // (`sale="demo"`); 0 where there is none.
    [[nodiscard]] double sum(std::string_view name, std::string_view label = {},
                             std::string_view other_label = {}) const;

private:
    std::multimap<std::string, std::pair<std::string, double>, std::less<>> samples_;
};

} // namespace doorbuster::stages
