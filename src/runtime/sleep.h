// Lets time pass for a Task, on its core: the system's time, or that of a clock with alarms of its
// own, as in a simulation.
#pragma once

#include "domain/time.h"
#include "runtime/clock.h"
#include "runtime/resume.h"
#include "runtime/task.h"

namespace doorbuster {

// Belongs to whoever makes up the time.
class Alarms {
public:
    virtual ~Alarms() = default;
    // On a core: `wake` is called when so much time has passed, or dropped.
    virtual void wake_in(Duration time, Resume<bool> wake) = 0;
};

Task<void> sleep_for(const Clock& clock, Duration time);

} // namespace doorbuster
