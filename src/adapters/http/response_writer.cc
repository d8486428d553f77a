#include "adapters/http/response_writer.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <random>

#include "base/assert.h"

namespace doorbuster::http {
namespace {

// An ordinary answer fits; beyond kKeptMax the memory is given back when everything was sent.
constexpr std::size_t kCapacityMin = 2 * 1024;
constexpr std::size_t kKeptMax = 64 * 1024;
// All that write_response adds to headers, content type and request id.
constexpr std::size_t kFixedParts = 256;

// RFC 9110 section 15, and 428 to 431 of RFC 6585. Empty for what we never name.
std::string_view status_line(std::uint16_t status) {
    switch (status) {
    case 200: return "HTTP/1.1 200 OK\r\n";
    case 201: return "HTTP/1.1 201 Created\r\n";
    case 202: return "HTTP/1.1 202 Accepted\r\n";
    case 204: return "HTTP/1.1 204 No Content\r\n";
    case 304: return "HTTP/1.1 304 Not Modified\r\n";
    case 400: return "HTTP/1.1 400 Bad Request\r\n";
    case 401: return "HTTP/1.1 401 Unauthorized\r\n";
    case 403: return "HTTP/1.1 403 Forbidden\r\n";
    case 404: return "HTTP/1.1 404 Not Found\r\n";
    case 405: return "HTTP/1.1 405 Method Not Allowed\r\n";
    case 408: return "HTTP/1.1 408 Request Timeout\r\n";
    case 409: return "HTTP/1.1 409 Conflict\r\n";
    case 410: return "HTTP/1.1 410 Gone\r\n";
    case 413: return "HTTP/1.1 413 Content Too Large\r\n";
    case 414: return "HTTP/1.1 414 URI Too Long\r\n";
    case 415: return "HTTP/1.1 415 Unsupported Media Type\r\n";
    case 422: return "HTTP/1.1 422 Unprocessable Content\r\n";
    case 429: return "HTTP/1.1 429 Too Many Requests\r\n";
    case 431: return "HTTP/1.1 431 Request Header Fields Too Large\r\n";
    case 500: return "HTTP/1.1 500 Internal Server Error\r\n";
    case 503: return "HTTP/1.1 503 Service Unavailable\r\n";
    default: return {};
    }
}

} // namespace

void OutputBuffer::reserve(std::size_t bytes) {
    if (capacity_ - size_ >= bytes) return;
    const std::size_t capacity = std::max({kCapacityMin, capacity_ * 2, size_ + bytes});
    auto data = std::make_unique_for_overwrite<char[]>(capacity);
    if (size_ > 0) std::memcpy(data.get(), data_.get(), size_);
    data_ = std::move(data);
    capacity_ = capacity;
}

void OutputBuffer::append(std::string_view text) {
    if (text.empty()) return;
    reserve(text.size());
    std::memcpy(data_.get() + size_, text.data(), text.size());
    size_ += text.size();
}

void OutputBuffer::append_number(std::uint64_t number) {
    reserve(20);
    const auto result = std::to_chars(data_.get() + size_, data_.get() + capacity_, number);
    size_ = static_cast<std::size_t>(result.ptr - data_.get());
}

void OutputBuffer::sent(std::size_t bytes) {
    sent_ += bytes;
    if (sent_ < size_) return;
    sent_ = size_ = 0;
    if (capacity_ > kKeptMax) {
        data_.reset();
        capacity_ = 0;
    }
}

void write_response(OutputBuffer& out, const Response& response, const ResponseFrame& frame) {
    const std::string_view content = response.content();
    const bool may_have_content = response.status != 204 && response.status != 304;
    const bool sends_content = may_have_content && !frame.is_head;
    out.reserve(kFixedParts + response.content_type.size() + response.headers.size() +
                frame.request_id.size() + (sends_content ? content.size() : 0));

    const std::string_view line = status_line(response.status);
    if (line.empty()) {
        out.append("HTTP/1.1 ");
        out.append_number(response.status);
        out.append(" \r\n");
    }
    out.append(line);
    out.append(frame.date_line);
    if (may_have_content && (response.stream || !content.empty())) {
        out.append("Content-Type: ");
        out.append(response.content_type);
        out.append("\r\n");
    }
    if (response.stream) {
        // The end of an HTTP/1.0 stream is that of its connection.
        if (sends_content && !frame.is_http_1_0) out.append("Transfer-Encoding: chunked\r\n");
    } else if (may_have_content) {
        out.append("Content-Length: ");
        out.append_number(content.size());
        out.append("\r\n");
    }
    out.append("X-Request-Id: ");
    out.append(frame.request_id);
    out.append("\r\n");
    out.append(response.headers);
    if (!frame.keep_alive) {
        out.append("Connection: close\r\n");
    } else if (frame.is_http_1_0) {
        out.append("Connection: keep-alive\r\n");
    }
    out.append("\r\n");
    if (sends_content) out.append(content);
}

void write_chunk(OutputBuffer& out, std::string_view part) {
    DB_ASSERT(!part.empty()); // would be the last chunk
    std::array<char, 16> digits = {};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), part.size(), 16);
    out.reserve(digits.size() + part.size() + 4);
    out.append({digits.data(), static_cast<std::size_t>(end.ptr - digits.data())});
    out.append("\r\n");
    out.append(part);
    out.append("\r\n");
}

void write_last_chunk(OutputBuffer& out) { out.append("0\r\n\r\n"); }

void DateLine::set(std::time_t now) {
    if (now == made_for_) return;
    made_for_ = now;
    static constexpr std::string_view kDays = "SunMonTueWedThuFriSat";
    static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
    std::tm parts = {};
    gmtime_r(&now, &parts);
    char* to = text_.data();
    const auto put = [&to](std::string_view text) { to = std::copy(text.begin(), text.end(), to); };
    const auto put_digits = [&to](int value, int count) {
        for (int i = count - 1; i >= 0; --i, value /= 10)
            to[i] = static_cast<char>('0' + value % 10);
        to += count;
    };
    put("Date: ");
    put(kDays.substr(static_cast<std::size_t>(parts.tm_wday) * 3, 3));
    put(", ");
    put_digits(parts.tm_mday, 2);
    put(" ");
    put(kMonths.substr(static_cast<std::size_t>(parts.tm_mon) * 3, 3));
    put(" ");
    put_digits(parts.tm_year + 1900, 4);
    put(" ");
    put_digits(parts.tm_hour, 2);
    put(":");
    put_digits(parts.tm_min, 2);
    put(":");
    put_digits(parts.tm_sec, 2);
    put(" GMT\r\n");
}

RequestIds::RequestIds() {
    static constexpr std::string_view kLetters = "0123456789abcdefghjkmnpqrstvwxyz";
    std::random_device random; // the system's
    for (char& c : prefix_) c = kLetters[random() % kLetters.size()];
    prefix_.back() = '-';
}

std::string_view RequestIds::next(Buffer& buffer) {
    static_assert(sizeof(Buffer) >= sizeof(prefix_) + 16);
    char* const digits = std::copy(prefix_.begin(), prefix_.end(), buffer.data());
    const auto result = std::to_chars(digits, buffer.data() + buffer.size(), ++count_, 16);
    return {buffer.data(), static_cast<std::size_t>(result.ptr - buffer.data())};
}

} // namespace doorbuster::http
