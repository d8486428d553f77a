// RequestParser: bytes to a Request, one request at a time. Belongs to one connection, does no I/O.
//
// Beast's basic_parser reads a header section once it is complete; this class finds its end, keeps
// the limits, and refuses what two parsers could read in two ways (RFC 9112 sections 5, 6
// and 11.2): bare LF, folded lines, repeated or conflicting lengths, repeated headers that decide
// who asks. The outcome depends on the bytes only, never on how they were cut into reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "adapters/http/message.h"

namespace doorbuster::http {

inline constexpr std::size_t kBodyMax = 64 * 1024; // the contract's
// Twice what browsers send at most; what nginx and Apache take by default.
inline constexpr std::size_t kTargetMax = 8 * 1024;
// All header lines together. A JWT with a large claim set is about 4 KiB.
inline constexpr std::size_t kHeadersMax = 16 * 1024;
// Of a chunk's size line with its extensions (which are ignored), and of all trailer lines.
inline constexpr std::size_t kChunkLineMax = 1024;
inline constexpr std::size_t kTrailersMax = 4 * 1024;
// Size lines and line ends of all chunks together: enough for kBodyMax chunks of one byte.
inline constexpr std::size_t kFramingMax = 512 * 1024;
// The most that an incomplete request occupies in its buffer, with room to read on.
inline constexpr std::size_t kRequestBytesMax = 96 * 1024;

enum class ParseState : std::uint8_t { need_header, need_body, complete, failed };

class RequestParser {
public:
    // `data` to `data + size`: everything received from the request's first byte on, at any
    // address; each call presents what the last one left and what came since. Takes the framing out
    // of a chunked body in place, hence `size` may shrink, and escapes out of the path. After
    // complete or failed: reset() first.
    ParseState parse(char* data, std::size_t& size);
    void reset();

    // After complete. The bytes of the request; the next one begins behind them.
    [[nodiscard]] std::size_t consumed() const { return header_end_ + body_size_; }
    // After complete. Sets all of `request` but peer, listener and a missing request_id; the views
    // point into `data` and this parser.
    void fill(Request& request, const char* data) const;

    // After need_body: the client waits for "100 Continue" and has sent nothing of the body.
    [[nodiscard]] bool awaits_continue() const { return expects_continue_ && !body_begun_; }
    // After failed; goes to Handler::protocol_error as long as `data` is there.
    [[nodiscard]] const ParseFailure& failure() const { return failure_; }
    // Of a request that gets no further than this, for the answer that says so: the X-Request-Id
    // among the header lines that are there, to `data + size`; empty without a usable one.
    [[nodiscard]] std::string_view request_id_so_far(const char* data, std::size_t size) const;
    // After need_body or complete.
    [[nodiscard]] bool is_http_1_0() const { return is_http_1_0_; }

private:
    class HeaderReader;
    struct Slice { // relative to the request's first byte
        std::uint32_t offset = 0;
        std::uint32_t size = 0;
        [[nodiscard]] std::string_view in(const char* data) const { return {data + offset, size}; }
    };
    enum class ChunkPart : std::uint8_t { size_line, data, data_end, trailers };
    // The headers that may come once at most.
    struct Once {
        Slice value;
        bool seen = false;
    };

    [[nodiscard]] bool find_header_end(const char* data, std::size_t size);
    [[nodiscard]] bool check_start_line(std::string_view line);
    void read_header(char* data);
    void decode_path(char* data);
    void join_chunks(char* data, std::size_t& size);
    [[nodiscard]] bool read_chunk_size(std::string_view line);
    void fail(std::uint16_t status, std::string_view detail, std::string_view field = "request");

    ParseState state_ = ParseState::need_header;
    ParseFailure failure_;

    std::size_t start_ = 0;     // behind an empty line that was skipped
    std::size_t line_ = 0;      // where the line that is looked at begins
    std::size_t scanned_ = 0;   // no line end between line_ and this
    std::size_t fields_at_ = 0; // behind the start line; 0: not there yet
    std::size_t header_end_ = 0;

    std::size_t content_length_ = 0;
    std::size_t body_size_ = 0;
    std::size_t chunk_left_ = 0;
    std::size_t framing_ = 0;
    std::size_t trailers_ = 0;
    ChunkPart chunk_part_ = ChunkPart::size_line;
    bool is_chunked_ = false;

    Method method_ = Method::other;
    bool is_http_1_0_ = false;
    bool keep_alive_ = true;
    bool expects_continue_ = false;
    bool body_begun_ = false;
    bool body_is_encoded_ = false;
    bool request_id_is_usable_ = true;
    Slice method_text_;
    Slice path_;
    Slice query_;
    Once host_;
    Once origin_;
    Once authorization_;
    Once content_type_;
    Once idempotency_key_;
    Once user_id_;
    Once request_id_;
    Slice accept_encoding_;
    Slice if_none_match_;
    Slice forwarded_for_;
    std::string forwarded_for_joined_; // only if several were sent
};

} // namespace doorbuster::http
