// The settings: one struct a section of the file, and how they come together from the file, the
// environment and the command line. Values: read once at the start by the main thread, then copied
// or shared read-only. The table of all keys is config_keys.h; printing is config_print.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace doorbuster {

struct ServerConfig {
    std::string listen = "127.0.0.1:8080"; // see parse_listen
    std::int64_t threads = 0;              // 0: one a core
    std::string data = "./data";
    std::string tls_cert; // PEM files; both or none
    std::string tls_key;
    std::vector<std::string> trusted_proxies; // addresses or networks, 10.0.0.0/8
    std::int64_t connections_max = 20'000;
    std::int64_t in_flight_max = 10'000;
    std::int64_t streams_max = 10'000; // of connections_max, those that wait for an order's events
    double header_timeout_s = 10;
    double body_timeout_s = 20;
    double idle_timeout_s = 75;
    double write_timeout_s = 20;
};

struct PurchaseConfig {
    enum class Strategy : std::uint8_t { naive, optimistic, limited, cached, queued, reserve };
    Strategy strategy = Strategy::reserve;
    std::int64_t log_lag_max = 2'000'000; // records accepted and not yet stored; past it 503
};

struct InventoryConfig {
    enum class Backend : std::uint8_t { memory, redis };
    Backend backend = Backend::memory;
};

struct LogConfig {
    // direct: none. The strategies that write straight to the store have it without being told.
    enum class Backend : std::uint8_t { sqlite, kafka, direct };
    Backend backend = Backend::sqlite;
};

struct StoreConfig {
    std::string url = "sqlite:orders.db"; // a relative file lies in server.data
    std::int64_t pool_size = 4;           // 20 where purchases wait for the store
    std::int64_t batch_max = 5'000;       // orders a transaction
};

struct WriterConfig {
    bool enabled = true; // false: with log.backend = "kafka", `serve` leaves writing to `write`
};

struct RedisConfig {
    std::string url;
    std::vector<std::string> nodes; // of a cluster, HOST:PORT
    std::string prefix = "doorbuster";
    std::string tls_ca; // PEM file; empty: the system's authorities
};

struct KafkaConfig {
    std::vector<std::string> brokers;
    std::string topic = "doorbuster-orders";
    std::string group = "doorbuster";
    std::int64_t partitions = 8;                   // of a topic that is not there yet, as the next
    std::int64_t replication_factor = 0;           // 0: three, or as many as there are brokers
    std::map<std::string, std::string> properties; // librdkafka's, dotted names
};

struct LimitsConfig {
    enum class Backend : std::uint8_t { memory, redis };
    Backend backend = Backend::memory;
    double per_second = 0;  // 0: off, of each limit
    std::int64_t burst = 0; // 0: as much as one second brings
    double per_user_per_second = 0;
    double per_ip_per_second = 0;
    std::int64_t status = 429;
    std::int64_t entries_max = 1'000'000; // users and addresses remembered at a time
};

struct IdentityConfig {
    enum class Mode : std::uint8_t { header, jwt };
    Mode mode = Mode::header;
    std::vector<std::string> jwt_keys; // as adapters/jwt reads them, "file:" not yet opened
    std::string jwt_issuer;
    std::string jwt_audience;
};

struct AdminConfig {
    std::string token; // already read from its file, if it was "file:…"
};

struct WebhookEndpoint {
    std::string url;                 // also its name: no two have the same
    std::string secret;              // already read from its file, if it was "file:…"
    std::vector<std::string> events; // "order.paid"; empty: all

    friend bool operator==(const WebhookEndpoint&, const WebhookEndpoint&) = default;
};

struct WebhooksConfig {
    std::vector<WebhookEndpoint> endpoints;
    bool allow_private = false;      // receivers on loopback and private networks
    double timeout_s = 15;           // of one attempt
    double disable_after_s = 86'400; // without a success
    double keep_s = 604'800;         // events that not every endpoint has taken
};

struct OutputConfig {
    enum class LogLevel : std::uint8_t { trace, debug, info, warn, error, off };
    enum class LogFormat : std::uint8_t { text, json };
    LogLevel log_level = LogLevel::info;
    LogFormat log_format = LogFormat::text;
};

struct Config {
    ServerConfig server;
    PurchaseConfig purchase;
    InventoryConfig inventory;
    LogConfig log;
    StoreConfig store;
    WriterConfig writer;
    RedisConfig redis;
    KafkaConfig kafka;
    LimitsConfig limits;
    IdentityConfig identity;
    AdminConfig admin;
    WebhooksConfig webhooks;
    OutputConfig output;
};

using Environment = std::map<std::string, std::string, std::less<>>;
// A copy of this process's environment.
[[nodiscard]] Environment process_environment();

// A setting that a flag of the command line sets.
struct ConfigOverride {
    std::string key;       // "server.listen"
    std::string value;     // written as in an environment variable
    std::string flag = {}; // "--listen", for messages
};

// What the settings are for. Only a server needs an admin token beyond loopback; a command that
// reads the books with a server's file does not.
enum class ConfigUse : std::uint8_t { serving, reading };

struct ConfigSources {
    std::optional<std::filesystem::path> file = {};
    Environment environment = {};
    std::vector<ConfigOverride> overrides = {};
    ConfigUse use = ConfigUse::serving;
};

// The outcome with all its errors, one line each, and where each value came from.
struct ConfigReading {
    Config config;
    std::vector<std::string> origins; // beside config_keys(): "default", "shop.toml:3", …
    std::vector<std::string> errors;
};

// Flags win over the environment, which wins over the file. Reads the file and secrets' files.
[[nodiscard]] ConfigReading read_config(const ConfigSources& sources);
// The same; Errc::invalid with the errors as lines of its context if there is any.
[[nodiscard]] Result<Config> load_config(const ConfigSources& sources);
// Does it need servers that may come up after us?
[[nodiscard]] bool is_clustered(const Config& config);

// A listener's address: an IP address (IPv6 in brackets) or "localhost", and a port.
struct ListenAddress {
    std::string host; // without brackets; "localhost" becomes 127.0.0.1
    std::uint16_t port = 0;
};
[[nodiscard]] std::optional<ListenAddress> parse_listen(std::string_view text);
[[nodiscard]] bool is_loopback(const ListenAddress& address);

// `text` itself, or the content of the file that "file:PATH" names, without the line's end.
[[nodiscard]] Result<std::string> resolve_secret(std::string_view text);

} // namespace doorbuster
