// ProgressLine: how far a run is, on standard error. On a terminal a bar that is drawn over itself,
// elsewhere a line every 5 s. One thread owns it.
//
// Colour only on a terminal, and not where NO_COLOR is set (no-color.org).
#pragma once

#include <string>
#include <string_view>

#include "app/load/load.h"

namespace doorbuster {

class ProgressLine {
public:
    // Looks at standard error and at the environment.
    ProgressLine();
    ProgressLine(bool is_terminal, bool is_coloured)
        : is_terminal_(is_terminal), is_coloured_(is_coloured) {}

    void show(const LoadProgress& progress);
    // The same for other work: the share of it that is done (0 to 1), since when, and how much in
    // words.
    void show(double share_done, double seconds, std::string_view figures);
    // Clears the bar, so that what follows begins on an empty line.
    void end();

    // What show() would write now; empty when it is not time yet.
    [[nodiscard]] std::string render(const LoadProgress& progress);
    [[nodiscard]] std::string render(double share_done, double seconds, std::string_view figures);

private:
    static constexpr double kLineEverySeconds = 5;

    bool is_terminal_;
    bool is_coloured_;
    bool is_shown_ = false;
    double next_line_ = kLineEverySeconds;
};

} // namespace doorbuster
