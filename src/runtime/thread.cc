#include "runtime/thread.h"

#include <sys/resource.h>
#include <unistd.h>

namespace doorbuster {

void lower_priority_of_this_thread(Lag lag) noexcept {
    // Linux keeps the nice value per thread: setpriority(2), NOTES.
    static_cast<void>(
        setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), static_cast<int>(lag)));
}

} // namespace doorbuster
