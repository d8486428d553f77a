// Where log lines go: to stderr, as text for people or as one JSON object a line.
#pragma once

#include "app/config.h"

namespace doorbuster {

// Once, by the main thread, before anything logs.
void set_up_logging(const OutputConfig& config);
// Any thread: waits until what is queued is written, a second at most.
void finish_logging();

} // namespace doorbuster
