// From a Response to bytes, and the small things every response carries. A connection's or a
// core's; no locks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string_view>

#include "adapters/http/message.h"

namespace doorbuster::http {

// Bytes on their way to a client. Grows; what was sent is dropped when all was.
class OutputBuffer {
public:
    void append(std::string_view text);
    void append_number(std::uint64_t number);
    // Makes room, so that the appends that follow do not allocate.
    void reserve(std::size_t bytes);

    [[nodiscard]] std::string_view unsent() const { return {data_.get() + sent_, size_ - sent_}; }
    void sent(std::size_t bytes);

private:
    std::unique_ptr<char[]> data_;
    std::size_t capacity_ = 0;
    std::size_t size_ = 0;
    std::size_t sent_ = 0;
};

// What a response's bytes depend on besides the Response.
struct ResponseFrame {
    std::string_view date_line; // "Date: ...\r\n"
    std::string_view request_id;
    bool is_head = false; // the body stays here, its length is told
    bool keep_alive = true;
    bool is_http_1_0 = false; // keeping alive must be said
};

// All of it, but only the head of one whose body is a stream.
void write_response(OutputBuffer& out, const Response& response, const ResponseFrame& frame);

// A part of a stream's body to a client of HTTP/1.1 (RFC 9112 section 7.1), and its end.
void write_chunk(OutputBuffer& out, std::string_view part);
void write_last_chunk(OutputBuffer& out);

// A Date line that is made once a second (RFC 9110 section 5.6.7).
class DateLine {
public:
    void set(std::time_t now);
    [[nodiscard]] std::string_view line() const { return {text_.data(), text_.size()}; }

private:
    std::time_t made_for_ = -1;
    std::array<char, 37> text_ = {};
};

// X-Request-Ids for requests that brought none: a random prefix per core, then a counter.
class RequestIds {
public:
    RequestIds();
    // Overwrites what it returned last for the same `buffer`.
    using Buffer = std::array<char, 32>;
    [[nodiscard]] std::string_view next(Buffer& buffer);

private:
    std::array<char, 12> prefix_ = {};
    std::uint64_t count_ = 0;
};

} // namespace doorbuster::http
