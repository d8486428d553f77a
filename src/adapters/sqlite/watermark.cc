#include "adapters/sqlite/watermark.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace doorbuster::sqlite {
namespace {

// u64 position | u32 CRC-32 of it, in the machine's byte order (little endian, see log_record.cc)
constexpr std::size_t kBytes = 12;
using Bytes = std::array<unsigned char, kBytes>;

Bytes encode(LogPosition position) {
    Bytes bytes{};
    const std::uint64_t value = position.get();
    std::memcpy(bytes.data(), &value, sizeof value);
    const auto crc = static_cast<std::uint32_t>(crc32(0, bytes.data(), sizeof value));
    std::memcpy(bytes.data() + sizeof value, &crc, sizeof crc);
    return bytes;
}

} // namespace

Result<Watermark> Watermark::open(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) return fail(Errc::io, "opening " + path + ": " + std::strerror(errno));
    Bytes bytes{};
    LogPosition position;
    if (::pread(file, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size())) {
        std::uint64_t value = 0;
        std::memcpy(&value, bytes.data(), sizeof value);
        if (encode(LogPosition(value)) == bytes) position = LogPosition(value);
    }
    // Takes the file's room on the disk now, so that a full disk later cannot stop a write.
    Watermark watermark(file, position);
    if (auto written = watermark.set(position); !written) {
        return tl::make_unexpected(std::move(written.error()));
    }
    return watermark;
}

Watermark::Watermark(Watermark&& other) noexcept
    : file_(std::exchange(other.file_, -1)), position_(other.position_) {}

Watermark::~Watermark() {
    if (file_ >= 0) ::close(file_);
}

Result<void> Watermark::set(LogPosition position) {
    const Bytes bytes = encode(position);
    if (::pwrite(file_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
        return fail(Errc::io, std::string("writing the log's watermark: ") + std::strerror(errno));
    }
    position_ = position;
    return {};
}

} // namespace doorbuster::sqlite
