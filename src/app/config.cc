#include "app/config.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <netinet/in.h>
#include <system_error>
#include <toml++/toml.h>
#include <unistd.h>
#include <utility>

#include "app/config_keys.h"
#include "app/config_value.h"
#include "app/config_webhooks.h"
#include "app/strategies.h"

namespace doorbuster {
namespace {

constexpr std::string_view kPrefix = "DOORBUSTER_";
constexpr std::string_view kFilePrefix = "file:";
constexpr std::string_view kDefaultOrigin = "default";
// Connections of the published system, for purchases that wait for the store.
constexpr std::int64_t kDirectPoolSize = 20;
constexpr std::string_view kMask = "********"; // what `config show` prints for a secret
constexpr std::size_t kFileBytesMax = 1 << 20; // of settings: a thousand times the longest sane
constexpr std::size_t kSecretBytesMax = 1 << 16;

// Variables of ours that are not settings: the client commands' server, and what the tests use.
constexpr std::array<std::string_view, 6> kOtherVariables = {
    "DOORBUSTER_URL",  "DOORBUSTER_BIN",  "DOORBUSTER_PRESET",
    "DOORBUSTER_SLOW", "DOORBUSTER_SEED", "DOORBUSTER_SERVICES_DIR"};
constexpr std::string_view kFaultPrefix = "DOORBUSTER_FAULT";
constexpr std::string_view kTestPrefix = "DOORBUSTER_TEST_";

// Kubernetes gives every container variables about each service of its namespace, so a service
// named "doorbuster" or "doorbuster-…" must not look like a misspelt setting
// (kubernetes.io/docs/concepts/services-networking/service, "Environment variables").
bool is_service_link(std::string_view name, std::string_view value) {
    if (name.ends_with("_SERVICE_HOST")) return true;
    if (name.find("_SERVICE_PORT") != std::string_view::npos) return true;
    if (name.find("_TCP_") != std::string_view::npos) return true;
    if (name.find("_UDP_") != std::string_view::npos) return true;
    return value.starts_with("tcp://") || value.starts_with("udp://");
}

bool is_other_variable(std::string_view name, std::string_view value) {
    return std::ranges::find(kOtherVariables, name) != kOtherVariables.end() ||
           name.starts_with(kFaultPrefix) || name.starts_with(kTestPrefix) ||
           is_service_link(name, value);
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t bytes_max) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) {
        return fail(Errc::invalid, fmt::format("cannot read {}: it is a folder", path.string()));
    }
    errno = 0;
    std::ifstream in(path, std::ios::binary);
    std::string text(bytes_max + 1, '\0');
    if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!in.is_open() || in.bad()) {
        const std::string why = std::generic_category().message(errno);
        return fail(Errc::invalid, fmt::format("cannot read {}: {}", path.string(), why));
    }
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > bytes_max) {
        return fail(Errc::invalid,
                    fmt::format("{} is longer than {} bytes", path.string(), bytes_max));
    }
    return text;
}

std::size_t index_of(const ConfigKey& key) {
    return static_cast<std::size_t>(&key - config_keys().data());
}

// Collects values from the sources, weakest first, and every error on the way.
class Reader {
public:
    Reader() { reading_.origins.assign(config_keys().size(), std::string(kDefaultOrigin)); }

    void read_file_settings(const std::filesystem::path& path);
    void read_environment(const Environment& environment);
    void read_override(const ConfigOverride& override);
    void check(ConfigUse use);

    [[nodiscard]] ConfigReading take() && { return std::move(reading_); }

private:
    void read_section(const toml::key& name, const toml::node& node, std::string_view file);
    void take_value(const ConfigKey& key, ConvertedValue value, const std::string& origin);
    void read_secret_file(const std::string& name, std::string& text, const std::string& origin);
    [[nodiscard]] const std::string& origin(std::string_view name) const;
    [[nodiscard]] bool is_default(std::string_view name) const {
        return origin(name) == kDefaultOrigin;
    }
    void fit_strategy();
    void error(std::string text) { reading_.errors.push_back(std::move(text)); }

    ConfigReading reading_;
};

void Reader::read_file_settings(const std::filesystem::path& path) {
    const auto text = read_file(path, kFileBytesMax);
    if (!text) return error(text.error().context);
    toml::table root;
    try {
        root = toml::parse(*text);
    } catch (const toml::parse_error& problem) {
        return error(fmt::format("{}:{}: {}", path.string(), problem.source().begin.line,
                                 problem.description()));
    }
    for (const auto& [name, node] : root) read_section(name, node, path.string());
}

void Reader::read_section(const toml::key& section, const toml::node& node, std::string_view file) {
    const auto line = section.source().begin.line;
    const auto is_ours = [&](const ConfigKey& key) { return key.section == section.str(); };
    const toml::table* table = node.as_table();
    if (table == nullptr || std::ranges::none_of(config_keys(), is_ours)) {
        const bool is_section = table != nullptr;
        const std::string nearest = nearest_config_key(
            is_section && !table->empty()
                ? fmt::format("{}.{}", section.str(), table->begin()->first.str())
                : std::string(section.str()));
        return error(
            is_section
                ? fmt::format("unknown section [{}] ({}:{}); the nearest known one is [{}]",
                              section.str(), file, line, nearest.substr(0, nearest.find('.')))
                : fmt::format("unknown setting {} ({}:{}); the nearest known one is {}",
                              section.str(), file, line, nearest));
    }
    for (const auto& [name, value] : *table) {
        const std::string full = fmt::format("{}.{}", section.str(), name.str());
        const std::string origin = fmt::format("{}:{}", file, name.source().begin.line);
        const ConfigKey* key = find_config_key(full);
        if (key == nullptr) {
            error(fmt::format("unknown setting {} ({}); the nearest known one is {}", full, origin,
                              nearest_config_key(full)));
        } else {
            take_value(*key, convert_node(*key, value), origin);
        }
    }
}

void Reader::read_environment(const Environment& environment) {
    for (auto at = environment.lower_bound(kPrefix);
         at != environment.end() && at->first.starts_with(kPrefix); ++at) {
        const auto& [name, value] = *at;
        if (const ConfigKey* key = find_config_variable(name)) {
            // Empty is how deployment tools pass on a variable that is not set.
            if (!value.empty()) take_value(*key, convert_text(*key, value), name);
        } else if (!is_other_variable(name, value)) {
            const auto nearest =
                std::ranges::min_element(config_keys(), {}, [&](const ConfigKey& row) {
                    return edit_distance(name, environment_name(row));
                });
            error(fmt::format("unknown environment variable {}; the nearest known one is {}", name,
                              environment_name(*nearest)));
        }
    }
}

void Reader::read_override(const ConfigOverride& override) {
    const std::string origin = override.flag.empty() ? "command line" : override.flag;
    const ConfigKey* key = find_config_key(override.key);
    if (key == nullptr) {
        return error(fmt::format("unknown setting {} ({}); the nearest known one is {}",
                                 override.key, origin, nearest_config_key(override.key)));
    }
    take_value(*key, convert_text(*key, override.value), origin);
}

void Reader::take_value(const ConfigKey& key, ConvertedValue value, const std::string& origin) {
    const std::string name = full_name(key);
    const bool secret = key.rules.secrecy != Secrecy::open;
    if (!value && !value.error().reason.empty()) {
        return error(fmt::format("{} {} ({})", name, value.error().reason, origin));
    }
    if (value && key.rules.secrecy == Secrecy::whole) {
        read_secret_file(name, std::get<std::string>(*value), origin);
    }
    if (value && key.type == KeyType::endpoints) {
        for (std::size_t i = 0; auto& each : std::get<std::vector<WebhookEndpoint>>(*value)) {
            read_secret_file(fmt::format("{}[{}].secret", name, i++), each.secret, origin);
        }
    }
    std::optional<std::string> broken;
    std::string allowed = allowed_words(key);
    if (!value) {
        broken = value.error().given;
    } else if (auto part = broken_part(key, *value)) {
        const bool is_text = key.type == KeyType::text || key.type == KeyType::list;
        broken = is_text ? fmt::format("\"{}\"", shortened(*part)) : *part;
        if (key.type == KeyType::list) allowed = key.rules.form.words; // of the one item
    }
    if (broken) {
        return error(fmt::format("{}: {} is not {} ({})", name,
                                 secret ? "the given value" : *broken, allowed, origin));
    }
    key.set(reading_.config, *value);
    reading_.origins[index_of(key)] = origin;
}

void Reader::read_secret_file(const std::string& name, std::string& text,
                              const std::string& origin) {
    auto secret = resolve_secret(text);
    if (!secret) {
        error(fmt::format("{}: {} ({})", name, secret.error().context, origin));
        return;
    }
    if (*secret == kMask) {
        error(fmt::format("{}: {} is what `config show` prints instead of a secret ({})", name,
                          kMask, origin));
    }
    text = std::move(*secret);
}

const std::string& Reader::origin(std::string_view name) const {
    return reading_.origins[index_of(*find_config_key(name))];
}

// What a strategy is made of (app/strategies.h) is the default of what it needs; another choice
// that was made is an error. The log's own default, written out, is none.
void Reader::fit_strategy() {
    Config& config = reading_.config;
    const StrategyRow& row = strategy_of(config.purchase);
    const bool is_direct = row.log_step == LogStep::direct;
    const bool says_direct = config.log.backend == LogConfig::Backend::direct;
    if (is_direct && config.log.backend == LogConfig::Backend::kafka) {
        error(fmt::format("purchase.strategy is {} ({}), which writes straight to the store, and "
                          "log.backend is kafka ({}): leave log.backend out, or set it to direct",
                          row.name, origin("purchase.strategy"), origin("log.backend")));
    }
    if (!is_direct && says_direct) {
        error(
            fmt::format("log.backend is direct ({}) and purchase.strategy is {} ({}), which needs "
                        "an order log: set log.backend to sqlite or kafka",
                        origin("log.backend"), row.name, origin("purchase.strategy")));
    }
    if (is_direct && config.log.backend == LogConfig::Backend::sqlite) {
        config.log.backend = LogConfig::Backend::direct;
        reading_.origins[index_of(*find_config_key("log.backend"))] = kDefaultOrigin;
    }
    if (is_direct && is_default("store.pool_size")) config.store.pool_size = kDirectPoolSize;
    if (row.stock_step == StockStep::looks_in_redis) {
        const bool has_redis = !config.redis.url.empty() || !config.redis.nodes.empty();
        if (!has_redis) {
            error(
                fmt::format("purchase.strategy is {} ({}), which looks at the stock in Redis, and "
                            "neither redis.url nor redis.nodes is set",
                            row.name, origin("purchase.strategy")));
        }
        if (config.inventory.backend == InventoryConfig::Backend::memory &&
            !is_default("inventory.backend")) {
            error(
                fmt::format("purchase.strategy is {} ({}), which looks at the stock in Redis, and "
                            "inventory.backend is memory ({}): leave it out, or set it to redis",
                            row.name, origin("purchase.strategy"), origin("inventory.backend")));
        }
        if (has_redis) config.inventory.backend = InventoryConfig::Backend::redis;
    }
    if (row.stock_step != StockStep::holds && row.log_step == LogStep::writer &&
        !config.writer.enabled) {
        error(fmt::format("purchase.strategy is {} ({}), whose order writer raises the counters in "
                          "Redis, and writer.enabled is false ({}): it runs in `serve` only",
                          row.name, origin("purchase.strategy"), origin("writer.enabled")));
    }
}

// What one setting alone cannot tell.
void Reader::check(ConfigUse use) {
    fit_strategy();
    const Config& config = reading_.config;
    if (config.server.tls_cert.empty() != config.server.tls_key.empty()) {
        const bool has_cert = !config.server.tls_cert.empty();
        const std::string_view present = has_cert ? "server.tls_cert" : "server.tls_key";
        error(fmt::format("{} is set ({}) and {} is not: TLS needs both", present, origin(present),
                          has_cert ? "server.tls_key" : "server.tls_cert"));
    }
    if (config.identity.mode == IdentityConfig::Mode::jwt && config.identity.jwt_keys.empty()) {
        error(fmt::format("identity.mode is jwt ({}) and identity.jwt_keys is empty: without a key "
                          "no token can be checked",
                          origin("identity.mode")));
    }
    if (!config.redis.url.empty() && !config.redis.nodes.empty()) {
        error(fmt::format("redis.url ({}) and redis.nodes ({}) are both set: one server or a "
                          "cluster, not both",
                          origin("redis.url"), origin("redis.nodes")));
    }
    const bool has_redis = !config.redis.url.empty() || !config.redis.nodes.empty();
    if (config.inventory.backend == InventoryConfig::Backend::redis && !has_redis) {
        error(fmt::format("inventory.backend is redis ({}) and neither redis.url nor redis.nodes "
                          "is set",
                          origin("inventory.backend")));
    }
    if (config.limits.backend == LimitsConfig::Backend::redis && !has_redis) {
        error(fmt::format("limits.backend is redis ({}) and neither redis.url nor redis.nodes is "
                          "set",
                          origin("limits.backend")));
    }
    if (config.log.backend == LogConfig::Backend::kafka && config.kafka.brokers.empty()) {
        error(fmt::format("log.backend is kafka ({}) and kafka.brokers is empty",
                          origin("log.backend")));
    }
    if (config.log.backend == LogConfig::Backend::sqlite && !config.writer.enabled) {
        error(fmt::format("writer.enabled is false ({}) and log.backend is sqlite: nobody else can "
                          "write its orders",
                          origin("writer.enabled")));
    }
    for (const std::string& problem : webhook_problems(config.webhooks)) {
        error(fmt::format("{} ({})", problem, origin("webhooks.endpoints")));
    }
    if (use != ConfigUse::serving) return;
    const auto listen = parse_listen(config.server.listen);
    if (listen && !is_loopback(*listen) && config.admin.token.empty()) {
        error(fmt::format("server.listen = \"{}\" ({}) can be reached from other machines, and "
                          "there is no admin token: set admin.token or DOORBUSTER_ADMIN_TOKEN, or "
                          "listen on 127.0.0.1",
                          config.server.listen, origin("server.listen")));
    }
    for (const std::string_view name : {"server.tls_cert", "server.tls_key"}) {
        const auto& path =
            name == "server.tls_cert" ? config.server.tls_cert : config.server.tls_key;
        if (path.empty()) continue;
        if (const auto text = read_file(path, kSecretBytesMax); !text) {
            error(fmt::format("{}: {} ({})", name, text.error().context, origin(name)));
        }
    }
}

} // namespace

Environment process_environment() {
    Environment out;
    for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
        const std::string_view entry = *at;
        const std::size_t equals = entry.find('=');
        if (equals == std::string_view::npos) continue;
        out.emplace(entry.substr(0, equals), entry.substr(equals + 1));
    }
    return out;
}

ConfigReading read_config(const ConfigSources& sources) {
    Reader reader;
    if (sources.file) reader.read_file_settings(*sources.file);
    reader.read_environment(sources.environment);
    for (const ConfigOverride& override : sources.overrides) reader.read_override(override);
    reader.check(sources.use);
    return std::move(reader).take();
}

Result<Config> load_config(const ConfigSources& sources) {
    ConfigReading reading = read_config(sources);
    if (!reading.errors.empty()) {
        return fail(Errc::invalid, fmt::format("{}", fmt::join(reading.errors, "\n")));
    }
    return std::move(reading.config);
}

bool is_clustered(const Config& config) {
    return config.inventory.backend == InventoryConfig::Backend::redis ||
           config.log.backend == LogConfig::Backend::kafka ||
           !config.store.url.starts_with("sqlite:");
}

std::optional<ListenAddress> parse_listen(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const std::string_view digits = text.substr(colon + 1);
    ListenAddress out;
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), out.port);
    if (digits.empty() || error != std::errc{} || end != digits.end()) return std::nullopt;
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    out.host = host == "localhost" && !bracketed ? "127.0.0.1" : std::string(host);
    std::array<std::byte, sizeof(in6_addr)> address{};
    const int family = bracketed ? AF_INET6 : AF_INET;
    if (inet_pton(family, out.host.c_str(), address.data()) != 1) return std::nullopt;
    return out;
}

bool is_loopback(const ListenAddress& address) {
    in6_addr six{};
    if (inet_pton(AF_INET6, address.host.c_str(), &six) == 1) {
        if (IN6_IS_ADDR_V4MAPPED(&six)) return six.s6_addr[12] == 127;
        return IN6_IS_ADDR_LOOPBACK(&six);
    }
    return address.host.starts_with("127.");
}

Result<std::string> resolve_secret(std::string_view text) {
    if (!text.starts_with(kFilePrefix)) return std::string(text);
    auto content = read_file(std::string(text.substr(kFilePrefix.size())), kSecretBytesMax);
    if (!content) return tl::unexpected<Error>(content.error());
    while (content->ends_with('\n') || content->ends_with('\r')) content->pop_back();
    if (content->empty()) {
        return fail(Errc::invalid, fmt::format("{} is empty", text.substr(kFilePrefix.size())));
    }
    return content;
}

} // namespace doorbuster
