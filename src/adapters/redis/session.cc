#include "adapters/redis/session.h"

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <charconv>
#include <utility>

namespace doorbuster::redis {
namespace {

namespace asio = boost::asio;
using std::chrono::steady_clock;

// A few hundred pipelined replies a system call.
constexpr std::size_t kInputBytes = 64 * 1024;
// 6.2: the oldest with COPY, GETEX and scripts that may read the time and then write without
// switching their replication first; Debian 11 has 6.0, Debian 12 has 7.0.
constexpr int kMajorMin = 6;
constexpr int kMinorMin = 2;

// "redis_version:7.0.15\r\n" of INFO's text; empty: no such line.
std::string_view info_line(std::string_view info, std::string_view name) {
    std::size_t at = 0;
    while (at < info.size()) {
        const std::size_t end = std::min(info.find("\r\n", at), info.size());
        const std::string_view line = info.substr(at, end - at);
        if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') {
            return line.substr(name.size() + 1);
        }
        at = end + 2;
    }
    return {};
}

bool is_old(std::string_view version) {
    int major = 0;
    int minor = 0;
    const char* const end = version.data() + version.size();
    const auto first = std::from_chars(version.data(), end, major);
    if (first.ec != std::errc{}) return true;
    if (first.ptr != end) std::from_chars(first.ptr + 1, end, minor);
    return major < kMajorMin || (major == kMajorMin && minor < kMinorMin);
}

bool is_refused_by_acl(const Reply& reply) {
    // Managed services rename or remove CONFIG.
    return reply.is_error("NOPERM") ||
           (reply.is_error("ERR") && reply.text.find("unknown command") != std::string::npos);
}

} // namespace

Session::Session(Executor executor, const Url& url, asio::ssl::context* tls)
    : executor_(executor),
      url_(url),
      tls_(url.address.transport == Address::Transport::tls ? tls : nullptr),
      stream_(std::make_shared<Stream>(executor, tls_)),
      timer_(executor),
      input_(kInputBytes) {}

Session::~Session() { stream_->close(); }

void Session::close_at(SteadyTime deadline) {
    timer_.expires_at(deadline);
    timer_.async_wait([weak = std::weak_ptr(stream_)](const boost::system::error_code& ec) {
        if (ec) return;
        if (const auto stream = weak.lock()) stream->close();
    });
}

Task<Result<void>> Session::open(HostLookup& lookup, ServerDemands demands, SteadyTime deadline) {
    auto result = co_await connect(lookup, deadline);
    if (result) {
        close_at(deadline);
        result = co_await log_in();
        if (result) result = co_await check(demands);
        timer_.cancel();
    }
    if (!result && steady_clock::now() >= deadline) {
        co_return fail(Errc::timeout, "timed out connecting");
    }
    co_return result;
}

// Tries the host's addresses in order, each for its share of the time that is left.
Task<Result<void>> Session::connect(HostLookup& lookup, SteadyTime deadline) {
    if (url_.address.transport == Address::Transport::local) {
        const asio::local::stream_protocol::endpoint peer(url_.address.host);
        co_return co_await connect_to(Stream::Endpoint(peer), deadline);
    }
    const auto addresses = co_await lookup.addresses(deadline);
    if (!addresses) co_return tl::unexpected<Error>(addresses.error());
    Result<void> last = fail(Errc::unavailable, "the host has no address");
    for (std::size_t i = 0; i < addresses->size(); ++i) {
        const auto now = steady_clock::now();
        if (now >= deadline) break;
        const auto share = (deadline - now) / static_cast<std::int64_t>(addresses->size() - i);
        const asio::ip::tcp::endpoint peer((*addresses)[i], url_.address.port);
        last = co_await connect_to(Stream::Endpoint(peer), now + share);
        if (last) co_return last;
    }
    co_return last;
}

Task<Result<void>> Session::connect_to(Stream::Endpoint peer, SteadyTime deadline) {
    stream_->close();
    stream_ = std::make_shared<Stream>(executor_, tls_);
    close_at(deadline);
    auto result = co_await stream_->connect(peer);
    if (result && tls_ != nullptr) result = co_await stream_->handshake(url_.address.host);
    timer_.cancel();
    if (!result && steady_clock::now() >= deadline) co_return fail(Errc::timeout, "timed out");
    co_return result;
}

Task<Result<void>> Session::log_in() {
    if (!url_.password.empty()) {
        const std::array<Argument, 2> short_form{"AUTH", url_.password};
        const std::array<Argument, 3> long_form{"AUTH", url_.user, url_.password};
        const std::span<const Argument> command =
            url_.user.empty() ? std::span<const Argument>(short_form) : long_form;
        const auto reply = co_await ask(command);
        if (!reply) co_return tl::unexpected<Error>(reply.error());
        if (reply->is_error("WRONGPASS") || reply->is_error("ERR")) {
            co_return fail(Errc::unavailable, "Redis refuses the login: " + reply->text);
        }
        if (reply->is_error()) co_return fail(Errc::unavailable, reply->text);
    }
    if (url_.database == 0) co_return Result<void>();
    const std::string number = std::to_string(url_.database);
    const std::array<Argument, 2> command{"SELECT", number};
    const auto reply = co_await ask(command);
    if (!reply) co_return tl::unexpected<Error>(reply.error());
    if (reply->is_error()) {
        co_return fail(Errc::unavailable, "database " + number + ": " + reply->text);
    }
    co_return Result<void>();
}

Task<Result<void>> Session::check(ServerDemands demands) {
    const std::array<Argument, 1> command{"INFO"};
    const auto reply = co_await ask(command);
    if (!reply) co_return tl::unexpected<Error>(reply.error());
    if (reply->is_error("NOAUTH")) {
        co_return fail(Errc::unavailable, "Redis wants a login: give USER:PASSWORD@ in the URL");
    }
    if (reply->is_error() && !is_refused_by_acl(*reply)) {
        co_return fail(Errc::unavailable, reply->text);
    }
    if (reply->is_error()) {
        warning_ = "Redis does not let this user call INFO, so its version, role and eviction "
                   "policy are not checked";
        co_return Result<void>();
    }
    const std::string_view info = reply->text;
    const std::string version(info_line(info, "redis_version"));
    if (is_old(version)) {
        co_return fail(Errc::unavailable, "Redis " + version + " is too old: 6.2 or newer works");
    }
    if (info_line(info, "loading") == "1") {
        co_return fail(Errc::unavailable, "Redis is still loading its data");
    }
    const bool is_cluster =
        info_line(info, "redis_mode") == "cluster" || info_line(info, "cluster_enabled") == "1";
    if (is_cluster != demands.is_cluster_node) {
        co_return fail(Errc::unavailable,
                       is_cluster ? "this Redis is a cluster's node: set redis.nodes, not redis.url"
                                  : "this Redis is not a cluster's node: set redis.url, not "
                                    "redis.nodes");
    }
    if (!is_cluster && info_line(info, "role") == "slave") {
        co_return fail(Errc::unavailable, "this Redis is a replica: give the primary's address");
    }
    if (!demands.needs_noeviction) co_return Result<void>();
    co_return co_await check_eviction(info);
}

Task<Result<void>> Session::check_eviction(std::string_view info) {
    std::string policy(info_line(info, "maxmemory_policy"));
    if (policy.empty()) {
        const std::array<Argument, 3> command{"CONFIG", "GET", "maxmemory-policy"};
        const auto reply = co_await ask(command);
        if (!reply) co_return tl::unexpected<Error>(reply.error());
        if (reply->is_array_of(2)) policy = reply->items[1].text;
    }
    if (policy.empty()) {
        warning_ = "Redis does not tell its maxmemory-policy: it must be noeviction, or sales stop "
                   "when Redis throws their stock away";
        co_return Result<void>();
    }
    if (policy != "noeviction") {
        co_return fail(Errc::unavailable,
                       "this Redis evicts data (maxmemory-policy " + policy +
                           "): run CONFIG SET maxmemory-policy noeviction on it");
    }
    co_return Result<void>();
}

Task<Result<Reply>> Session::ask(std::span<const Argument> command) {
    std::string bytes;
    append_command(bytes, command);
    stream_->write(std::move(bytes), [](bool, const std::string&) {}); // read() sees a failure
    co_return co_await read();
}

Task<Result<Reply>> Session::read() {
    for (;;) {
        auto reply = reader_.next();
        if (!reply) co_return tl::unexpected<Error>(reply.error());
        if (*reply) co_return std::move(**reply);
        const auto got = co_await stream_->read(input_.data(), input_.size());
        if (!got) co_return tl::unexpected<Error>(got.error());
        const std::string_view bytes(input_.data(), *got);
        reader_.feed(bytes);
    }
}

} // namespace doorbuster::redis
