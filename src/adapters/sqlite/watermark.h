// The watermark: a small file beside the log that says up to which position the log was
// acknowledged. It is written after each commit and before any answer that depends on it leaves,
// and never synced: a killed process leaves it exact, a power cut at worst too low. So a log that
// ends below its watermark has lost acknowledged records, whatever broke it (docs/adr/0003).
// The log's own thread writes it.
#pragma once

#include <string>

#include "base/result.h"
#include "domain/ids.h"

namespace doorbuster::sqlite {

class Watermark {
public:
    // Opens or creates the file. An unreadable content counts as position 0: a power cut may have
    // left anything there.
    [[nodiscard]] static Result<Watermark> open(const std::string& path);

    Watermark(Watermark&& other) noexcept;
    Watermark& operator=(Watermark&&) = delete;
    ~Watermark();

    [[nodiscard]] LogPosition position() const { return position_; }
    [[nodiscard]] Result<void> set(LogPosition position);

private:
    Watermark(int file, LogPosition position) : file_(file), position_(position) {}

    int file_ = -1;
    LogPosition position_;
};

} // namespace doorbuster::sqlite
