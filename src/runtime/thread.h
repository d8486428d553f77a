// Threads and the scheduler.
#pragma once

namespace doorbuster {

// For work that may lag while buyers wait: the order writer. Linux: nice 10 for this thread alone.
// Does nothing where that is not possible.
void lower_priority_of_this_thread() noexcept;

} // namespace doorbuster
