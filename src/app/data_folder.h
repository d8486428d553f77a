// The data folder: one process at a time owns it. The owner keeps this object for as long as it
// uses anything in the folder.
#pragma once

#include <string>

#include "base/result.h"

namespace doorbuster {

class DataFolder {
public:
    // Creates the folder if need be and takes its lock, durably. Errc::locked when another process
    // has it; the lock goes with its process, however that ends.
    [[nodiscard]] static Result<DataFolder> acquire(const std::string& path);

    DataFolder(DataFolder&& other) noexcept;
    DataFolder& operator=(DataFolder&&) = delete;
    ~DataFolder();

    [[nodiscard]] const std::string& path() const { return path_; }

private:
    DataFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

    std::string path_;
    int lock_ = -1; // flock(2) on LOCK
};

} // namespace doorbuster
