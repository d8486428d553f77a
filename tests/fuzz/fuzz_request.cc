// Bytes of a client through the whole path inside a server: parser, routes, JSON, admission,
// purchase, inventory, log, writer, store, audit (docs: LLVM's libFuzzer).
//
// An input is what one client sends, then three bytes: the shop's options (ShopOption), and where
// the bytes are cut on their way, 16 bits, little endian. Shorter inputs are requests only.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <spdlog/spdlog.h>
#include <string>
#include <vector>

#include "adapters/http/request_parser.h"
#include "oracle.h"
#include "shop.h"

namespace doorbuster::fuzz {
namespace {

// A client's bytes as the parser understood them.
struct Reading {
    std::vector<SentRequest> requests;
    http::ParseState end = http::ParseState::need_header;
    std::uint16_t status = 0; // of a failure
    std::string field;
    std::string detail;

    friend bool operator==(const Reading&, const Reading&) = default;
};

// Feeds the pieces, each time at a new address with nothing around it, so that the sanitizer sees
// what the parser touches. Ends as a connection does.
Reading read(const std::vector<std::string>& pieces) {
    Reading reading;
    http::RequestParser parser;
    std::string left;
    for (const std::string& piece : pieces) {
        left += piece;
        for (bool goes_on = true; goes_on;) {
            std::size_t size = left.size();
            const auto buffer = std::make_unique_for_overwrite<char[]>(size);
            std::copy(left.begin(), left.end(), buffer.get());
            reading.end = parser.parse(buffer.get(), size);
            require(size <= left.size(), "the parser makes nothing longer");
            left.assign(buffer.get(), size);
            if (reading.end == http::ParseState::failed) {
                reading.status = parser.failure().status;
                reading.field = parser.failure().field;
                reading.detail = parser.failure().detail;
            }
            if (reading.end != http::ParseState::complete) {
                const std::string_view id = parser.request_id_so_far(buffer.get(), size);
                require(id.size() <= 128, "an id that is echoed is a usable one");
                require(left.find(id) != std::string::npos, "the client's own id is echoed");
                if (reading.end == http::ParseState::failed) return reading;
                break;
            }
            require(parser.consumed() > 0 && parser.consumed() <= size, "a request has its bytes");
            http::Request request;
            parser.fill(request, buffer.get());
            require(request.body.size() <= http::kBodyMax, "bodies are at most 64 KiB");
            reading.requests.emplace_back(request, parser.is_http_1_0());
            if (!request.keep_alive) return reading;
            left.erase(0, parser.consumed());
            parser.reset();
            goes_on = !left.empty();
        }
    }
    return reading;
}

struct Input {
    std::string bytes;
    unsigned options = 0;
    std::size_t cut = 0;

    [[nodiscard]] std::vector<std::string> pieces() const {
        if ((options & kInSmallPieces) == 0) {
            const std::size_t at = bytes.empty() ? 0 : cut % bytes.size();
            return {bytes.substr(0, at), bytes.substr(at)};
        }
        std::vector<std::string> parts;
        const std::size_t step = cut % 61 + 1;
        for (std::size_t at = 0; at < bytes.size(); at += step) {
            parts.push_back(bytes.substr(at, step));
        }
        return parts;
    }
};

Input input_of(const std::uint8_t* data, std::size_t size) {
    Input input;
    const std::size_t controls = size < 3 ? 0 : 3;
    input.bytes.assign(reinterpret_cast<const char*>(data), size - controls);
    if (controls == 0) return input;
    const std::uint8_t* tail = data + size - controls;
    input.options = tail[0];
    input.cut = static_cast<std::size_t>(tail[1]) + 256 * static_cast<std::size_t>(tail[2]);
    return input;
}

// FUZZ_TRACE=1 build/fuzz/fuzz_request FILE: says what was answered, to understand a finding.
bool is_traced() {
    static const bool is_set = std::getenv("FUZZ_TRACE") != nullptr;
    return is_set;
}

void serve(const Input& input, const Reading& reading) {
    // Never torn down: its threads run until the process ends.
    static auto* const backends = new Backends;
    Shop shop(*backends, input.options);
    Oracle oracle(shop.store(), input.options);
    for (const SentRequest& sent : reading.requests) {
        const http::Request request = sent.request();
        const http::Response response = shop.answer(request);
        if (is_traced()) {
            std::fprintf(stderr, "%s %s: %u %s\n", std::string(request.method_text).c_str(),
                         std::string(request.path).c_str(), unsigned{response.status},
                         std::string(response.content()).c_str());
        }
        oracle.check(sent, response);
        if ((input.options & kTimePasses) != 0) shop.pass_time(std::chrono::hours(1));
    }
    if (reading.end == http::ParseState::failed) {
        const http::ParseFailure failure{reading.status, reading.detail, reading.field};
        oracle.check_protocol_error(shop.protocol_error(failure), reading.status);
    }
    oracle.check_books(shop.close_the_books());
}

} // namespace
} // namespace doorbuster::fuzz

extern "C" int LLVMFuzzerInitialize(int* /*count*/, char*** /*arguments*/) {
    spdlog::set_level(spdlog::level::off);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace doorbuster::fuzz;
    const Input input = input_of(data, size);
    const Reading whole = read({input.bytes});
    require(read(input.pieces()) == whole, "how bytes are cut changes nothing");
    if (!whole.requests.empty()) serve(input, whole);
    return 0;
}
