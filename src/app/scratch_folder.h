// A folder of one's own that goes away with the object: for benchmarks.
#pragma once

#include <string>

#include "base/result.h"

namespace doorbuster {

class ScratchFolder {
public:
    // Below the system's folder for temporary files (TMPDIR).
    [[nodiscard]] static Result<ScratchFolder> make();

    ScratchFolder(ScratchFolder&& other) noexcept;
    ScratchFolder& operator=(ScratchFolder&&) = delete;
    ~ScratchFolder();

    [[nodiscard]] const std::string& path() const { return path_; }

private:
    explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

} // namespace doorbuster
