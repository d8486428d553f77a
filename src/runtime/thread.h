// Threads and the scheduler.
#pragma once

namespace doorbuster {

// How much a thread's work may lag while buyers wait. The numbers are Linux's nice values.
enum class Lag : int {
    somewhat = 10, // the order writer: buyers see its lag as `queued`
    freely = 19,   // nobody waits: webhooks
};

// For this thread alone. Does nothing where that is not possible.
void lower_priority_of_this_thread(Lag lag) noexcept;

} // namespace doorbuster
