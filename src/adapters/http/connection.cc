#include "adapters/http/connection.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <cstring>
#include <ctime>
#include <exception>
#include <type_traits>
#include <utility>

#include "adapters/http/request_parser.h"
#include "base/assert.h"

namespace doorbuster::http {
namespace {

using boost::asio::redirect_error;
using std::chrono::milliseconds;
using ErrorCode = boost::system::error_code;
using TlsStream = boost::asio::ssl::stream<Socket>;

// Four times a second is exact enough for time-outs of seconds; tests use shorter ones.
constexpr milliseconds kSweepIntervalMax{250};
constexpr milliseconds kSweepIntervalMin{5};
// Most requests need a tenth of it.
constexpr std::size_t kInputMin = 4 * 1024;
// Less room than this is not worth a system call.
constexpr std::size_t kReadMin = 1024;
// Answers to pipelined requests are sent when this much is waiting, whatever is still to come.
constexpr std::size_t kOutputHigh = 64 * 1024;
// What a client may still send after we said that we close.
constexpr std::size_t kLingerBytesMax = 256 * 1024;
// A flood past connections_max gets answers for this many at a time, then plain closes.
constexpr std::size_t kRefusingMax = 64;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// Received bytes, contiguous, from the first one of the request that is being read.
class InputBuffer {
public:
    [[nodiscard]] char* data() { return data_.get() + begin_; }
    [[nodiscard]] std::size_t size() const { return end_ - begin_; }
    [[nodiscard]] boost::asio::mutable_buffer room() {
        return {data_.get() + end_, capacity_ - end_};
    }
    void received(std::size_t bytes) { end_ += bytes; }
    void resize(std::size_t bytes) { end_ = begin_ + bytes; } // downwards

    void consume(std::size_t bytes) {
        begin_ += bytes;
        if (begin_ == end_) begin_ = end_ = 0;
    }

    // Gives back what one large request needed, makes room to read on.
    void prepare() {
        if (size() == 0 && capacity_ > kInputMin) {
            begin_ = end_ = capacity_ = 0;
            data_.reset();
        }
        if (capacity_ - end_ >= kReadMin) return;
        if (begin_ >= capacity_ / 2 && begin_ > 0) {
            std::memmove(data_.get(), data(), size());
        } else {
            // The parser ends every request before it gets that long.
            DB_ASSERT(size() < kRequestBytesMax);
            capacity_ = std::max(kInputMin, std::min(capacity_ * 2, kRequestBytesMax + kReadMin));
            auto larger = std::make_unique_for_overwrite<char[]>(capacity_);
            if (size() > 0) std::memcpy(larger.get(), data(), size());
            data_ = std::move(larger);
        }
        end_ -= begin_;
        begin_ = 0;
    }

private:
    std::unique_ptr<char[]> data_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

// One connection; `Stream` is a Socket or a TlsStream. Lives in its own coroutine's frame.
template <class Stream> class Session final : public Connection {
public:
    Session(std::shared_ptr<CoreState> core, Stream stream, const boost::asio::ip::address& peer)
        : core_(std::move(core)), stream_(std::move(stream)) {
        request_.peer = peer;
        request_.listener_is_loopback = core_->shared().listener_is_loopback;
        core_->add(*this);
    }
    ~Session() { core_->remove(*this); }

    // From the first byte to the last.
    Task<void> serve();
    // Only says no.
    Task<void> refuse();

    void expire() override {
        expired_ = true;
        core_->shared().counters.timed_out.fetch_add(1, std::memory_order_relaxed);
        cancel();
    }
    void wake() override {
        if (phase_ == Phase::first || phase_ == Phase::idle) cancel();
        if (streaming_) streaming_->stop();
    }
    void abandon() override {
        expired_ = true;
        ErrorCode ignored;
        socket().shutdown(Socket::shutdown_both, ignored);
        cancel();
    }

private:
    static constexpr bool kIsTls = std::is_same_v<Stream, TlsStream>;

    // What the connection waits for; each has its time-out.
    enum class Phase : std::uint8_t {
        handshake,
        first, // of all requests, no byte is here
        idle,  // like first, after an answer
        header,
        body,
        answer, // the handler; it has time-outs of its own
        stream, // the next part of a body that comes in parts
        write,
        linger,
    };

    [[nodiscard]] Socket& socket() {
        if constexpr (kIsTls) {
            return stream_.next_layer();
        } else {
            return stream_;
        }
    }
    void cancel() {
        ErrorCode ignored;
        socket().cancel(ignored);
    }

    void enter(Phase phase);
    [[nodiscard]] Phase reading_phase(ParseState state) const;
    [[nodiscard]] std::string_view request_id_or_new();

    [[nodiscard]] std::optional<Response> answer_now();
    void write(const Response& response);
    void write_protocol_error(const ParseFailure& failure);
    // Sends what the socket takes at once. False: flush() must be awaited.
    [[nodiscard]] bool try_flush();
    // False: the client is gone or does not read.
    Task<bool> flush();
    // The parts of a body whose head was written. False: the client is gone or does not read.
    Task<bool> send_stream(BodyStream& body);
    // While a stream is sent: takes requests that are pipelined behind it, a few, and stops the
    // stream when its client is gone.
    void watch();
    void watched(ErrorCode ec, std::size_t bytes);
    // False: the connection is over; what there is to say about that is in the output.
    Task<bool> read();
    [[nodiscard]] bool read_last_chance();
    Task<void> close();

    std::shared_ptr<CoreState> core_;
    Stream stream_;
    Phase phase_ = Phase::first;
    bool served_one_ = false;
    bool expired_ = false;
    bool got_eof_ = false;
    bool is_over_ = false; // nothing is left to say, or nobody to hear it
    bool keep_alive_ = true;
    bool said_continue_ = false;
    BodyStream* streaming_ = nullptr; // while it is sent
    bool is_watching_ = false;        // a read of watch() is under way
    ErrorCode read_end_;              // what watch() met: no later read would be told again
    InputBuffer input_;
    OutputBuffer output_;
    RequestParser parser_;
    Request request_;
    RequestIds::Buffer made_request_id_ = {};
};

template <class Stream> void Session<Stream>::enter(Phase phase) {
    if (phase == phase_ && phase != Phase::first && phase != Phase::write) return;
    phase_ = phase;
    const ServerOptions& options = core_->options();
    switch (phase) {
    case Phase::handshake: return core_->set_deadline(*this, options.handshake_timeout);
    case Phase::first: return core_->set_deadline(*this, options.header_timeout);
    case Phase::idle: return core_->set_deadline(*this, options.idle_timeout);
    case Phase::header: return core_->set_deadline(*this, options.header_timeout);
    case Phase::body: return core_->set_deadline(*this, options.body_timeout);
    case Phase::answer:
    case Phase::stream: return CoreState::clear_deadline(*this);
    case Phase::write: return core_->set_deadline(*this, options.write_timeout);
    case Phase::linger: return core_->set_deadline(*this, options.linger_timeout);
    }
}

template <class Stream>
typename Session<Stream>::Phase Session<Stream>::reading_phase(ParseState state) const {
    if (input_.size() == 0) return served_one_ ? Phase::idle : Phase::first;
    return state == ParseState::need_body ? Phase::body : Phase::header;
}

template <class Stream> std::string_view Session<Stream>::request_id_or_new() {
    if (request_.request_id.empty()) {
        request_.request_id = core_->request_ids().next(made_request_id_);
    }
    return request_.request_id;
}

template <class Stream> void Session<Stream>::write(const Response& response) {
    keep_alive_ = request_.keep_alive && !response.close && !got_eof_ && !core_->is_draining();
    if (response.stream && parser_.is_http_1_0()) keep_alive_ = false;
    ResponseFrame frame;
    frame.date_line = core_->date_line();
    frame.request_id = request_id_or_new();
    frame.is_head = request_.method == Method::head;
    frame.keep_alive = keep_alive_;
    frame.is_http_1_0 = parser_.is_http_1_0();
    write_response(output_, response, frame);
}

template <class Stream> void Session<Stream>::write_protocol_error(const ParseFailure& failure) {
    core_->shared().counters.protocol_errors.fetch_add(1, std::memory_order_relaxed);
    request_.keep_alive = false;
    request_.method = Method::other; // the body is sent even to what may have been a HEAD
    request_.request_id = parser_.request_id_so_far(input_.data(), input_.size());
    write(core_->handler().protocol_error(failure));
}

// TLS output cannot be interrupted by a socket that is full, so it is always awaited.
template <class Stream> bool Session<Stream>::try_flush() {
    if constexpr (!kIsTls) {
        while (!output_.unsent().empty()) {
            ErrorCode ec;
            const std::string_view unsent = output_.unsent();
            const std::size_t n =
                stream_.write_some(boost::asio::buffer(unsent.data(), unsent.size()), ec);
            if (ec) break; // would_block, or flush() meets it again
            output_.sent(n);
        }
    }
    return output_.unsent().empty();
}

template <class Stream> Task<bool> Session<Stream>::flush() {
    while (!output_.unsent().empty()) {
        enter(Phase::write);
        ErrorCode ec;
        const std::string_view unsent = output_.unsent();
        const auto bytes = boost::asio::buffer(unsent.data(), unsent.size());
        const std::size_t n =
            co_await stream_.async_write_some(bytes, redirect_error(use_task, ec));
        if (ec || expired_) {
            is_over_ = true;
            co_return false;
        }
        output_.sent(n);
    }
    co_return true;
}

template <class Stream> void Session<Stream>::watch() {
    // What is read past this is left to the kernel, and with it the news that the client has gone.
    if (input_.size() >= kInputMin) return;
    input_.prepare();
    is_watching_ = true;
    stream_.async_read_some(input_.room(),
                            [this](ErrorCode ec, std::size_t bytes) { watched(ec, bytes); });
}

template <class Stream> void Session<Stream>::watched(ErrorCode ec, std::size_t bytes) {
    is_watching_ = false;
    if (!ec) input_.received(bytes);
    if (!streaming_) return; // send_stream() is waiting for us
    read_end_ = ec;
    if (ec) {
        streaming_->stop();
    } else {
        watch();
    }
}

template <class Stream> Task<bool> Session<Stream>::send_stream(BodyStream& body) {
    const bool is_chunked = !parser_.is_http_1_0();
    input_.consume(parser_.consumed());
    parser_.reset();
    streaming_ = &body;
    watch();
    if (core_->is_draining()) body.stop();
    bool goes_on = try_flush();
    if (!goes_on) goes_on = co_await flush();
    bool has_more = true;
    while (goes_on && has_more) {
        enter(Phase::stream);
        const std::optional<std::string> part = co_await body.next();
        has_more = part.has_value();
        if (!has_more && is_chunked) write_last_chunk(output_);
        if (has_more && is_chunked) write_chunk(output_, *part);
        if (has_more && !is_chunked) output_.append(*part);
        goes_on = try_flush();
        if (!goes_on) goes_on = co_await flush();
    }
    streaming_ = nullptr;
    // A read that is cancelled comes back within a turn or two of the loop.
    if (is_watching_) cancel();
    while (is_watching_) co_await boost::asio::post(use_task);
    co_return goes_on;
}

// The server drains and this connection was idle. What its client has sent meanwhile is served.
template <class Stream> bool Session<Stream>::read_last_chance() {
    if constexpr (kIsTls) {
        return false;
    } else {
        ErrorCode ec;
        const std::size_t n = stream_.read_some(input_.room(), ec);
        is_over_ = static_cast<bool>(ec);
        input_.received(n);
        return !ec;
    }
}

template <class Stream> Task<bool> Session<Stream>::read() {
    input_.prepare();
    if (core_->is_draining() && input_.size() == 0) co_return read_last_chance();
    ErrorCode ec = read_end_;
    if (!ec) {
        const std::size_t n =
            co_await stream_.async_read_some(input_.room(), redirect_error(use_task, ec));
        if (!ec) input_.received(n);
    }
    if (!ec && !expired_) co_return true;
    if (!expired_ && ec == boost::asio::error::operation_aborted && core_->is_draining()) {
        co_return read_last_chance();
    }
    got_eof_ = ec == boost::asio::error::eof;
    // Without a part of a request there is nobody to tell; else it is told why there is no answer.
    if (input_.size() == 0 || (!expired_ && !got_eof_)) {
        is_over_ = !kIsTls || !expired_; // TLS says goodbye
        co_return false;
    }
    ParseFailure failure;
    if (!expired_) {
        failure.detail = "ends early";
    } else {
        failure.status = 408;
        failure.detail =
            phase_ == Phase::body ? "The body took too long." : "The request took too long.";
    }
    expired_ = false; // what follows has its own deadline
    write_protocol_error(failure);
    co_return false;
}

// Says that we are done and reads on for a while: a close with unread bytes would send a reset, and
// the client might lose our last answer.
template <class Stream> Task<void> Session<Stream>::close() {
    if (is_over_) co_return;
    if (!try_flush()) {
        const bool sent = co_await flush();
        if (!sent) co_return;
    }
    expired_ = false;
    enter(Phase::linger);
    ErrorCode ec;
    if constexpr (kIsTls) {
        co_await stream_.async_shutdown(redirect_error(use_task, ec));
        if (expired_ || !ec) co_return; // too late, or the client said goodbye too
    }
    socket().shutdown(Socket::shutdown_send, ec);
    if (ec || got_eof_) co_return;
    input_.consume(input_.size());
    input_.prepare();
    for (std::size_t read = 0; read < kLingerBytesMax && !ec && !expired_;) {
        read += co_await socket().async_read_some(input_.room(), redirect_error(use_task, ec));
    }
}

template <class Stream> std::optional<Response> Session<Stream>::answer_now() {
    parser_.fill(request_, input_.data());
    static_cast<void>(request_id_or_new());
    enter(Phase::answer);
    return core_->handler().answer_now(request_);
}

template <class Stream> Task<void> Session<Stream>::serve() {
    ErrorCode ec;
    if constexpr (kIsTls) {
        enter(Phase::handshake);
        co_await stream_.async_handshake(TlsStream::server, redirect_error(use_task, ec));
        if (ec || expired_) co_return;
    }
    enter(Phase::first);
    while (true) {
        std::size_t size = input_.size();
        const ParseState state = parser_.parse(input_.data(), size);
        input_.resize(size);
        if (state == ParseState::complete) {
            std::optional<Response> response = answer_now();
            if (!response) {
                if (!try_flush()) {
                    const bool sent = co_await flush();
                    if (!sent) co_return;
                    enter(Phase::answer);
                }
                response = co_await core_->handler().answer(request_);
            }
            write(*response);
            served_one_ = true;
            said_continue_ = false;
            if (response->stream && request_.method != Method::head) {
                const bool sent = co_await send_stream(*response->stream);
                if (!sent) co_return;
            } else {
                input_.consume(parser_.consumed());
                parser_.reset();
            }
            if (!keep_alive_) break;
            if (input_.size() > 0 && output_.unsent().size() < kOutputHigh) continue;
        } else if (state == ParseState::failed) {
            write_protocol_error(parser_.failure());
            break;
        } else if (parser_.awaits_continue() && state == ParseState::need_body &&
                   !std::exchange(said_continue_, true)) {
            output_.append(kContinue);
        }
        if (!try_flush()) {
            const bool sent = co_await flush();
            if (!sent) co_return;
        }
        if (state == ParseState::complete && input_.size() > 0) continue;
        enter(reading_phase(state));
        const bool has_more = co_await read();
        if (!has_more) break;
    }
    co_await close();
}

template <class Stream> Task<void> Session<Stream>::refuse() {
    request_.keep_alive = false;
    ParseFailure failure;
    failure.status = 503;
    failure.detail = "Too many connections are open. Try again.";
    write(core_->handler().protocol_error(failure));
    co_await close();
}

// A coroutine's exception is a bug of ours or the end of memory: it ends the process.
void rethrow(std::exception_ptr exception) {
    if (exception) std::rethrow_exception(exception);
}

// Counts a connection as long as it lives.
class Counted {
public:
    Counted(std::shared_ptr<CoreState> core, std::atomic<std::size_t>& count)
        : core_(std::move(core)), count_(&count) {
        count_->fetch_add(1);
    }
    Counted(Counted&& other) noexcept
        : core_(std::move(other.core_)), count_(std::exchange(other.count_, nullptr)) {}
    Counted& operator=(Counted&&) = delete;
    ~Counted() {
        if (!count_) return;
        count_->fetch_sub(1);
        core_->shared().notify_drain();
    }

private:
    std::shared_ptr<CoreState> core_;
    std::atomic<std::size_t>* count_;
};

// The count is given up after the session.
template <class Stream> Task<void> run(Counted, std::unique_ptr<Session<Stream>> session) {
    co_await session->serve();
}

Task<void> run_refusal(Counted, std::unique_ptr<Session<Socket>> session) {
    co_await session->refuse();
}

template <class Stream>
void spawn(const std::shared_ptr<CoreState>& core, Stream stream,
           const boost::asio::ip::address& peer) {
    Counted counted(core, core->shared().counters.open);
    auto session = std::make_unique<Session<Stream>>(core, std::move(stream), peer);
    boost::asio::co_spawn(core->executor(), run(std::move(counted), std::move(session)), rethrow);
}

} // namespace

void SharedState::notify_drain() {
    if (!draining.load()) return;
    const std::lock_guard lock(mutex);
    changed.notify_all();
}

CoreState::CoreState(std::shared_ptr<SharedState> shared, Executor executor, Handler& handler)
    : shared_(std::move(shared)),
      executor_(std::move(executor)),
      handler_(handler),
      swept_at_(std::chrono::steady_clock::now()),
      now_(swept_at_) {
    const ServerOptions& o = options();
    const milliseconds shortest =
        std::min({o.header_timeout, o.body_timeout, o.idle_timeout, o.write_timeout,
                  o.handshake_timeout, o.linger_timeout});
    sweep_interval_ = std::clamp(shortest / 4, kSweepIntervalMin, kSweepIntervalMax);
    date_.set(std::time(nullptr));
}

CoreState::~CoreState() { DB_ASSERT(first_ == nullptr); }

void CoreState::add(Connection& connection) {
    connection.next_ = first_;
    if (first_) first_->previous_ = &connection;
    first_ = &connection;
}

void CoreState::remove(Connection& connection) {
    (connection.previous_ ? connection.previous_->next_ : first_) = connection.next_;
    if (connection.next_) connection.next_->previous_ = connection.previous_;
}

void CoreState::set_deadline(Connection& connection, milliseconds timeout) {
    connection.deadline_ = now_ + timeout;
}

void CoreState::clear_deadline(Connection& connection) { connection.deadline_ = SteadyTime::max(); }

void CoreState::sweep() {
    // A core that was stuck, or a process that was stopped, does not blame its clients.
    const SteadyTime real_now = std::chrono::steady_clock::now();
    now_ += std::min<SteadyTime::duration>(real_now - swept_at_, 2 * sweep_interval_);
    swept_at_ = real_now;
    date_.set(std::time(nullptr));
    for (Connection* c = first_; c; c = c->next_) {
        if (c->deadline_ > now_) continue;
        c->deadline_ = SteadyTime::max();
        c->expire(); // cancels only; the connection goes on when its coroutine is resumed
    }
}

void CoreState::begin_drain() {
    draining_ = true;
    for (Connection* c = first_; c; c = c->next_) c->wake();
}

void CoreState::abandon_all() {
    for (Connection* c = first_; c; c = c->next_) c->abandon();
}

void start_connection(const std::shared_ptr<CoreState>& core, Socket socket,
                      const boost::asio::ip::address& peer) {
    ErrorCode ec;
    socket.set_option(boost::asio::ip::tcp::no_delay(true), ec);
    if (!ec) socket.non_blocking(true, ec); // try_flush() relies on it
    if (ec) return;                         // gone already
    auto& tls = core->shared().tls;
    if (tls) {
        spawn(core, TlsStream(std::move(socket), *tls), peer);
    } else {
        spawn(core, std::move(socket), peer);
    }
}

void refuse_connection(const std::shared_ptr<CoreState>& core, Socket socket) {
    SharedState& shared = core->shared();
    shared.counters.refused.fetch_add(1, std::memory_order_relaxed);
    if (shared.tls || shared.refusing.load() >= kRefusingMax) return;
    ErrorCode ec;
    socket.non_blocking(true, ec);
    if (ec) return;
    Counted counted(core, shared.refusing);
    auto session =
        std::make_unique<Session<Socket>>(core, std::move(socket), boost::asio::ip::address());
    boost::asio::co_spawn(core->executor(), run_refusal(std::move(counted), std::move(session)),
                          rethrow);
}

} // namespace doorbuster::http
