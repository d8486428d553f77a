#include "app/load/answer_reader.h"

#include <algorithm>
#include <charconv>

namespace doorbuster::load {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

// `name` is in lower case.
bool is_name(std::string_view text, std::string_view name) {
    return text.size() == name.size() &&
           std::ranges::equal(text, name, [](char a, char b) { return lower(a) == b; });
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

bool read_number(std::string_view text, int base, std::size_t& out) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, out, base);
    return !text.empty() && error == std::errc{} && stop == end;
}

} // namespace

std::span<char> AnswerReader::space() {
    if (end_ == buffer_.size() && buffer_.size() < kAnswerBytesMax) {
        buffer_.resize(std::min(buffer_.size() * 2, kAnswerBytesMax));
    }
    return std::span(buffer_).subspan(end_);
}

bool AnswerReader::drop() {
    const bool is_clean = consumed_ == end_;
    reset();
    return is_clean;
}

void AnswerReader::reset() {
    end_ = 0;
    consumed_ = 0;
    why_ = {};
}

AnswerReader::Progress AnswerReader::broken(std::string_view why) {
    why_ = why;
    return Progress::broken;
}

AnswerReader::Progress AnswerReader::next(Answer& out) { return read(out, false); }

AnswerReader::Progress AnswerReader::ended(Answer& out) {
    const Progress progress = read(out, true);
    if (progress == Progress::more) return broken("the connection was closed inside of an answer");
    return progress;
}

AnswerReader::Progress AnswerReader::read(Answer& out, bool is_closed) {
    std::string_view text(buffer_.data(), end_);
    Head head;
    for (;;) {
        const Progress progress = read_head(text, head, out);
        if (progress != Progress::answer) return progress;
        text.remove_prefix(head.bytes);
        if (out.status >= 200) break; // 1xx: the real answer follows
    }
    if (head.chunked && head.has_length) return broken("it has a length and chunks");
    if (out.status == 204 || out.status == 304) {
        out.body = {};
    } else if (head.chunked) {
        return read_chunks(text, out);
    } else if (head.has_length) {
        if (head.length > kAnswerBytesMax) return broken("it is larger than 64 KiB");
        if (text.size() < head.length) return Progress::more;
        out.body = text.substr(0, head.length);
    } else {
        out.keep_alive = false;
        if (!is_closed) return Progress::more;
        out.body = text;
    }
    consumed_ = static_cast<std::size_t>(text.data() - buffer_.data()) + out.body.size();
    return Progress::answer;
}

AnswerReader::Progress AnswerReader::read_head(std::string_view text, Head& head, Answer& out) {
    const std::size_t end = text.find("\r\n\r\n");
    if (end == std::string_view::npos) {
        return text.size() >= kAnswerBytesMax ? broken("its head is larger than 64 KiB")
                                              : Progress::more;
    }
    out = {};
    head = {};
    head.bytes = end + 4;
    std::string_view lines = text.substr(0, end + kLineEnd.size());
    const std::string_view first = lines.substr(0, lines.find(kLineEnd));
    // "HTTP/1.1 202 Accepted"; the reason may be missing.
    std::size_t status = 0;
    const bool is_http = first.starts_with("HTTP/1.1 ") || first.starts_with("HTTP/1.0 ");
    if (!is_http || first.size() < 12 || !read_number(first.substr(9, 3), 10, status) ||
        (first.size() > 12 && first[12] != ' ') || status < 100 || status > 599) {
        return broken("its status line is not HTTP/1.1");
    }
    out.status = static_cast<int>(status);
    out.keep_alive = first[7] == '1';
    lines.remove_prefix(first.size() + kLineEnd.size());
    while (!lines.empty()) {
        const std::size_t length = lines.find(kLineEnd);
        const Progress progress = read_header(lines.substr(0, length), head, out);
        if (progress != Progress::answer) return progress;
        lines.remove_prefix(length + kLineEnd.size());
    }
    return Progress::answer;
}

AnswerReader::Progress AnswerReader::read_header(std::string_view line, Head& head, Answer& out) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return broken("a header line has no name");
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trimmed(line.substr(colon + 1));
    // The lengths of the names that matter differ mostly: most headers cost one comparison.
    switch (name.size()) {
    case 8:
        if (is_name(name, "location")) out.location = value;
        break;
    case 9:
        if (is_name(name, "ratelimit")) out.rate_limit = value;
        break;
    case 10:
        if (is_name(name, "connection")) {
            if (is_name(value, "close")) out.keep_alive = false;
            if (is_name(value, "keep-alive")) out.keep_alive = true;
        }
        break;
    case 11:
        if (is_name(name, "retry-after")) out.retry_after = value;
        break;
    case 12:
        if (is_name(name, "content-type")) out.content_type = value;
        break;
    case 14:
        if (is_name(name, "content-length")) {
            if (head.has_length) return broken("it has two lengths");
            if (!read_number(value, 10, head.length)) return broken("its length is no number");
            head.has_length = true;
        }
        break;
    case 16:
        if (is_name(name, "ratelimit-policy")) out.rate_limit_policy = value;
        break;
    case 17:
        if (is_name(name, "transfer-encoding")) {
            if (!is_name(value, "chunked")) return broken("its transfer encoding is not chunked");
            head.chunked = true;
        }
        break;
    case 20:
        if (is_name(name, "idempotency-replayed")) out.replayed = value;
        break;
    default: break;
    }
    return Progress::answer;
}

AnswerReader::Progress AnswerReader::read_chunks(std::string_view text, Answer& out) {
    joined_.clear();
    for (;;) {
        const std::size_t line_end = text.find(kLineEnd);
        if (line_end == std::string_view::npos) return Progress::more;
        const std::string_view line = text.substr(0, line_end);
        std::size_t size = 0;
        if (!read_number(trimmed(line.substr(0, line.find(';'))), 16, size) ||
            size > kAnswerBytesMax) {
            return broken("a chunk's size is wrong");
        }
        text.remove_prefix(line_end + kLineEnd.size());
        if (size == 0) break;
        if (text.size() < size + kLineEnd.size()) return Progress::more;
        if (text.substr(size, kLineEnd.size()) != kLineEnd) return broken("a chunk has no end");
        joined_.append(text.substr(0, size));
        text.remove_prefix(size + kLineEnd.size());
    }
    // Trailers, if any, up to an empty line.
    for (;;) {
        const std::size_t line_end = text.find(kLineEnd);
        if (line_end == std::string_view::npos) return Progress::more;
        text.remove_prefix(line_end + kLineEnd.size());
        if (line_end == 0) break;
    }
    out.body = joined_;
    consumed_ = static_cast<std::size_t>(text.data() - buffer_.data());
    return Progress::answer;
}

} // namespace doorbuster::load
