#include "base/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace doorbuster {

Result<void> sync_folder(const std::string& path) {
    const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return fail(Errc::io, "opening " + path + ": " + std::strerror(errno));
    const int synced = ::fsync(folder);
    const int reason = errno;
    ::close(folder);
    if (synced != 0) return fail(Errc::io, "syncing " + path + ": " + std::strerror(reason));
    return {};
}

} // namespace doorbuster
