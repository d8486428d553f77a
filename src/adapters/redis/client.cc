#include "adapters/redis/client.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <exception>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include "adapters/redis/link.h"
#include "adapters/redis/resp.h"
#include "adapters/redis/slots.h"
#include "base/assert.h"

namespace doorbuster::redis {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Timer = Session::Timer;

// Of one call: enough for a slot that moves twice while its first move is still being told.
constexpr int kAttemptsMax = 16;
constexpr int kMovedAtOnceMax = 3; // redirections followed without a pause
// TRYAGAIN lasts while a slot's keys move, CLUSTERDOWN until a replica is promoted.
constexpr milliseconds kRetryPauseMin{10};
constexpr milliseconds kRetryPauseMax{200};
// The cluster's map: asked for again so often when all is well, when something is not, and however
// many redirections ask for it.
constexpr milliseconds kMapAgeMax{10'000};
constexpr milliseconds kMapAgeTroubled{250};
constexpr milliseconds kMapAgeMin{50};
constexpr milliseconds kMapWaitMax{1'000};
// At start only.
constexpr milliseconds kUpPoll{2};

} // namespace

struct Client::Impl : std::enable_shared_from_this<Client::Impl> {
    Impl(Core& core, ClientOptions with, std::optional<asio::ssl::context> context)
        : executor(core.executor()),
          options(std::move(with)),
          tls(std::move(context)),
          map_timer(executor) {}

    Executor executor;
    ClientOptions options;
    std::optional<asio::ssl::context> tls;
    std::map<HostPort, std::shared_ptr<Link>> links; // of a single Redis: one
    std::optional<SlotMap> map;                      // of a cluster
    Timer map_timer;
    SteadyTime map_asked_at{};
    SteadyTime map_due{}; // when it is asked for again
    std::size_t turn = 0; // which link is asked next when any will do
    std::minstd_rand random{std::random_device()()};
    bool is_closed = false;
    std::atomic<std::uint64_t> calls{0}; // written by the core

    void start();
    void close();
    void abandon();

    Link* link_to(const HostPort& node);
    Link* any_link();
    Link* link_for(std::string_view routing_key);

    Task<Result<Reply>> send(std::string_view command, std::string_view routing_key,
                             SteadyTime deadline);
    void heed(const Redirect& redirect, const HostPort& here, const std::string& why);
    Task<bool> pause(int attempt, SteadyTime deadline);

    static Task<void> keep_map(std::shared_ptr<Impl> self);
    Task<bool> ask_map();
    void use_map(SlotMap fresh);
    void want_map();
    [[nodiscard]] bool all_are_up() const;
    [[nodiscard]] std::string state() const;
};

void Client::Impl::start() {
    for (const Url& server : options.servers) {
        link_to({server.address.host, server.address.port});
        if (!options.is_cluster) return;
    }
    asio::co_spawn(executor, keep_map(shared_from_this()), rethrow);
}

void Client::Impl::close() {
    is_closed = true;
    map_timer.cancel();
    // Callers are resumed in here, and look at the links.
    for (auto& [node, link] : std::map(links)) link->close();
}

void Client::Impl::abandon() {
    is_closed = true;
    for (auto& [node, link] : links) link->abandon();
    links.clear();
}

// Makes it if there is none. Null: no cluster has so many nodes.
Link* Client::Impl::link_to(const HostPort& node) {
    if (const auto at = links.find(node); at != links.end()) return at->second.get();
    if (is_closed || links.size() == 2 * kNodesMax) return nullptr;
    LinkOptions its;
    its.url = options.servers.front();
    its.url.address.host = node.host;
    its.url.address.port = node.port;
    its.tls = tls ? &*tls : nullptr;
    its.demands = {options.is_cluster, options.needs_noeviction};
    its.connect_wait_max = options.connect_wait_max;
    its.silence_max = options.silence_max;
    its.in_flight_max = options.in_flight_max;
    its.tell = options.tell;
    if (options.is_cluster) {
        its.on_change = [weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->want_map();
        };
    }
    const auto link = std::make_shared<Link>(executor, std::move(its));
    links.emplace(node, link);
    link->start();
    return link.get();
}

Link* Client::Impl::any_link() {
    if (links.empty()) return nullptr;
    Link* untried = nullptr;
    auto at = std::next(links.begin(), static_cast<std::ptrdiff_t>(turn++ % links.size()));
    for (std::size_t i = 0; i < links.size(); ++i) {
        if (at->second->is_up()) return at->second.get();
        untried = at->second.get();
        if (++at == links.end()) at = links.begin();
    }
    return untried;
}

// Null: nobody has the slot, or the map is not known yet.
Link* Client::Impl::link_for(std::string_view routing_key) {
    if (!options.is_cluster || routing_key.empty()) return any_link();
    if (!map) return nullptr;
    const HostPort* const node = map->node_of(slot_of(routing_key));
    return node == nullptr ? nullptr : link_to(*node);
}

// Nothing is executed twice: each further attempt follows a reply that says that the command was
// not.
Task<Result<Reply>> Client::Impl::send(std::string_view command, std::string_view routing_key,
                                       SteadyTime deadline) {
    static constexpr std::array<std::string_view, 1> kAsking{"ASKING"};
    std::string asking_command;
    std::optional<HostPort> ask;
    std::string last = "the cluster's map is not known yet, or has no node for this key";
    for (int attempt = 0; attempt < kAttemptsMax && !is_closed; ++attempt) {
        Link* link = ask ? link_to(*ask) : link_for(routing_key);
        if (link == nullptr) break;
        const bool is_up = co_await link->wait_until_tried(deadline);
        // It may be gone by now, or another's turn.
        link = is_closed ? nullptr : ask ? link_to(*ask) : link_for(routing_key);
        if (link == nullptr) break;
        if (!is_up) co_return fail(Errc::unavailable, link->state());
        const HostPort here{link->address().host, link->address().port};
        const std::size_t skipped = ask ? 1 : 0;
        if (ask) {
            asking_command.clear();
            append_command(asking_command, kAsking);
            asking_command.append(command);
        }
        const std::string_view bytes = ask ? std::string_view(asking_command) : command;
        calls.store(calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        auto reply = co_await link->call(bytes, skipped, deadline);
        ask.reset();
        if (!reply) co_return reply;
        Redirect redirect = redirect_of(*reply);
        const bool moves =
            redirect.kind == Redirect::Kind::moved || redirect.kind == Redirect::Kind::ask;
        if (redirect.kind == Redirect::Kind::none || (moves && !options.is_cluster)) {
            co_return reply;
        }
        last = "Redis " + here.host + ":" + std::to_string(here.port) + ": " + reply->text;
        if (redirect.node.host.empty()) redirect.node.host = here.host;
        if (redirect.kind == Redirect::Kind::ask) {
            ask = redirect.node;
            continue;
        }
        heed(redirect, here, reply->text);
        // Nodes that send us to and fro have not heard of a move yet: they get a moment.
        if (redirect.kind == Redirect::Kind::moved && attempt < kMovedAtOnceMax) continue;
        const bool goes_on = options.is_cluster && co_await pause(attempt, deadline);
        if (!goes_on) break;
    }
    co_return fail(Errc::unavailable, is_closed ? "Redis is closed" : last);
}

// What is remembered of a redirection for other calls.
void Client::Impl::heed(const Redirect& redirect, const HostPort& here, const std::string& why) {
    if (redirect.kind == Redirect::Kind::moved && map) map->move(redirect.slot, redirect.node);
    if (redirect.kind == Redirect::Kind::other_node) {
        const auto at = links.find(here);
        if (at != links.end()) at->second->retire(why);
    }
    want_map();
}

// False when the deadline is nearer than the pause is long.
Task<bool> Client::Impl::pause(int attempt, SteadyTime deadline) {
    const auto most = std::min(kRetryPauseMax, kRetryPauseMin * (1 << attempt));
    std::uniform_int_distribution<std::int64_t> spread(most.count() / 2, most.count());
    const auto until = steady_clock::now() + milliseconds(spread(random));
    if (until >= deadline) co_return false;
    Timer timer(executor, until);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(use_task, ignored));
    co_return true;
}

Task<void> Client::Impl::keep_map(std::shared_ptr<Impl> self) {
    while (!self->is_closed) {
        self->map_asked_at = steady_clock::now();
        const bool is_fresh = co_await self->ask_map();
        if (self->is_closed) co_return;
        const bool is_well = is_fresh && self->all_are_up();
        self->map_due = self->map_asked_at + (is_well ? kMapAgeMax : kMapAgeTroubled);
        while (!self->is_closed && steady_clock::now() < self->map_due) {
            self->map_timer.expires_at(self->map_due);
            boost::system::error_code ignored;
            co_await self->map_timer.async_wait(asio::redirect_error(use_task, ignored));
        }
    }
}

// Asks whoever answers; when nobody of the map does, the servers of the settings are tried again.
Task<bool> Client::Impl::ask_map() {
    static constexpr std::array<std::string_view, 2> kSlotsCommand{"CLUSTER", "SLOTS"};
    Link* link = any_link();
    if (link == nullptr || !link->is_up()) {
        for (const Url& server : options.servers) {
            link_to({server.address.host, server.address.port});
        }
        link = any_link();
    }
    const auto deadline = steady_clock::now() + kMapWaitMax;
    if (!link->is_up()) {
        const bool is_up = co_await link->wait_until_tried(deadline);
        if (!is_up || is_closed) co_return false;
        link = any_link();
        if (link == nullptr || !link->is_up()) co_return false;
    }
    const std::string host = link->address().host;
    std::string command;
    append_command(command, kSlotsCommand);
    const auto reply = co_await link->call(command, 0, deadline);
    if (!reply || is_closed) co_return false;
    auto fresh = SlotMap::parse(*reply, host);
    if (!fresh || fresh->nodes().empty()) co_return false;
    use_map(std::move(*fresh));
    co_return true;
}

void Client::Impl::use_map(SlotMap fresh) {
    map = std::move(fresh);
    for (const HostPort& node : map->nodes()) link_to(node);
    std::vector<std::shared_ptr<Link>> gone;
    std::erase_if(links, [&](const auto& entry) {
        const bool is_gone = std::ranges::find(map->nodes(), entry.first) == map->nodes().end();
        if (is_gone) gone.push_back(entry.second);
        return is_gone;
    });
    for (const auto& link : gone) link->close(); // may resume callers, who look at the links
}

void Client::Impl::want_map() {
    if (!options.is_cluster || is_closed) return;
    const auto earliest = map_asked_at + kMapAgeMin;
    if (map_due <= earliest) return;
    map_due = earliest;
    map_timer.cancel(); // keep_map() looks when it is due
}

bool Client::Impl::all_are_up() const {
    if (links.empty() || (options.is_cluster && (!map || map->slots_without_node() > 0))) {
        return false;
    }
    return std::ranges::all_of(links, [](const auto& entry) { return entry.second->is_up(); });
}

std::string Client::Impl::state() const {
    if (is_closed) return "closed";
    if (all_are_up()) return "up";
    std::string first;
    std::size_t down = 0;
    for (const auto& [node, link] : links) {
        if (link->is_up()) continue;
        if (down++ == 0) first = link->state();
    }
    if (!options.is_cluster) return links.empty() ? "not started" : first;
    if (down > 0) {
        return std::to_string(down) + " of " + std::to_string(links.size()) + " nodes: " + first;
    }
    if (!map) return "the cluster's map is not known yet";
    return std::to_string(map->slots_without_node()) + " of the cluster's slots have no node";
}

Result<std::unique_ptr<Client>> Client::open(Core& core, ClientOptions options) {
    DB_ASSERT(!options.servers.empty());
    std::optional<asio::ssl::context> tls;
    if (options.servers.front().address.transport == Address::Transport::tls) {
        auto context = client_tls(options.tls_ca);
        if (!context) return tl::unexpected(std::move(context.error()));
        tls.emplace(std::move(*context));
    }
    auto impl = std::make_shared<Impl>(core, std::move(options), std::move(tls));
    return std::unique_ptr<Client>(new Client(std::move(impl)));
}

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() { impl_->abandon(); }

void Client::start() {
    asio::post(impl_->executor, [impl = impl_] {
        if (!impl->is_closed) impl->start();
    });
}

void Client::close() {
    asio::post(impl_->executor, [impl = impl_] { impl->close(); });
}

Task<Result<Reply>> Client::call(Arguments arguments, std::string_view routing_key,
                                 Duration wait_max) {
    const auto deadline = steady_clock::now() + wait_max;
    std::string command;
    append_command(command, arguments);
    co_return co_await impl_->send(command, routing_key, deadline);
}

Task<Result<Reply>> Client::run(const Script& script, Arguments keys, Arguments arguments,
                                std::string_view routing_key, Duration wait_max) {
    const auto deadline = steady_clock::now() + wait_max;
    const std::string count = std::to_string(keys.size());
    std::vector<std::string_view> words{"EVALSHA", script.sha1(), count};
    words.insert(words.end(), keys.begin(), keys.end());
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::string command;
    append_command(command, words);
    auto reply = co_await impl_->send(command, routing_key, deadline);
    if (!reply || !reply->is_error("NOSCRIPT")) co_return reply;
    words[0] = "EVAL";
    words[1] = script.text();
    command.clear();
    append_command(command, words);
    co_return co_await impl_->send(command, routing_key, deadline);
}

Task<bool> Client::wait_until_up(Duration wait_max) {
    const auto deadline = steady_clock::now() + wait_max;
    Timer timer(impl_->executor);
    while (!is_up() && !impl_->is_closed && steady_clock::now() < deadline) {
        timer.expires_after(kUpPoll);
        boost::system::error_code ignored;
        co_await timer.async_wait(asio::redirect_error(use_task, ignored));
    }
    co_return is_up();
}

bool Client::is_up() const { return !impl_->is_closed && impl_->all_are_up(); }
std::string Client::state() const { return impl_->state(); }
std::uint64_t Client::calls() const { return impl_->calls.load(std::memory_order_relaxed); }
const ClientOptions& Client::options() const { return impl_->options; }

} // namespace doorbuster::redis
