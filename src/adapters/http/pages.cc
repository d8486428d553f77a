#include "adapters/http/pages.h"

#include <algorithm>
#include <string>

namespace doorbuster::http {
namespace {

constexpr std::string_view kKeep = "Cache-Control: public, max-age=31536000, immutable\r\n";
constexpr std::string_view kAskAgain = "Cache-Control: no-cache\r\n";

// Whatever a page may do is named here: its own scripts, styles and pictures, calls to its own
// server. No script or style stands in the page itself, no other site may frame it, and texts can
// never become script, even if the page's own code forgot to escape one (Trusted Types).
constexpr std::string_view kPageSecurity =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Permissions-Policy: camera=(), geolocation=(), microphone=(), payment=(), usb=()\r\n";
constexpr std::string_view kSecurity = "X-Content-Type-Options: nosniff\r\n"
                                       "Cross-Origin-Resource-Policy: same-origin\r\n";

constexpr std::string_view kNoPages =
    "<!doctype html><html lang=\"en\"><title>doorbuster</title><h1>doorbuster is running</h1>"
    "<p>The pages were not built into this binary, because there was no Node.js when it was "
    "built. Install Node.js 18 or newer and npm, and build again. The API is all there: see "
    "<a href=\"/openapi.yaml\">/openapi.yaml</a>, <a href=\"/readyz\">/readyz</a> and "
    "<a href=\"/metrics\">/metrics</a>.</p></html>\n";

std::string_view trimmed(std::string_view text) {
    const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    return text;
}

bool equal_ignoring_case(std::string_view text, std::string_view lower_case) {
    return std::ranges::equal(text, lower_case, [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? a | 0x20 : a) == b;
    });
}

// "q=0", "q=0.0", …: not at all.
bool is_refused(std::string_view parameters) {
    const std::size_t at = parameters.find("q=");
    if (at == std::string_view::npos) return false;
    const std::string_view weight = parameters.substr(at + 2);
    return weight.find_first_of("123456789") == std::string_view::npos;
}

// "*", or the tag among those of a list; a proxy may have made them weak (RFC 9110 section 13.1.2).
bool names_tag(std::string_view if_none_match, std::string_view etag) {
    if (trimmed(if_none_match) == "*") return true;
    while (!if_none_match.empty()) {
        const std::size_t comma = std::min(if_none_match.find(','), if_none_match.size());
        std::string_view tag = trimmed(if_none_match.substr(0, comma));
        if_none_match.remove_prefix(std::min(comma + 1, if_none_match.size()));
        if (tag.starts_with("W/")) tag.remove_prefix(2);
        if (tag.size() == etag.size() + 2 && tag.front() == '"' && tag.back() == '"' &&
            tag.substr(1, etag.size()) == etag) {
            return true;
        }
    }
    return false;
}

Response answer_with(const WebFile& page, const Request& request, std::string_view caching) {
    Response response;
    response.content_type = page.content_type;
    response.headers.append(caching).append(kSecurity);
    response.headers += "Vary: Accept-Encoding\r\n";
    // Of the content, not of its coding: so it is weak (RFC 9110 section 8.8.3.3).
    response.headers.append("ETag: W/\"").append(page.etag).append("\"\r\n");
    if (names_tag(request.if_none_match, page.etag)) {
        response.status = 304;
        return response;
    }
    if (!page.brotli.empty() && accepts_coding(request.accept_encoding, "br")) {
        response.headers += "Content-Encoding: br\r\n";
        response.fixed = page.brotli;
    } else if (!page.gzip.empty() && accepts_coding(request.accept_encoding, "gzip")) {
        response.headers += "Content-Encoding: gzip\r\n";
        response.fixed = page.gzip;
    } else {
        response.fixed = page.plain;
    }
    return response;
}

} // namespace

bool accepts_coding(std::string_view accept_encoding, std::string_view coding) {
    while (!accept_encoding.empty()) {
        const std::size_t comma = std::min(accept_encoding.find(','), accept_encoding.size());
        const std::string_view item = accept_encoding.substr(0, comma);
        accept_encoding.remove_prefix(std::min(comma + 1, accept_encoding.size()));
        const std::size_t semicolon = std::min(item.find(';'), item.size());
        if (!equal_ignoring_case(trimmed(item.substr(0, semicolon)), coding)) continue;
        return !is_refused(item.substr(semicolon));
    }
    return false; // "*" may mean anything; plain bytes are always right
}

const WebFile* Pages::find(std::string_view path) const {
    const auto at = std::ranges::find(pages_, path, &WebFile::path);
    return at == pages_.end() ? nullptr : &*at;
}

Response Pages::page(const Request& request, std::string_view path) const {
    const WebFile* found = find(path);
    if (found != nullptr) {
        Response response = answer_with(*found, request, kAskAgain);
        response.headers.append(kPageSecurity);
        return response;
    }
    Response response;
    response.content_type = "text/html; charset=utf-8";
    response.headers.append("Cache-Control: no-store\r\n").append(kSecurity).append(kPageSecurity);
    response.fixed = kNoPages;
    return response;
}

std::optional<Response> Pages::asset(const Request& request) const {
    const WebFile* found = find(request.path);
    if (found == nullptr) return std::nullopt;
    return answer_with(*found, request, kKeep);
}

} // namespace doorbuster::http
