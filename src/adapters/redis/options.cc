#include "adapters/redis/client.h"

namespace doorbuster::redis {
namespace {

// Nobody lists more by hand; the servers tell the rest.
constexpr std::size_t kListedNodesMax = 100;

Error in_setting(const char* setting, const Error& error) {
    return Error{error.code, std::string(setting) + " " + error.context};
}

bool has_login(const Url& url) { return !url.user.empty() || !url.password.empty(); }

} // namespace

Result<ClientOptions> read_options(std::string_view url, std::span<const std::string> nodes) {
    ClientOptions options;
    if (!url.empty() && !nodes.empty()) {
        return fail(Errc::invalid, "redis.url and redis.nodes are both set: a cluster has nodes");
    }
    if (nodes.empty()) {
        if (url.empty()) return fail(Errc::invalid, "redis.url is not set");
        auto server = parse_url(url);
        if (!server) return tl::unexpected(in_setting("redis.url", server.error()));
        options.servers.push_back(std::move(*server));
        return options;
    }
    if (nodes.size() > kListedNodesMax) {
        return fail(Errc::invalid,
                    "redis.nodes has more than " + std::to_string(kListedNodesMax) + " entries");
    }
    options.is_cluster = true;
    for (const std::string& node : nodes) {
        auto server = parse_node(node);
        if (!server) return tl::unexpected(in_setting("an entry of redis.nodes", server.error()));
        if (!options.servers.empty()) {
            const Url& first = options.servers.front();
            const bool is_bare = node.find("://") == std::string::npos;
            if (is_bare) server->address.transport = first.address.transport;
            if (!has_login(*server)) {
                server->user = first.user;
                server->password = first.password;
            }
            if (server->address.transport != first.address.transport ||
                server->user != first.user || server->password != first.password) {
                return fail(Errc::invalid, "the entries of redis.nodes differ in TLS or login: "
                                           "every node of a cluster has the same");
            }
        }
        options.servers.push_back(std::move(*server));
    }
    return options;
}

} // namespace doorbuster::redis
