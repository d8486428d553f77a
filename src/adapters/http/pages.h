// The pages and what they load: bytes that were built into the binary, compressed ahead of time.
// Values that outlive the server; any thread.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "adapters/http/message.h"

namespace doorbuster::http {

// One file. An asset has the hash of its content in its name, so a browser may keep it for ever; a
// page names the assets, so it is asked for again each time.
struct WebFile {
    std::string_view path; // "/" and "/shop/" are the pages; the others "/assets/…"
    std::string_view content_type;
    std::string_view etag; // of the content, without quotes
    std::string_view plain;
    std::string_view gzip; // empty: it would not be shorter, as the next
    std::string_view brotli;
};

class Pages {
public:
    explicit Pages(std::span<const WebFile> pages) : pages_(pages) {}

    // The console at "/", the storefront at "/shop/". A sentence where the binary has no pages.
    [[nodiscard]] Response page(const Request& request, std::string_view path) const;
    // nullopt: there is no such asset.
    [[nodiscard]] std::optional<Response> asset(const Request& request) const;

private:
    [[nodiscard]] const WebFile* find(std::string_view path) const;

    std::span<const WebFile> pages_;
};

// Does an Accept-Encoding allow this coding? (RFC 9110 section 12.5.3; `coding` in lower case.)
[[nodiscard]] bool accepts_coding(std::string_view accept_encoding, std::string_view coding);

} // namespace doorbuster::http
