#include "app/load/progress.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <unistd.h>

namespace doorbuster {
namespace {

constexpr int kBarWidth = 30;
constexpr std::string_view kToLineStart = "\r\033[K";
constexpr std::string_view kGreen = "\033[32m";
constexpr std::string_view kPlain = "\033[0m";

bool may_colour() {
    const char* const no_color = std::getenv("NO_COLOR");
    return no_color == nullptr || *no_color == '\0';
}

std::string figures_of(const LoadProgress& p) {
    const double rate = p.seconds > 0 ? static_cast<double>(p.attempts) / p.seconds : 0;
    return fmt::format("{} attempts, {} accepted, {} errors, {:.0f}/s, {:.1f} s", p.attempts,
                       p.accepted, p.errors, rate, p.seconds);
}

} // namespace

ProgressLine::ProgressLine()
    : is_terminal_(isatty(STDERR_FILENO) == 1), is_coloured_(is_terminal_ && may_colour()) {}

std::string ProgressLine::render(const LoadProgress& progress) {
    return render(progress.share_done, progress.seconds, figures_of(progress));
}

std::string ProgressLine::render(double share_done, double seconds, std::string_view figures) {
    const double share = std::clamp(share_done, 0.0, 1.0);
    const auto percent = static_cast<int>(share * 100);
    if (!is_terminal_) {
        if (seconds < next_line_) return {};
        while (next_line_ <= seconds) next_line_ += kLineEverySeconds;
        return fmt::format("{:3}%  {}\n", percent, figures);
    }
    const auto full = static_cast<std::size_t>(share * kBarWidth);
    return fmt::format("{}{}[{}{}]{} {:3}%  {}", kToLineStart, is_coloured_ ? kGreen : "",
                       std::string(full, '#'), std::string(kBarWidth - full, '.'),
                       is_coloured_ ? kPlain : "", percent, figures);
}

void ProgressLine::show(const LoadProgress& progress) {
    show(progress.share_done, progress.seconds, figures_of(progress));
}

void ProgressLine::show(double share_done, double seconds, std::string_view figures) {
    const std::string text = render(share_done, seconds, figures);
    is_shown_ = is_shown_ || (is_terminal_ && !text.empty());
    std::fwrite(text.data(), 1, text.size(), stderr);
}

void ProgressLine::end() {
    if (is_shown_) std::fwrite(kToLineStart.data(), 1, kToLineStart.size(), stderr);
    is_shown_ = false;
}

} // namespace doorbuster
