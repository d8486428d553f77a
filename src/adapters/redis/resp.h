// The wire format, RESP2: commands to bytes, bytes to replies (by hiredis' reader). No I/O; used
// on one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "adapters/redis/reply.h"
#include "base/result.h"

struct redisReader;

namespace doorbuster::redis {

// Ours are some kilobytes; a map of 1,000 nodes with replicas is 1 MB.
inline constexpr std::size_t kReplyBytesMax = 64UL << 20;
inline constexpr std::size_t kReplyItemsMax = 1'000'000; // of one array

// A command as an array of bulk strings.
void append_command(std::string& out, std::span<const std::string_view> arguments);

class ReplyReader {
public:
    ReplyReader();
    ~ReplyReader();
    ReplyReader(const ReplyReader&) = delete;
    ReplyReader& operator=(const ReplyReader&) = delete;

    void feed(std::string_view bytes);
    // The next whole reply; nullopt: more bytes are needed. Errc::corrupt when the bytes are not
    // RESP2 or a reply is past its bounds: the reader is of no more use.
    [[nodiscard]] Result<std::optional<Reply>> next();

private:
    struct Free {
        void operator()(redisReader* reader) const;
    };
    std::unique_ptr<redisReader, Free> reader_;
    std::size_t bytes_waiting_ = 0; // fed since the last whole reply
};

} // namespace doorbuster::redis
