#include "app/data_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/durable_file.h"

namespace doorbuster {
namespace {

// Creates the folder and what is missing above it, each with its entry in its parent durable. Only
// the owner may look into the new ones: they name buyers.
Result<void> make_folder(const std::filesystem::path& path) {
    std::error_code error;
    if (path.empty() || std::filesystem::exists(path, error)) return {};
    const std::filesystem::path parent = path.parent_path();
    if (parent != path) {
        if (auto made = make_folder(parent); !made) return made;
    }
    constexpr auto kOwnerOnly = 0700;
    if (::mkdir(path.c_str(), kOwnerOnly) != 0 && errno != EEXIST) {
        return fail(Errc::io,
                    "creating the data folder " + path.string() + ": " + std::strerror(errno));
    }
    return sync_folder(parent.string());
}

} // namespace

Result<DataFolder> DataFolder::acquire(const std::string& path) {
    if (auto made = make_folder(std::filesystem::absolute(path)); !made) {
        return tl::make_unexpected(std::move(made.error()));
    }
    const std::string lock_path = path + "/LOCK";
    const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0) return fail(Errc::io, "opening " + lock_path + ": " + std::strerror(errno));
    DataFolder folder(path, lock);
    if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
        std::array<char, 32> owner{};
        const ssize_t length = ::pread(lock, owner.data(), owner.size() - 1, 0);
        const std::string pid(owner.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
        return fail(Errc::locked, "the lock " + lock_path + " is held by process " + pid +
                                      "; stop it, or give this one a folder of its own (--data)");
    }
    const std::string pid = std::to_string(::getpid());
    if (::ftruncate(lock, 0) != 0 ||
        ::pwrite(lock, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size()) ||
        ::fsync(lock) != 0) {
        return fail(Errc::io, "writing " + lock_path + ": " + std::strerror(errno));
    }
    if (auto synced = sync_folder(path); !synced) {
        return tl::make_unexpected(std::move(synced.error()));
    }
    return folder;
}

DataFolder::DataFolder(DataFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

DataFolder::~DataFolder() {
    if (lock_ >= 0) ::close(lock_);
}

} // namespace doorbuster
