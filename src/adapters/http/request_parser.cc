#include "adapters/http/request_parser.h"

#include <algorithm>
#include <array>
#include <boost/beast/http/basic_parser.hpp>
#include <cstring>
#include <limits>
#include <utility>

namespace doorbuster::http {
namespace {

namespace beast = boost::beast;

// Longer than any method in IANA's registry ("UPDATEREDIRECTREF", 17).
constexpr std::size_t kMethodMax = 32;
// Method, two spaces, "HTTP/1.1", line end.
constexpr std::size_t kStartLineMax = kTargetMax + 64;
constexpr std::size_t kHostMax = 255; // RFC 1035 section 2.3.4
constexpr std::size_t kRequestIdMax = 128;
constexpr std::size_t kNameShownMax = 64; // of a header whose value is malformed; ours are shorter

// What is wrong with a header or the request, in more than one place.
constexpr std::string_view kOnce = "must be there once";
constexpr std::string_view kBadHost = "must be a host name or address, perhaps with a port";
constexpr std::string_view kBadLength =
    "must be a whole number, without a Transfer-Encoding beside it";
constexpr std::string_view kBadEncoding =
    "must be chunked and nothing else, without a Content-Length beside it";
constexpr std::string_view kBadTarget = "has a malformed target";

static_assert(kStartLineMax + kHeadersMax + kBodyMax + kChunkLineMax + kTrailersMax <
              kRequestBytesMax);
static_assert(kRequestBytesMax <= std::numeric_limits<std::uint32_t>::max());

constexpr bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// RFC 9110 section 5.6.2
constexpr std::array<bool, 256> kIsTokenChar = [] {
    std::array<bool, 256> table = {};
    for (int i = 0; i < 128; ++i) {
        const char c = static_cast<char>(i);
        table[static_cast<std::size_t>(i)] =
            is_alphanumeric(c) ||
            std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    }
    return table;
}();

bool is_token_char(char c) { return kIsTokenChar[static_cast<unsigned char>(c)]; }

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// `lower_case` is in lower case.
bool equals_ignoring_case(std::string_view text, std::string_view lower_case) {
    return text.size() == lower_case.size() &&
           std::equal(text.begin(), text.end(), lower_case.begin(),
                      [](char a, char b) { return lower(a) == b; });
}

Method method_of(std::string_view text) {
    if (text == "GET") return Method::get;
    if (text == "POST") return Method::post;
    if (text == "HEAD") return Method::head;
    if (text == "PUT") return Method::put;
    if (text == "PATCH") return Method::patch;
    if (text == "DELETE") return Method::del;
    if (text == "OPTIONS") return Method::options;
    return Method::other;
}

bool is_usable_request_id(std::string_view id) {
    return !id.empty() && id.size() <= kRequestIdMax &&
           std::all_of(id.begin(), id.end(), [](char c) {
               return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
           });
}

// Without the white space around a header's value.
std::string_view trimmed(std::string_view value) {
    constexpr std::string_view kSpaces = " \t";
    const std::size_t first = std::min(value.find_first_not_of(kSpaces), value.size());
    value.remove_prefix(first);
    return value.substr(0, value.find_last_not_of(kSpaces) + 1);
}

// A host and perhaps a port. Not a full check, but no separator of anything gets through.
bool is_plausible_host(std::string_view host) {
    return host.size() <= kHostMax && std::all_of(host.begin(), host.end(), [](char c) {
               return is_alphanumeric(c) ||
                      std::string_view("-._~:[]%!$&'()*+;=").find(c) != std::string_view::npos;
           });
}

bool is_visible_ascii(char c) { return c > 0x20 && c < 0x7f; }

bool is_decimal(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    const char l = lower(c);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

// RFC 3986 section 2.3
bool is_unreserved(char c) {
    return is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

} // namespace

// Lives for one header section, which is complete when it is read.
class RequestParser::HeaderReader final : public beast::http::basic_parser<true> {
public:
    HeaderReader(RequestParser& parser, const char* data) : parser_(parser), data_(data) {
        header_limit(std::numeric_limits<std::uint32_t>::max()); // find_header_end keeps the limits
        body_limit(boost::none);
    }

    // Stops in front of the body.
    void read(std::size_t begin, std::size_t end) {
        beast::error_code ec;
        put(boost::asio::const_buffer(data_ + begin, end - begin), ec);
        if (parser_.state_ == ParseState::failed) return;
        if (ec || !is_header_done()) {
            refuse_reading(std::string_view(data_ + begin, end - begin), ec);
            return;
        }
        finish();
    }

private:
    using Error = beast::http::error;

    // What Beast could not read. A header by its name; the rest is the request's.
    void refuse_reading(std::string_view header, const beast::error_code& ec) {
        if (ec == Error::bad_content_length) {
            return parser_.fail(400, kBadLength, "Content-Length");
        }
        if (ec == Error::multiple_content_length) {
            return parser_.fail(400, kOnce, "Content-Length");
        }
        if (ec == Error::bad_transfer_encoding) {
            return parser_.fail(400, kBadEncoding, "Transfer-Encoding");
        }
        if (ec == Error::bad_value) return refuse_value(header);
        parser_.fail(400, detail_of(ec));
    }

    void refuse_value(std::string_view header) {
        header.remove_prefix(std::min(header.find("\r\n"), header.size())); // the start line
        while (!header.empty()) {
            header.remove_prefix(std::min<std::size_t>(2, header.size()));
            const std::string_view line = header.substr(0, header.find("\r\n"));
            header.remove_prefix(line.size());
            const bool is_bad = std::ranges::any_of(line, [](char c) {
                return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
            });
            const std::string_view name = line.substr(0, std::min(line.find(':'), line.size()));
            if (is_bad && !name.empty() && name.size() <= kNameShownMax &&
                std::ranges::all_of(name, is_token_char)) {
                return parser_.fail(400, "must not contain control characters", as_written(name));
            }
        }
        parser_.fail(400, "has a header with a malformed value");
    }

    // The name as documents write it, for those headers that people set by hand.
    static std::string_view as_written(std::string_view name) {
        for (const std::string_view known :
             {"Idempotency-Key", "X-User-Id", "Authorization", "Content-Type", "Host", "Origin",
              "X-Request-Id", "X-Forwarded-For", "Content-Encoding"}) {
            if (beast::iequals(name, known)) return known;
        }
        return name;
    }

    static std::string_view detail_of(const beast::error_code& ec) {
        if (ec == Error::bad_method) return "has a malformed method";
        if (ec == Error::bad_target) return kBadTarget;
        if (ec == Error::bad_version) return "must be of HTTP version 1.0 or 1.1";
        if (ec == Error::bad_field) return "has a malformed header name";
        if (ec == Error::bad_line_ending) return "has a malformed line end";
        return "is not well formed";
    }

    [[nodiscard]] Slice slice(std::string_view part) const {
        if (part.empty()) return {};
        return {static_cast<std::uint32_t>(part.data() - data_),
                static_cast<std::uint32_t>(part.size())};
    }

    void refuse(std::string_view field, std::string_view detail, beast::error_code& ec) {
        parser_.fail(400, detail, field);
        ec = Error::bad_value; // ends put()
    }

    void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view target,
                         int version, beast::error_code& ec) override {
        parser_.is_http_1_0_ = version == 10;
        parser_.method_text_ = slice(view(method));
        parser_.method_ = method_of(view(method));
        if (view(method) == "CONNECT") {
            refuse("request", "must not be a CONNECT", ec);
        } else if (!read_target(view(target))) {
            refuse("request", kBadTarget, ec);
        }
    }

    // RFC 9112 section 3.2: origin-form, and absolute-form, whose authority then is the Host.
    [[nodiscard]] bool read_target(std::string_view target) {
        const bool is_clean = std::all_of(target.begin(), target.end(),
                                          [](char c) { return is_visible_ascii(c) && c != '#'; });
        if (!is_clean || target.empty()) return false;
        if (target.front() != '/') {
            const std::size_t scheme_end = target.find("://");
            if (scheme_end == std::string_view::npos) return false;
            const std::string_view scheme = target.substr(0, scheme_end);
            if (!equals_ignoring_case(scheme, "http") && !equals_ignoring_case(scheme, "https")) {
                return false;
            }
            target.remove_prefix(scheme_end + 3);
            const std::string_view authority =
                target.substr(0, std::min(target.find_first_of("/?"), target.size()));
            if (authority.empty() || !is_plausible_host(authority)) return false;
            authority_ = slice(authority);
            target.remove_prefix(authority.size());
        }
        const std::size_t question = target.find('?');
        parser_.path_ = slice(target.substr(0, std::min(question, target.size())));
        if (question != std::string_view::npos) {
            parser_.query_ = slice(target.substr(question + 1));
        }
        return true;
    }

    void once(Once& header, std::string_view value, std::string_view name, beast::error_code& ec) {
        if (header.seen) return refuse(name, kOnce, ec);
        header.seen = true;
        header.value = slice(value);
    }

    void on_field_impl(beast::http::field field, beast::string_view field_name,
                       beast::string_view field_value, beast::error_code& ec) override {
        const std::string_view name = view(field_name);
        const std::string_view value = view(field_value);
        switch (field) {
        case beast::http::field::host:
            if (!is_plausible_host(value)) return refuse("Host", kBadHost, ec);
            return once(parser_.host_, value, "Host", ec);
        case beast::http::field::origin: return once(parser_.origin_, value, "Origin", ec);
        case beast::http::field::authorization:
            return once(parser_.authorization_, value, "Authorization", ec);
        case beast::http::field::content_type:
            return once(parser_.content_type_, value, "Content-Type", ec);
        case beast::http::field::accept_encoding: parser_.accept_encoding_ = slice(value); return;
        case beast::http::field::if_none_match: parser_.if_none_match_ = slice(value); return;
        case beast::http::field::content_length:
            if (std::exchange(has_length_, true)) return refuse("Content-Length", kOnce, ec);
            if (!is_decimal(value)) refuse("Content-Length", kBadLength, ec);
            return;
        case beast::http::field::content_encoding:
            if (!equals_ignoring_case(value, "identity")) parser_.body_is_encoded_ = true;
            return;
        case beast::http::field::transfer_encoding:
            if (std::exchange(has_encoding_, true) || !equals_ignoring_case(value, "chunked")) {
                refuse("Transfer-Encoding", kBadEncoding, ec);
            }
            return;
        case beast::http::field::expect:
            if (equals_ignoring_case(value, "100-continue")) parser_.expects_continue_ = true;
            return;
        default: break; // Beast's enum, several hundred names
        }
        if (equals_ignoring_case(name, "idempotency-key")) {
            once(parser_.idempotency_key_, value, "Idempotency-Key", ec);
        } else if (equals_ignoring_case(name, "x-user-id")) {
            once(parser_.user_id_, value, "X-User-Id", ec);
        } else if (equals_ignoring_case(name, "x-request-id")) {
            parser_.request_id_is_usable_ =
                !parser_.request_id_.seen && is_usable_request_id(value);
            parser_.request_id_ = Once{slice(value), true};
        } else if (equals_ignoring_case(name, "x-forwarded-for")) {
            join_forwarded_for(value);
        }
    }

    void join_forwarded_for(std::string_view value) {
        if (value.empty()) return;
        if (parser_.forwarded_for_.size == 0) {
            parser_.forwarded_for_ = slice(value);
            return;
        }
        std::string& joined = parser_.forwarded_for_joined_;
        if (joined.empty()) joined = parser_.forwarded_for_.in(data_);
        joined.append(", ").append(value);
    }

    // Everything that only the whole section tells.
    void finish() {
        if (!parser_.is_http_1_0_ && !parser_.host_.seen) {
            return parser_.fail(400, "is missing", "Host");
        }
        if (authority_.size > 0) parser_.host_ = Once{authority_, true};
        if (has_encoding_ && has_length_) {
            return parser_.fail(400, kBadEncoding, "Transfer-Encoding");
        }
        if (has_encoding_ && parser_.is_http_1_0_) {
            return parser_.fail(400, "needs HTTP/1.1", "Transfer-Encoding");
        }
        if (content_length().value_or(0) > kBodyMax) {
            return parser_.fail(413, "The body is larger than 64 KiB.");
        }
        parser_.keep_alive_ = keep_alive();
        if (parser_.is_http_1_0_) parser_.expects_continue_ = false; // RFC 9110 section 10.1.1
        parser_.is_chunked_ = has_encoding_;
        parser_.content_length_ = static_cast<std::size_t>(content_length().value_or(0));
        parser_.state_ = ParseState::need_body;
    }

    void on_header_impl(beast::error_code&) override {}
    void on_finish_impl(beast::error_code&) override {}
    // Never called: put() stops in front of the body. Beast wants them defined.
    void on_response_impl(int, beast::string_view, int, beast::error_code&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, beast::error_code&) override {}
    std::size_t on_body_impl(beast::string_view, beast::error_code&) override { return 0; }
    void on_chunk_header_impl(std::uint64_t, beast::string_view, beast::error_code&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view, beast::error_code&) override {
        return 0;
    }

    RequestParser& parser_;
    const char* data_;
    Slice authority_;
    bool has_length_ = false;
    bool has_encoding_ = false;
};

void RequestParser::reset() {
    std::string joined = std::move(forwarded_for_joined_); // keeps its memory
    joined.clear();
    *this = RequestParser();
    forwarded_for_joined_ = std::move(joined);
}

void RequestParser::fail(std::uint16_t status, std::string_view detail, std::string_view field) {
    state_ = ParseState::failed;
    failure_ = ParseFailure{status, detail, field};
}

ParseState RequestParser::parse(char* data, std::size_t& size) {
    if (state_ == ParseState::need_header && find_header_end(data, size)) read_header(data);
    if (state_ == ParseState::need_body) {
        body_begun_ = size > header_end_;
        if (is_chunked_) {
            join_chunks(data, size);
        } else if (size - header_end_ >= content_length_) {
            body_size_ = content_length_;
            state_ = ParseState::complete;
        }
    }
    return state_;
}

// Judges each line by itself and in order, so that a failure never depends on what follows it.
bool RequestParser::find_header_end(const char* data, std::size_t size) {
    while (true) {
        const void* found =
            size > scanned_ ? std::memchr(data + scanned_, '\n', size - scanned_) : nullptr;
        const std::size_t end =
            found ? static_cast<std::size_t>(static_cast<const char*>(found) - data) + 1 : size;
        const std::string_view line(data + line_, end - line_);

        const bool is_start_line = fields_at_ == 0;
        const bool is_blank_so_far = line == "\r" || line == "\r\n";
        if (is_start_line) {
            // RFC 9112 section 2.2: an empty line before the request is skipped, one.
            const bool may_skip = is_blank_so_far && start_ == 0;
            if (!may_skip && !check_start_line(line)) return false;
        } else if (end - fields_at_ > kHeadersMax) {
            fail(431, "The headers are larger than 16 KiB.");
            return false;
        }
        if (!found) {
            scanned_ = size;
            return false;
        }
        if (line.size() < 2 || line[line.size() - 2] != '\r') {
            fail(400, "has a line that ends without CR");
            return false;
        }
        line_ = scanned_ = end;
        if (is_start_line) {
            (is_blank_so_far ? start_ : fields_at_) = end;
        } else if (is_blank_so_far) {
            header_end_ = end;
            return true;
        } else if (line.front() == ' ' || line.front() == '\t') {
            fail(400, "has a folded header line");
            return false;
        }
    }
}

// The line may be incomplete. Only what decides between 400 and 414 and what keeps a client that
// speaks something else from waiting for the time-out; Beast reads the line properly later.
bool RequestParser::check_start_line(std::string_view line) {
    const auto* const method_end =
        std::find_if_not(line.begin(), line.end(), [](char c) { return is_token_char(c); });
    const auto method_size = static_cast<std::size_t>(method_end - line.begin());
    const bool is_method_over = method_end != line.end();
    if (method_size > kMethodMax || (is_method_over && (method_size == 0 || *method_end != ' '))) {
        fail(400, "has a malformed method");
        return false;
    }
    if (!is_method_over) return true;
    line.remove_prefix(method_size + 1);
    const std::size_t target_size = std::min(line.find_first_of(" \r\n"), line.size());
    if (target_size > kTargetMax) {
        fail(414, "The request target is longer than 8 KiB.");
        return false;
    }
    if (line.size() - target_size > kStartLineMax - kTargetMax) {
        fail(400, "has a malformed start line");
        return false;
    }
    return true;
}

void RequestParser::read_header(char* data) {
    HeaderReader(*this, data).read(start_, header_end_);
    if (path_.in(data).find('%') != std::string_view::npos) decode_path(data);
}

// RFC 3986 section 6.2.2.2: the same address with and without escapes that nothing needs. Others
// stay: a decoded slash would be another address.
void RequestParser::decode_path(char* data) {
    char* const path = data + path_.offset;
    std::uint32_t out = 0;
    for (std::uint32_t in = 0; in < path_.size; ++in, ++out) {
        path[out] = path[in];
        if (path[in] != '%' || path_.size - in < 3) continue;
        const int high = hex_digit(path[in + 1]);
        const int low = hex_digit(path[in + 2]);
        if (high < 0 || low < 0 || !is_unreserved(static_cast<char>(high * 16 + low))) continue;
        path[out] = static_cast<char>(high * 16 + low);
        in += 2;
    }
    path_.size = out;
}

bool RequestParser::read_chunk_size(std::string_view line) {
    std::size_t size = 0;
    std::size_t digits = 0;
    for (; digits < line.size() && hex_digit(line[digits]) >= 0; ++digits) {
        size = size * 16 + static_cast<std::size_t>(hex_digit(line[digits]));
        if (size > kBodyMax) size = kBodyMax + 1; // too large anyway, and never overflows
    }
    // Extensions are ignored, but must be ones.
    const std::string_view rest = line.substr(digits, line.size() - digits - 2);
    const bool is_clean = std::all_of(rest.begin(), rest.end(), [](char c) {
        return is_visible_ascii(c) || c == ' ' || c == '\t';
    });
    if (digits == 0 || !is_clean || (!rest.empty() && rest.front() != ';')) {
        fail(400, "has a malformed chunk size");
        return false;
    }
    if (size > kBodyMax - body_size_) {
        fail(413, "The body is larger than 64 KiB.");
        return false;
    }
    chunk_left_ = size;
    return true;
}

// The joined body grows right behind the header; `in` runs ahead of its end by the framing that has
// been taken out, and what could not be read yet is moved up behind it.
void RequestParser::join_chunks(char* data, std::size_t& size) {
    const std::size_t out_begin = header_end_ + body_size_;
    std::size_t in = out_begin;
    bool needs_more = false;
    while (state_ == ParseState::need_body && !needs_more) {
        if (chunk_part_ == ChunkPart::data) {
            const std::size_t n = std::min(chunk_left_, size - in);
            std::memmove(data + header_end_ + body_size_, data + in, n);
            in += n;
            body_size_ += n;
            chunk_left_ -= n;
            needs_more = chunk_left_ > 0;
            if (!needs_more) chunk_part_ = ChunkPart::data_end;
            continue;
        }
        // The other parts are lines; the one behind a chunk's data is empty.
        const void* found = size > in ? std::memchr(data + in, '\n', size - in) : nullptr;
        const std::size_t end =
            found ? static_cast<std::size_t>(static_cast<const char*>(found) - data) + 1 : size;
        const std::string_view line(data + in, end - in);
        const bool is_empty = line == "\r\n";
        if (chunk_part_ == ChunkPart::data_end && !is_empty && line != "\r" && !line.empty()) {
            fail(400, "has a chunk that is longer than its size");
        } else if (chunk_part_ == ChunkPart::trailers && trailers_ + line.size() > kTrailersMax) {
            fail(431, "The trailers are larger than 4 KiB.");
        } else if (chunk_part_ == ChunkPart::size_line && line.size() > kChunkLineMax) {
            fail(400, "has a malformed chunk size");
        } else if (!found) {
            needs_more = true;
        } else if (line.size() < 2 || line[line.size() - 2] != '\r') {
            fail(400, "has a line that ends without CR");
        } else {
            in = end;
            framing_ += line.size();
            if (framing_ > kFramingMax) {
                fail(400, "has too many chunks");
            } else if (chunk_part_ == ChunkPart::data_end) {
                chunk_part_ = ChunkPart::size_line;
            } else if (chunk_part_ == ChunkPart::trailers) {
                trailers_ += line.size();
                if (is_empty) state_ = ParseState::complete;
            } else if (read_chunk_size(line)) {
                chunk_part_ = chunk_left_ == 0 ? ChunkPart::trailers : ChunkPart::data;
            }
        }
    }
    const std::size_t out = header_end_ + body_size_;
    if (in != out) {
        std::memmove(data + out, data + in, size - in);
        size -= in - out;
    }
}

// Not from request_id_: a section that is too long, malformed or incomplete is never read.
std::string_view RequestParser::request_id_so_far(const char* data, std::size_t size) const {
    constexpr std::string_view kName = "x-request-id";
    std::string_view rest(data + start_, size - start_);
    std::string_view id;
    bool is_start_line = true;
    while (true) {
        const std::size_t end = rest.find('\n');
        if (end == std::string_view::npos) return id; // what there is of a line is no line
        std::string_view line = rest.substr(0, end);
        rest.remove_prefix(end + 1);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (std::exchange(is_start_line, false)) continue;
        if (line.empty()) return id; // the body follows
        const std::size_t colon = line.find(':');
        if (!equals_ignoring_case(line.substr(0, std::min(colon, line.size())), kName)) continue;
        const std::string_view value = trimmed(line.substr(std::min(colon + 1, line.size())));
        if (!id.empty() || !is_usable_request_id(value)) return {};
        id = value;
    }
}

void RequestParser::fill(Request& request, const char* data) const {
    const auto value = [data](const Once& header) { return header.value.in(data); };
    request.method = method_;
    request.method_text = method_text_.in(data);
    request.path = path_.size == 0 ? std::string_view("/") : path_.in(data);
    request.query = query_.in(data);
    request.keep_alive = keep_alive_;
    request.host = value(host_);
    request.origin = value(origin_);
    request.authorization = value(authorization_);
    request.content_type = value(content_type_);
    request.idempotency_key = value(idempotency_key_);
    request.has_idempotency_key = idempotency_key_.seen;
    request.user_id = value(user_id_);
    request.accept_encoding = accept_encoding_.in(data);
    request.if_none_match = if_none_match_.in(data);
    request.forwarded_for = forwarded_for_joined_.empty() ? forwarded_for_.in(data)
                                                          : std::string_view(forwarded_for_joined_);
    request.request_id = request_id_is_usable_ ? value(request_id_) : std::string_view();
    request.body = {data + header_end_, body_size_};
    request.body_is_encoded = body_is_encoded_;
}

} // namespace doorbuster::http
