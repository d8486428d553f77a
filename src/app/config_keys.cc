#include "app/config_keys.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <netinet/in.h>
#include <type_traits>

namespace doorbuster {
namespace {

// Bounds that only keep typing errors out; what a machine can do is far below or above them.
constexpr double kThreadsMax = 1'024;
constexpr double kCountMax = 1'000'000'000;
constexpr double kConnectionsMax = 1'000'000; // more than a process has file descriptors
constexpr double kTimeoutMin_s = 0.05;        // below, a healthy client is cut off
constexpr double kTimeoutMax_s = 3'600;
constexpr double kPoolMax = 1'000;
constexpr double kWebhookWaitMax_s = 300; // of an attempt; past it the receiver is down
constexpr double kWebhookSpanMin_s = 1;
constexpr double kWebhookSpanMax_s = 31'536'000; // a year
constexpr double kBatchMax = 100'000; // one transaction still fits in memory many times over
constexpr double kRateMax = 1'000'000'000;
constexpr double kPartitionsMax = 1'000; // every serving process reads all of them
constexpr double kReplicasMax = 32;
constexpr std::size_t kNameMax = 249;    // a Kafka topic's name
constexpr std::size_t kTokenMax = 4'096; // fits a request's header many times over

constexpr std::array<std::string_view, 6> kStrategies = {"naive",  "optimistic", "limited",
                                                         "cached", "queued",     "reserve"};
constexpr std::array<std::string_view, 2> kMemoryOrRedis = {"memory", "redis"};
constexpr std::array<std::string_view, 3> kLogs = {"sqlite", "kafka", "direct"};
constexpr std::array<std::string_view, 2> kIdentityModes = {"header", "jwt"};
constexpr std::array<std::string_view, 6> kLogLevels = {"trace", "debug", "info",
                                                        "warn",  "error", "off"};
constexpr std::array<std::string_view, 2> kLogFormats = {"text", "json"};

bool is_ip(std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN + 1> name{};
    if (text.size() >= name.size()) return false;
    std::copy(text.begin(), text.end(), name.begin());
    std::array<std::byte, sizeof(in6_addr)> address{};
    return inet_pton(AF_INET, name.data(), address.data()) == 1 ||
           inet_pton(AF_INET6, name.data(), address.data()) == 1;
}

bool is_ip_or_network(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) return is_ip(text);
    const std::string_view address = text.substr(0, slash);
    const std::string_view length = text.substr(slash + 1);
    int bits = -1;
    const auto [end, error] = std::from_chars(length.begin(), length.end(), bits);
    const int bits_max = address.find(':') == std::string_view::npos ? 32 : 128;
    return is_ip(address) && error == std::errc{} && end == length.end() && bits >= 0 &&
           bits <= bits_max;
}

bool is_listen(std::string_view text) { return parse_listen(text).has_value(); }

bool is_host_port(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0) return false;
    const std::string_view digits = text.substr(colon + 1);
    unsigned port = 0;
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), port);
    return error == std::errc{} && end == digits.end() && port > 0 && port <= 65'535 &&
           text.find_first_of(" /") == std::string_view::npos;
}

bool has_rest(std::string_view text, std::string_view prefix) {
    return text.starts_with(prefix) && text.size() > prefix.size();
}
bool is_store_url(std::string_view text) {
    return has_rest(text, "sqlite:") || has_rest(text, "postgresql://") ||
           has_rest(text, "mysql://");
}
bool is_redis_url(std::string_view text) {
    return has_rest(text, "redis://") || has_rest(text, "rediss://") || has_rest(text, "unix://");
}

bool is_name(std::string_view text) {
    return text.size() <= kNameMax && std::ranges::all_of(text, [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '_' || c == '-';
           });
}
bool is_token(std::string_view text) {
    return text.size() <= kTokenMax &&
           std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}
bool is_not_empty(std::string_view text) { return !text.empty(); }

constexpr TextForm kListen = {is_listen,
                              "HOST:PORT, the host an IP address ([::1] for IPv6) or localhost"};
constexpr TextForm kHostPort = {is_host_port, "HOST:PORT"};
constexpr TextForm kNetwork = {is_ip_or_network, "an IP address or a network such as 10.0.0.0/8"};
constexpr TextForm kStoreUrl = {is_store_url, "sqlite:FILE, postgresql://… or mysql://…"};
constexpr TextForm kRedisUrl = {is_redis_url, "redis://…, rediss://… or unix://…"};
constexpr TextForm kName = {is_name, "a name of letters, digits, '.', '_' and '-'"};
constexpr TextForm kToken = {is_token, "printable ASCII without spaces (or file:PATH)"};
constexpr TextForm kNotEmpty = {is_not_empty, "a text that is not empty"};
constexpr KeyRules kTimeout = {.minimum = kTimeoutMin_s, .maximum = kTimeoutMax_s};
constexpr KeyRules kRate = {.minimum = 0, .maximum = kRateMax};

template <class T> constexpr KeyType type_of() {
    if constexpr (std::is_same_v<T, std::string>) return KeyType::text;
    else if constexpr (std::is_same_v<T, std::int64_t>) return KeyType::whole;
    else if constexpr (std::is_same_v<T, double>) return KeyType::number;
    else if constexpr (std::is_same_v<T, bool>) return KeyType::flag;
    else if constexpr (std::is_enum_v<T>) return KeyType::choice;
    else if constexpr (std::is_same_v<T, std::vector<std::string>>) return KeyType::list;
    else if constexpr (std::is_same_v<T, std::map<std::string, std::string>>) {
        return KeyType::properties;
    } else {
        static_assert(std::is_same_v<T, std::vector<WebhookEndpoint>>);
        return KeyType::endpoints;
    }
}

// A row whose type follows from the member that it fills.
template <auto Section, auto Member>
constexpr ConfigKey row(std::string_view section, std::string_view name, const KeyRules& rules,
                        std::string_view help) {
    using T = std::remove_cvref_t<decltype((std::declval<Config&>().*Section).*Member)>;
    ConfigKey key{section, name, type_of<T>(), rules, help, nullptr, nullptr};
    if constexpr (std::is_enum_v<T>) {
        key.get = [](const Config& c) -> ConfigValue {
            return static_cast<std::int64_t>((c.*Section).*Member);
        };
        key.set = [](Config& c, const ConfigValue& value) {
            (c.*Section).*Member = static_cast<T>(std::get<std::int64_t>(value));
        };
    } else {
        key.get = [](const Config& c) -> ConfigValue { return (c.*Section).*Member; };
        key.set = [](Config& c, const ConfigValue& value) {
            (c.*Section).*Member = std::get<T>(value);
        };
    }
    return key;
}

constexpr std::array kKeys = {
    row<&Config::server, &ServerConfig::listen>("server", "listen", {.form = kListen},
                                                "where to listen; port 0 takes a free one"),
    row<&Config::server, &ServerConfig::threads>("server", "threads", {.maximum = kThreadsMax},
                                                 "threads that serve; 0: one a core"),
    row<&Config::server, &ServerConfig::data>("server", "data", {.form = kNotEmpty},
                                              "the folder of the order log and SQLite store"),
    row<&Config::server, &ServerConfig::tls_cert>("server", "tls_cert", {},
                                                  "certificate chain, a PEM file; with tls_key"),
    row<&Config::server, &ServerConfig::tls_key>("server", "tls_key", {},
                                                 "private key, a PEM file; with tls_cert"),
    row<&Config::server, &ServerConfig::trusted_proxies>(
        "server", "trusted_proxies", {.form = kNetwork},
        "peers whose X-Forwarded-For is believed: addresses or networks"),
    row<&Config::server, &ServerConfig::connections_max>(
        "server", "connections_max", {.minimum = 1, .maximum = kConnectionsMax},
        "connections open at a time; more are closed at once"),
    row<&Config::server, &ServerConfig::in_flight_max>(
        "server", "in_flight_max", {.minimum = 1, .maximum = kConnectionsMax},
        "requests being worked on at a time; more get 503 overloaded"),
    row<&Config::server, &ServerConfig::streams_max>(
        "server", "streams_max", {.minimum = 1, .maximum = kConnectionsMax},
        "streams of an order's events open at a time; one more gets 503 overloaded"),
    row<&Config::server, &ServerConfig::header_timeout_s>("server", "header_timeout_s", kTimeout,
                                                          "seconds for a request's headers"),
    row<&Config::server, &ServerConfig::body_timeout_s>("server", "body_timeout_s", kTimeout,
                                                        "seconds for a request's body"),
    row<&Config::server, &ServerConfig::idle_timeout_s>(
        "server", "idle_timeout_s", kTimeout, "seconds a connection may wait for its next request"),
    row<&Config::server, &ServerConfig::write_timeout_s>("server", "write_timeout_s", kTimeout,
                                                         "seconds for a client to take an answer"),
    row<&Config::purchase, &PurchaseConfig::strategy>(
        "purchase", "strategy", {.choices = kStrategies},
        "how a purchase is decided; reserve is the one to sell with (docs/stages.md)"),
    row<&Config::purchase, &PurchaseConfig::log_lag_max>(
        "purchase", "log_lag_max", {.minimum = 1, .maximum = kCountMax},
        "orders accepted and not yet in the store; past it purchases get 503"),
    row<&Config::inventory, &InventoryConfig::backend>(
        "inventory", "backend", {.choices = kMemoryOrRedis},
        "where the stock of a running sale is counted"),
    row<&Config::log, &LogConfig::backend>(
        "log", "backend", {.choices = kLogs},
        "where an order is durable before its 202; direct: in the store, for naive to cached"),
    row<&Config::store, &StoreConfig::url>(
        "store", "url", {.form = kStoreUrl, .secrecy = Secrecy::password_in_url},
        "the database of orders; a relative SQLite file lies in server.data"),
    row<&Config::store, &StoreConfig::pool_size>(
        "store", "pool_size", {.minimum = 1, .maximum = kPoolMax},
        "connections to the store; 20 with log.backend = \"direct\""),
    row<&Config::store, &StoreConfig::batch_max>("store", "batch_max",
                                                 {.minimum = 1, .maximum = kBatchMax},
                                                 "orders that one transaction stores"),
    row<&Config::writer, &WriterConfig::enabled>(
        "writer", "enabled", {},
        "whether `serve` writes orders to the store, too, and not only `doorbuster write`"),
    row<&Config::redis, &RedisConfig::url>("redis", "url",
                                           {.form = kRedisUrl, .secrecy = Secrecy::password_in_url},
                                           "the Redis server"),
    row<&Config::redis, &RedisConfig::nodes>("redis", "nodes", {.form = kHostPort},
                                             "some nodes of a Redis cluster, instead of url"),
    row<&Config::redis, &RedisConfig::prefix>(
        "redis", "prefix", {.form = kName},
        "what every key begins with; two stores that share a Redis need two"),
    row<&Config::redis, &RedisConfig::tls_ca>(
        "redis", "tls_ca", {}, "PEM file of the authorities for rediss://; empty: the system's"),
    row<&Config::kafka, &KafkaConfig::brokers>("kafka", "brokers", {.form = kHostPort},
                                               "some brokers of the Kafka cluster"),
    row<&Config::kafka, &KafkaConfig::topic>("kafka", "topic", {.form = kName},
                                             "the topic that is the order log"),
    row<&Config::kafka, &KafkaConfig::group>("kafka", "group", {.form = kName},
                                             "the order writers' consumer group"),
    row<&Config::kafka, &KafkaConfig::partitions>(
        "kafka", "partitions", {.minimum = 1, .maximum = kPartitionsMax},
        "partitions of the topic, when doorbuster creates it"),
    row<&Config::kafka, &KafkaConfig::replication_factor>(
        "kafka", "replication_factor", {.minimum = 0, .maximum = kReplicasMax},
        "copies of the topic, when doorbuster creates it; 0: three, or one a broker"),
    row<&Config::kafka, &KafkaConfig::properties>("kafka", "properties",
                                                  {.secrecy = Secrecy::parts},
                                                  "any property of librdkafka, by its own name"),
    row<&Config::limits, &LimitsConfig::backend>("limits", "backend", {.choices = kMemoryOrRedis},
                                                 "where the limits are counted"),
    row<&Config::limits, &LimitsConfig::per_second>(
        "limits", "per_second", kRate, "purchases a second of the whole system; 0: no limit"),
    row<&Config::limits, &LimitsConfig::burst>(
        "limits", "burst", {.maximum = kCountMax},
        "purchases at once within per_second; 0: what one second brings"),
    row<&Config::limits, &LimitsConfig::per_user_per_second>(
        "limits", "per_user_per_second", kRate,
        "purchases and order reads a second of one buyer; 0: no limit"),
    row<&Config::limits, &LimitsConfig::per_ip_per_second>(
        "limits", "per_ip_per_second", kRate,
        "purchases and order reads a second of one address (IPv6: one /64); 0: no limit"),
    row<&Config::limits, &LimitsConfig::status>("limits", "status",
                                                {.minimum = 400, .maximum = 599},
                                                "the status of a rate_limited answer"),
    row<&Config::limits, &LimitsConfig::entries_max>(
        "limits", "entries_max", {.minimum = 1, .maximum = kCountMax},
        "buyers and addresses that the limits remember at a time"),
    row<&Config::identity, &IdentityConfig::mode>(
        "identity", "mode", {.choices = kIdentityModes},
        "who the buyer is: the X-User-Id header (behind a gateway) or a JWT"),
    row<&Config::identity, &IdentityConfig::jwt_keys>(
        "identity", "jwt_keys", {.form = kNotEmpty, .secrecy = Secrecy::inline_keys},
        "keys that tokens may be signed with: PEM, JWK, JWKS, an HS256 secret, or file:PATH"),
    row<&Config::identity, &IdentityConfig::jwt_issuer>("identity", "jwt_issuer", {},
                                                        "the iss that a token must have"),
    row<&Config::identity, &IdentityConfig::jwt_audience>("identity", "jwt_audience", {},
                                                          "what a token's aud must contain"),
    row<&Config::admin, &AdminConfig::token>("admin", "token",
                                             {.form = kToken, .secrecy = Secrecy::whole},
                                             "the bearer token of admin calls, or file:PATH"),
    row<&Config::webhooks, &WebhooksConfig::endpoints>(
        "webhooks", "endpoints", {.secrecy = Secrecy::parts},
        "who is told of orders: at most 16 of {url, secret, events}"),
    row<&Config::webhooks, &WebhooksConfig::allow_private>(
        "webhooks", "allow_private", {},
        "whether endpoints may lie on this machine or in private networks"),
    row<&Config::webhooks, &WebhooksConfig::timeout_s>(
        "webhooks", "timeout_s", {.minimum = kTimeoutMin_s, .maximum = kWebhookWaitMax_s},
        "seconds for one attempt, from the look-up to the answer"),
    row<&Config::webhooks, &WebhooksConfig::disable_after_s>(
        "webhooks", "disable_after_s", {.minimum = kWebhookSpanMin_s, .maximum = kWebhookSpanMax_s},
        "seconds of nothing but failures after which an endpoint is disabled"),
    row<&Config::webhooks, &WebhooksConfig::keep_s>(
        "webhooks", "keep_s", {.minimum = kWebhookSpanMin_s, .maximum = kWebhookSpanMax_s},
        "seconds that events are kept, for replays and for endpoints that are behind"),
    row<&Config::output, &OutputConfig::log_level>("output", "log_level", {.choices = kLogLevels},
                                                   "the least important line that is logged"),
    row<&Config::output, &OutputConfig::log_format>(
        "output", "log_format", {.choices = kLogFormats}, "lines for people or for programs"),
};

std::string upper(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return out;
}

std::optional<std::string> broken_text(const ConfigKey& key, const std::string& text) {
    const ConfigValue by_default = key.get(Config{});
    const auto* default_text = std::get_if<std::string>(&by_default);
    // An empty text stands for "not set", where that is the default.
    if (text.empty() && default_text != nullptr && default_text->empty()) return std::nullopt;
    if (text.empty() || text.find('\0') != std::string::npos) return text;
    if (key.rules.form.fits != nullptr && !key.rules.form.fits(text)) return text;
    return std::nullopt;
}

} // namespace

std::span<const ConfigKey> config_keys() { return kKeys; }

std::string full_name(const ConfigKey& key) { return fmt::format("{}.{}", key.section, key.name); }

std::string environment_name(const ConfigKey& key) {
    return fmt::format("DOORBUSTER_{}_{}", upper(key.section), upper(key.name));
}

const ConfigKey* find_config_key(std::string_view name) {
    const auto* found =
        std::ranges::find_if(kKeys, [&](const ConfigKey& key) { return full_name(key) == name; });
    return found == kKeys.end() ? nullptr : found;
}

const ConfigKey* find_config_variable(std::string_view name) {
    const auto* found = std::ranges::find_if(
        kKeys, [&](const ConfigKey& key) { return environment_name(key) == name; });
    return found == kKeys.end() ? nullptr : found;
}

std::string nearest_config_key(std::string_view unknown) {
    const std::string_view last = unknown.substr(unknown.rfind('.') + 1);
    std::string nearest;
    std::size_t least = std::numeric_limits<std::size_t>::max();
    for (const ConfigKey& key : kKeys) {
        std::string name = full_name(key);
        // The right key in the wrong section is nearer than any misspelling.
        const std::size_t distance = key.name == last ? 1 : edit_distance(unknown, name);
        if (distance < least) {
            least = distance;
            nearest = std::move(name);
        }
    }
    return nearest;
}

std::string allowed_words(const ConfigKey& key) {
    const KeyRules& rules = key.rules;
    switch (key.type) {
    case KeyType::text: return rules.form.words.empty() ? "a text" : std::string(rules.form.words);
    case KeyType::whole:
        return fmt::format("a whole number from {} to {}", rules.minimum, rules.maximum);
    case KeyType::number:
        return fmt::format("a number from {} to {}", rules.minimum, rules.maximum);
    case KeyType::flag: return "true or false";
    case KeyType::choice: return fmt::format("one of {}", fmt::join(rules.choices, ", "));
    case KeyType::list:
        return rules.form.words.empty() ? "a list of texts"
                                        : fmt::format("a list, each item {}", rules.form.words);
    case KeyType::properties: return "a table of names and values";
    case KeyType::endpoints:
        return "a list of {url = \"http…\", secret = \"whsec_…\", events = [\"order.paid\", …]}";
    }
    return {};
}

std::optional<std::string> broken_part(const ConfigKey& key, const ConfigValue& value) {
    switch (key.type) {
    case KeyType::text: return broken_text(key, std::get<std::string>(value));
    case KeyType::whole: {
        const auto number = std::get<std::int64_t>(value);
        const auto as_double = static_cast<double>(number);
        const bool fits = as_double >= key.rules.minimum && as_double <= key.rules.maximum;
        return fits ? std::nullopt : std::optional(fmt::format("{}", number));
    }
    case KeyType::number: {
        const auto number = std::get<double>(value);
        const bool fits = number >= key.rules.minimum && number <= key.rules.maximum; // not NaN
        return fits ? std::nullopt : std::optional(fmt::format("{}", number));
    }
    case KeyType::flag: return std::nullopt;
    case KeyType::choice: return std::nullopt; // only a listed one can be read
    case KeyType::list:
        for (const std::string& item : std::get<std::vector<std::string>>(value)) {
            if (item.empty() || broken_text(key, item)) return item;
        }
        return std::nullopt;
    case KeyType::properties: return std::nullopt;
    case KeyType::endpoints: return std::nullopt; // config_webhooks.h says it in its own words
    }
    return std::nullopt;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before(b.size() + 1);
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, change});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = std::min(row[j], before[j - 2] + 1);
            }
        }
        std::swap(before, last);
        std::swap(last, row);
    }
    return last[b.size()];
}

} // namespace doorbuster
