// How a process of ours ends: by a signal, by an error that must not be lived with, at last by the
// clock. Used by the main thread, unless it says otherwise.
#pragma once

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/error.h"
#include "base/result.h"

namespace doorbuster {

// SIGINT and SIGTERM, taken synchronously: they are blocked in every thread that is made later.
class StopSignals {
public:
    StopSignals();
    // True when one came within the time.
    [[nodiscard]] bool wait(std::chrono::milliseconds at_most) const;
    void wait() const;

private:
    sigset_t set_{};
};

// Any thread. Ends the process after a while, whatever the rest of it hangs on: a disk, a reader of
// our log.
void exit_after(std::chrono::milliseconds time, int status);
// Any thread. Writes the last lines, as long as somebody reads them, and ends the process.
[[noreturn]] void exit_with_last_words(int status);
// Any thread. Going on would break a promise: stop now, say why. The next start recovers.
[[noreturn]] void stop_at_once(const Error& error);
// To be called when a signal came. A second one ends the process at once, if it is not the first
// one's echo, within 200 ms; ten seconds after the first one it ends in any case.
void begin_to_stop(const StopSignals& signals);

// Calls `open` until it succeeds, fails for good, or a signal comes: what it needs may come up
// after us. Says on the log what it waits for.
enum class Opened : std::uint8_t { yes, stopped_before };
[[nodiscard]] Result<Opened> open_when_possible(const StopSignals& signals,
                                                const std::function<Result<void>()>& open);

} // namespace doorbuster
