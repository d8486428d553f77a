// StopSignal: SIGINT, SIGTERM and SIGHUP (unless it is ignored, as below nohup) end a run early
// instead of the process. The first sets the flag; the second, if it is not the first one's echo
// (within 200 ms), exits at once, with status 1 and a word about it. One at a time in a process;
// made and destroyed by the main thread.
#pragma once

#include <atomic>
#include <csignal>

namespace doorbuster {

class StopSignal {
public:
    StopSignal();
    ~StopSignal(); // puts the old handlers back
    StopSignal(const StopSignal&) = delete;
    StopSignal& operator=(const StopSignal&) = delete;

    [[nodiscard]] const std::atomic<bool>& flag() const;

private:
    struct sigaction old_int_ {};
    struct sigaction old_term_ {};
    struct sigaction old_hup_ {};
};

} // namespace doorbuster
