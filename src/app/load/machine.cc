#include "app/load/machine.h"

#include <fmt/format.h>
#include <fstream>
#include <string_view>
#include <sys/utsname.h>
#include <thread>
#include <unistd.h>

namespace doorbuster {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

std::string processor() {
    std::ifstream in("/proc/cpuinfo");
    constexpr std::string_view kModel = "model name";
    for (std::string line; std::getline(in, line);) {
        const std::size_t colon = line.find(": ");
        if (line.starts_with(kModel) && colon != std::string::npos) return line.substr(colon + 2);
    }
    return {};
}

} // namespace

std::string describe_machine() {
    std::string out = processor();
    if (!out.empty()) out += ", ";
    out += fmt::format("{} cores", std::thread::hardware_concurrency());
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page_bytes = sysconf(_SC_PAGE_SIZE);
    if (pages > 0 && page_bytes > 0) {
        const double bytes = static_cast<double>(pages) * static_cast<double>(page_bytes);
        out += fmt::format(", {:.1f} GiB", bytes / kGiB);
    }
    utsname name{};
    if (uname(&name) == 0) {
        out += fmt::format(", {} {} {}", static_cast<const char*>(name.sysname),
                           static_cast<const char*>(name.release),
                           static_cast<const char*>(name.machine));
    }
    return out;
}

} // namespace doorbuster
