// Making a file's name as durable as its bytes.
#pragma once

#include <string>

#include "base/result.h"

namespace doorbuster {

// Syncs the folder itself, so that files created or renamed in it are found after a power cut.
[[nodiscard]] Result<void> sync_folder(const std::string& path);

} // namespace doorbuster
