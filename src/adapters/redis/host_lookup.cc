#include "adapters/redis/host_lookup.h"

#include <algorithm>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <csignal>
#include <mutex>
#include <netdb.h>
#include <netinet/in.h>
#include <optional>
#include <pthread.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <utility>

namespace doorbuster::redis {
namespace {

namespace asio = boost::asio;
namespace ip = asio::ip;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;

constexpr std::size_t kAddressesMax = 8; // more than one attempt can try

Result<Addresses> look_up(const std::string& host) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
    if (error != 0) return fail(Errc::unavailable, gai_strerror(error));
    Addresses out;
    for (const addrinfo* at = list; at != nullptr && out.size() < kAddressesMax; at = at->ai_next) {
        if (at->ai_family == AF_INET) {
            const auto& four = reinterpret_cast<const sockaddr_in&>(*at->ai_addr);
            out.emplace_back(ip::address_v4(ntohl(four.sin_addr.s_addr)));
        } else if (at->ai_family == AF_INET6) {
            const auto& six = reinterpret_cast<const sockaddr_in6&>(*at->ai_addr);
            ip::address_v6::bytes_type bytes;
            std::copy_n(six.sin6_addr.s6_addr, bytes.size(), bytes.begin());
            out.emplace_back(ip::address_v6(bytes, six.sin6_scope_id));
        }
    }
    freeaddrinfo(list);
    if (out.empty()) return fail(Errc::unavailable, "the host has no address");
    return out;
}

} // namespace

struct HostLookup::Shared {
    // On the core only.
    bool is_running = false;
    std::optional<Result<Addresses>> answer;
    Timer* waiting = nullptr; // lives in the frame that waits

    std::mutex mutex;                 // guards what follows
    std::optional<Executor> executor; // while someone may be told

    void finish(Result<Addresses> found) {
        is_running = false;
        answer = std::move(found);
        if (waiting != nullptr) waiting->cancel();
    }
    // False if there are no more threads.
    static bool start(const std::shared_ptr<Shared>& self, const Executor& executor,
                      std::string host);
};

// For as long as the frame lives that waits, however it ends.
struct HostLookup::Waiting {
    Waiting(Shared& at, Timer& timer) : shared(at) { shared.waiting = &timer; }
    ~Waiting() { shared.waiting = nullptr; }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    Shared& shared;
};

bool HostLookup::Shared::start(const std::shared_ptr<Shared>& self, const Executor& executor,
                               std::string host) {
    {
        const std::scoped_lock lock(self->mutex);
        self->executor = executor;
    }
    const auto body = [self, host = std::move(host)] {
        Result<Addresses> found = look_up(host);
        const std::scoped_lock lock(self->mutex);
        if (!self->executor) return;
        asio::post(*self->executor,
                   [self, found = std::move(found)]() mutable { self->finish(std::move(found)); });
    };
    sigset_t all; // signals belong to the server's threads
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_started = true;
    try {
        std::thread(body).detach();
    } catch (const std::system_error&) {
        is_started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return is_started;
}

HostLookup::HostLookup(std::string host)
    : host_(std::move(host)), shared_(std::make_shared<Shared>()) {}

HostLookup::~HostLookup() { close(); }

void HostLookup::close() {
    const std::scoped_lock lock(shared_->mutex);
    shared_->executor.reset();
    if (shared_->waiting != nullptr) shared_->waiting->cancel();
}

Task<Result<Addresses>> HostLookup::addresses(std::chrono::steady_clock::time_point deadline) {
    boost::system::error_code ec;
    const auto literal = ip::make_address(host_, ec);
    if (!ec) {
        Addresses one(1, literal);
        co_return one;
    }
    const auto shared = shared_;
    const Executor executor = co_await asio::this_coro::executor;
    if (!shared->is_running) {
        shared->answer.reset();
        shared->is_running = Shared::start(shared, executor, host_);
        if (!shared->is_running) co_return fail(Errc::unavailable, "no thread to look it up with");
    }
    Timer timer(executor, deadline);
    const Waiting waiting(*shared, timer);
    co_await timer.async_wait(asio::redirect_error(use_task, ec));
    if (!shared->answer) co_return fail(Errc::timeout, "timed out looking up the host");
    co_return *std::exchange(shared->answer, std::nullopt);
}

} // namespace doorbuster::redis
