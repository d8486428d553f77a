#include "app/scratch_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace doorbuster {

Result<ScratchFolder> ScratchFolder::make() {
    std::error_code error;
    const auto parent = std::filesystem::temp_directory_path(error);
    if (error) return fail(Errc::io, "looking for a scratch folder: " + error.message());
    std::string path = (parent / "doorbuster-bench-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) {
        return fail(Errc::io, "making " + path + ": " + std::strerror(errno));
    }
    return ScratchFolder(std::move(path));
}

ScratchFolder::ScratchFolder(ScratchFolder&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

ScratchFolder::~ScratchFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

} // namespace doorbuster
