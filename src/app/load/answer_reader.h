// AnswerReader: finds one HTTP/1.1 answer at a time in the bytes that a connection delivers. It
// knows what a client of our own needs: a few headers, Content-Length, chunks, a body that ends
// with the connection. Pure; its owner is one connection's thread.
//
// It is strict: two lengths, a length beside chunks, or a broken status line make the answer
// unusable, as RFC 9112 section 6.3 demands of a client that must not be fooled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace doorbuster::load {

// Views stay valid until the reader's next space(), reset() or drop().
struct Answer {
    int status = 0;
    bool keep_alive = true;
    std::string_view content_type;
    std::string_view location;
    std::string_view retry_after;
    std::string_view replayed; // Idempotency-Replayed
    std::string_view rate_limit;
    std::string_view rate_limit_policy;
    std::string_view body;
};

class AnswerReader {
public:
    // Answers to a purchase take about 500 bytes; a sale or an error a little more.
    static constexpr std::size_t kFirstBytes = 4 * 1024;
    // As large as the server lets a request be: our answers are far below.
    static constexpr std::size_t kAnswerBytesMax = 64 * 1024;

    enum class Progress : std::uint8_t { more, answer, broken };

    AnswerReader() : buffer_(kFirstBytes, '\0') {}

    // Where the next bytes go; empty only when an answer is larger than kAnswerBytesMax.
    [[nodiscard]] std::span<char> space();
    void received(std::size_t bytes) { end_ += bytes; }
    [[nodiscard]] Progress next(Answer& out);
    // The peer has closed: completes an answer that ends with the connection.
    [[nodiscard]] Progress ended(Answer& out);
    // Forgets the answer that next() found. False if bytes follow that nobody asked for.
    [[nodiscard]] bool drop();
    // For a new connection.
    void reset();
    // Has the peer begun to answer?
    [[nodiscard]] bool has_bytes() const { return end_ > 0; }
    // Why it is broken, for people.
    [[nodiscard]] std::string_view why() const { return why_; }

private:
    struct Head {
        bool has_length = false;
        bool chunked = false;
        std::size_t length = 0;
        std::size_t bytes = 0; // of the head with its empty line
    };

    Progress broken(std::string_view why);
    Progress read_head(std::string_view text, Head& head, Answer& out);
    Progress read_header(std::string_view line, Head& head, Answer& out);
    Progress read_chunks(std::string_view text, Answer& out);
    Progress read(Answer& out, bool is_closed);

    std::string buffer_;
    std::size_t end_ = 0;      // bytes received
    std::size_t consumed_ = 0; // bytes of the answer that was found
    std::string joined_;       // a chunked body
    std::string_view why_;
};

} // namespace doorbuster::load
