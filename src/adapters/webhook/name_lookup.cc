#include "adapters/webhook/name_lookup.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
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

namespace doorbuster::webhook {
namespace {

namespace asio = boost::asio;
namespace ip = asio::ip;

using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;
using Answer = Result<Addresses>;

constexpr std::size_t kAddressesMax = 8; // more than one attempt can try

std::optional<ip::address> address_of(const sockaddr& entry) {
    if (entry.sa_family == AF_INET) {
        const auto& four = reinterpret_cast<const sockaddr_in&>(entry);
        return ip::address_v4(ntohl(four.sin_addr.s_addr));
    }
    if (entry.sa_family == AF_INET6) {
        const auto& six = reinterpret_cast<const sockaddr_in6&>(entry);
        ip::address_v6::bytes_type bytes;
        std::copy_n(six.sin6_addr.s6_addr, bytes.size(), bytes.begin());
        return ip::address_v6(bytes, six.sin6_scope_id);
    }
    return std::nullopt;
}

} // namespace

Answer look_up(const std::string& host) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
    if (error != 0) return fail(Errc::unavailable, gai_strerror(error));
    Addresses out;
    for (const addrinfo* at = list; at != nullptr && out.size() < kAddressesMax; at = at->ai_next) {
        if (const auto address = address_of(*at->ai_addr)) out.push_back(*address);
    }
    freeaddrinfo(list);
    return out;
}

struct NameLookup::Shared {
    struct Waiter {
        Timer timer;
        std::optional<Answer> answer = {}; // its own: the next look-up may begin before it resumes
    };

    // Only on the io_context's thread.
    bool running = false;
    std::vector<Waiter*> waiting; // live in the frames that wait

    std::mutex mutex;                 // guards what follows
    std::optional<Executor> executor; // while someone may be told

    void finish(const Answer& found) {
        running = false;
        for (Waiter* waiter : waiting) {
            waiter->answer = found;
            waiter->timer.cancel();
        }
        waiting.clear();
    }
    // False if there are no more threads.
    static bool start(const std::shared_ptr<Shared>& self, const Executor& executor,
                      std::function<Answer()> function);
};

bool NameLookup::Shared::start(const std::shared_ptr<Shared>& self, const Executor& executor,
                               std::function<Answer()> function) {
    {
        const std::scoped_lock lock(self->mutex);
        self->executor = executor;
    }
    const auto body = [self, function = std::move(function)] {
        Answer found = function();
        const std::scoped_lock lock(self->mutex);
        if (!self->executor) return;
        asio::post(*self->executor, [self, found = std::move(found)] { self->finish(found); });
    };
    // Signals belong to the threads of the server.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
        std::thread(body).detach();
    } catch (const std::system_error&) {
        started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
}

NameLookup::NameLookup(std::string host,
                       std::function<Result<Addresses>(const std::string&)> function)
    : host_(std::move(host)), function_(std::move(function)), shared_(std::make_shared<Shared>()) {}

NameLookup::~NameLookup() { disown(); }

void NameLookup::close() {
    disown();
    shared_ = std::make_shared<Shared>();
}

void NameLookup::disown() {
    const std::scoped_lock lock(shared_->mutex);
    shared_->executor.reset();
}

Task<Answer> NameLookup::addresses(std::chrono::steady_clock::time_point deadline) {
    boost::system::error_code ec;
    const auto literal = ip::make_address(host_, ec);
    if (!ec) {
        Addresses one(1, literal);
        co_return one;
    }
    const auto shared = shared_;
    const Executor executor = co_await asio::this_coro::executor;
    if (!shared->running) {
        std::function<Answer()> function = [host = host_, look_up = function_] {
            return look_up(host);
        };
        shared->running = Shared::start(shared, executor, std::move(function));
        if (!shared->running) co_return fail(Errc::unavailable, "no thread to look it up with");
    }
    Shared::Waiter waiter{Timer(executor, deadline)};
    shared->waiting.push_back(&waiter);
    co_await waiter.timer.async_wait(asio::redirect_error(use_task, ec));
    std::erase(shared->waiting, &waiter);
    if (!waiter.answer) co_return fail(Errc::timeout);
    co_return std::move(*waiter.answer);
}

} // namespace doorbuster::webhook
