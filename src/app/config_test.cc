#include "app/config.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <unistd.h>

#include "app/config_keys.h"
#include "app/config_print.h"

namespace doorbuster {
namespace {

// A file in a scratch folder, gone at the end of the test.
class ScratchFile {
public:
    explicit ScratchFile(std::string_view text) {
        std::string name = (std::filesystem::temp_directory_path() / "doorbuster-XXXXXX").string();
        const int descriptor = mkstemp(name.data());
        if (descriptor >= 0) close(descriptor);
        path_ = name;
        std::ofstream(path_, std::ios::binary) << text;
    }
    ~ScratchFile() { std::filesystem::remove(path_); }
    ScratchFile(const ScratchFile&) = delete;
    ScratchFile& operator=(const ScratchFile&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

ConfigReading read_text(std::string_view text, Environment environment = {},
                        std::vector<ConfigOverride> overrides = {}) {
    const ScratchFile file(text);
    ConfigReading reading = read_config({.file = file.path(),
                                         .environment = std::move(environment),
                                         .overrides = std::move(overrides)});
    // So that messages can be compared.
    const std::string name = file.path().string();
    const auto rename = [&](std::string& line) {
        for (std::size_t at = line.find(name); at != std::string::npos; at = line.find(name)) {
            line.replace(at, name.size(), "shop.toml");
        }
    };
    std::ranges::for_each(reading.errors, rename);
    std::ranges::for_each(reading.origins, rename);
    return reading;
}

std::string errors_of(std::string_view text, Environment environment = {},
                      std::vector<ConfigOverride> overrides = {}) {
    return fmt::format(
        "{}",
        fmt::join(read_text(text, std::move(environment), std::move(overrides)).errors, "\n"));
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

TEST(Config, NeedsNoFileForTheEmbeddedShape) {
    const auto config = load_config({});
    ASSERT_TRUE(config.has_value());
    EXPECT_EQ(config->server.listen, "127.0.0.1:8080");
    EXPECT_EQ(config->server.data, "./data");
    EXPECT_EQ(config->store.url, "sqlite:orders.db");
    EXPECT_EQ(config->limits.status, 429);
    EXPECT_EQ(config->purchase.strategy, PurchaseConfig::Strategy::reserve);
}

TEST(Config, EveryDefaultKeepsItsOwnRules) {
    for (const ConfigKey& key : config_keys()) {
        EXPECT_FALSE(broken_part(key, key.get(Config{})).has_value()) << full_name(key);
        EXPECT_FALSE(key.help.empty()) << full_name(key);
        EXPECT_EQ(find_config_key(full_name(key)), &key);
        EXPECT_EQ(find_config_variable(environment_name(key)), &key);
    }
}

TEST(Config, ReadsEveryTypeFromAFile) {
    const auto reading = read_text(R"(
[server]
threads = 3
trusted_proxies = ["10.0.0.0/8", "::1"]
idle_timeout_s = 7.5
[purchase]
strategy = "queued"
[redis]
url = "redis://r"
[limits]
per_second = 100
[kafka.properties]
linger.ms = 5
"ssl.ca.location" = "ca.pem"
[webhooks]
allow_private = true
[[webhooks.endpoints]]
url = "https://shop.example/hook"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
events = ["order.paid"]
)");
    ASSERT_TRUE(reading.errors.empty()) << reading.errors.front();
    const Config& config = reading.config;
    EXPECT_EQ(config.server.threads, 3);
    EXPECT_EQ(config.server.trusted_proxies, (std::vector<std::string>{"10.0.0.0/8", "::1"}));
    EXPECT_EQ(config.server.idle_timeout_s, 7.5);
    EXPECT_EQ(config.purchase.strategy, PurchaseConfig::Strategy::queued);
    EXPECT_EQ(config.limits.per_second, 100);
    EXPECT_EQ(config.kafka.properties.at("linger.ms"), "5");
    EXPECT_EQ(config.kafka.properties.at("ssl.ca.location"), "ca.pem");
    ASSERT_EQ(config.webhooks.endpoints.size(), 1U);
    EXPECT_EQ(config.webhooks.endpoints[0].events, std::vector<std::string>{"order.paid"});
    EXPECT_TRUE(config.webhooks.allow_private);
}

TEST(Config, ReadsEveryTypeFromTheEnvironment) {
    const auto reading = read_text("", {{"DOORBUSTER_SERVER_THREADS", "3"},
                                        {"DOORBUSTER_SERVER_IDLE_TIMEOUT_S", "7.5"},
                                        {"DOORBUSTER_SERVER_TRUSTED_PROXIES", "10.0.0.1, ::1"},
                                        {"DOORBUSTER_REDIS_NODES", R"(["a:1", "b:2"])"},
                                        {"DOORBUSTER_KAFKA_PROPERTIES", R"({linger.ms = 5})"},
                                        {"DOORBUSTER_IDENTITY_MODE", "jwt"},
                                        {"DOORBUSTER_WEBHOOKS_ALLOW_PRIVATE", "true"},
                                        {"DOORBUSTER_IDENTITY_JWT_KEYS", R"({"kty":"x","k":"y"})"},
                                        {"DOORBUSTER_OUTPUT_LOG_LEVEL", ""}});
    ASSERT_TRUE(reading.errors.empty()) << reading.errors.front();
    const Config& config = reading.config;
    EXPECT_EQ(config.server.threads, 3);
    EXPECT_EQ(config.server.idle_timeout_s, 7.5);
    EXPECT_EQ(config.server.trusted_proxies, (std::vector<std::string>{"10.0.0.1", "::1"}));
    EXPECT_EQ(config.redis.nodes, (std::vector<std::string>{"a:1", "b:2"}));
    EXPECT_EQ(config.kafka.properties.at("linger.ms"), "5");
    EXPECT_EQ(config.identity.jwt_keys, std::vector<std::string>{R"({"kty":"x","k":"y"})"});
    EXPECT_TRUE(config.webhooks.allow_private);
    EXPECT_EQ(config.output.log_level, OutputConfig::LogLevel::info); // empty is not set
}

TEST(Config, FlagsWinOverTheEnvironmentWhichWinsOverTheFile) {
    const std::string_view file = "[server]\nlisten = \"127.0.0.1:1\"\nthreads = 1\ndata = \"a\"\n";
    const auto reading = read_text(
        file, {{"DOORBUSTER_SERVER_LISTEN", "127.0.0.1:2"}, {"DOORBUSTER_SERVER_THREADS", "2"}},
        {{"server.listen", "127.0.0.1:3", "--listen"}});
    ASSERT_TRUE(reading.errors.empty());
    EXPECT_EQ(reading.config.server.listen, "127.0.0.1:3");
    EXPECT_EQ(reading.config.server.threads, 2);
    EXPECT_EQ(reading.config.server.data, "a");
    EXPECT_EQ(reading.origins[0], "--listen");
    EXPECT_EQ(reading.origins[1], "DOORBUSTER_SERVER_THREADS");
    EXPECT_EQ(reading.origins[2], "shop.toml:4");
}

TEST(Config, NamesTheNearestKeyOfAnUnknownOne) {
    EXPECT_EQ(errors_of("[server]\nlistne = \"127.0.0.1:1\"\n"),
              "unknown setting server.listne (shop.toml:2); the nearest known one is "
              "server.listen");
    EXPECT_EQ(errors_of("[redis]\nlisten = 1\n"),
              "unknown setting redis.listen (shop.toml:2); the nearest known one is server.listen");
    EXPECT_EQ(errors_of("[servr]\nthreads = 1\n"),
              "unknown section [servr] (shop.toml:1); the nearest known one is [server]");
    EXPECT_EQ(errors_of("listen = \"127.0.0.1:1\"\n"),
              "unknown setting listen (shop.toml:1); the nearest known one is server.listen");
    EXPECT_EQ(errors_of("", {{"DOORBUSTER_SERVER_LISTN", "x"}}),
              "unknown environment variable DOORBUSTER_SERVER_LISTN; the nearest known one is "
              "DOORBUSTER_SERVER_LISTEN");
    EXPECT_TRUE(contains(errors_of("", {}, {{"server.lisen", "x", ""}}), "server.listen"));
}

TEST(Config, LeavesVariablesAloneThatAreNotSettings) {
    EXPECT_EQ(errors_of("", {{"DOORBUSTER_URL", "http://127.0.0.1:1"},
                             {"DOORBUSTER_BIN", "x"},
                             {"DOORBUSTER_FAULT_SYNC", "1"},
                             {"DOORBUSTER_SERVICE_HOST", "10.0.0.1"},
                             {"DOORBUSTER_SERVICE_PORT_HTTP", "80"},
                             {"DOORBUSTER_PORT", "tcp://10.0.0.1:80"},
                             {"DOORBUSTER_REDIS_PORT_6379_TCP_ADDR", "10.0.0.2"},
                             {"PATH", "x"}}),
              "");
    EXPECT_NE(errors_of("", {{"DOORBUSTER_PORT", "8080"}}), "");
}

TEST(Config, SaysWhatWasGivenWhatIsAllowedAndWhere) {
    EXPECT_EQ(errors_of("[server]\nthreads = \"many\"\n"),
              "server.threads: \"many\" is not a whole number from 0 to 1024 (shop.toml:2)");
    EXPECT_EQ(errors_of("[server]\n\nin_flight_max = 0\n"),
              "server.in_flight_max: 0 is not a whole number from 1 to 1000000 (shop.toml:3)");
    EXPECT_EQ(errors_of("", {{"DOORBUSTER_LIMITS_STATUS", "200"}}),
              "limits.status: 200 is not a whole number from 400 to 599 "
              "(DOORBUSTER_LIMITS_STATUS)");
    EXPECT_EQ(errors_of("", {{"DOORBUSTER_SERVER_THREADS", "3x"}}),
              "server.threads: \"3x\" is not a whole number from 0 to 1024 "
              "(DOORBUSTER_SERVER_THREADS)");
    EXPECT_EQ(errors_of("[limits]\nbackend = \"disk\"\n"),
              "limits.backend: \"disk\" is not one of memory, redis (shop.toml:2)");
    EXPECT_EQ(errors_of("", {}, {{"server.listen", "here", "--listen"}}),
              "server.listen: \"here\" is not HOST:PORT, the host an IP address ([::1] for IPv6) "
              "or localhost (--listen)");
    EXPECT_EQ(errors_of("[server]\ntrusted_proxies = [\"10.0.0.0/33\"]\n"),
              "server.trusted_proxies: \"10.0.0.0/33\" is not an IP address or a network such "
              "as 10.0.0.0/8 (shop.toml:2)");
}

TEST(Config, RefusesWrongTypes) {
    for (const std::string_view text :
         {"[server]\nthreads = 1.5\n", "[server]\nlisten = 8080\n", "[server]\ndata = \"\"\n",
          "[server]\ntrusted_proxies = 10\n", "[server]\nidle_timeout_s = nan\n",
          "[limits]\nper_second = inf\n", "[limits]\nper_second = -1\n",
          "[kafka]\nproperties = 1\n", "[webhooks]\nendpoints = [{link = \"x\"}]\n",
          "[webhooks]\nendpoints = [{url = \"ftp://x\"}]\n", "server = 1\n",
          "[store]\nurl = \"oracle://x\"\n", "[identity]\njwt_keys = [1]\n"}) {
        EXPECT_FALSE(read_text(text).errors.empty()) << text;
    }
}

TEST(Config, TakesATextForAListOfOneOrMore) {
    const auto reading = read_text(R"(
[server]
trusted_proxies = "10.0.0.1"
[redis]
nodes = "a:1, b:2"
[kafka]
brokers = "[::1]:9092"
[identity]
jwt_keys = '{"kty":"oct","k":"a,b"}'
[[webhooks.endpoints]]
url = "https://a/"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
events = "order.paid, order.expired"
)");
    ASSERT_TRUE(reading.errors.empty()) << reading.errors.front();
    const Config& config = reading.config;
    EXPECT_EQ(config.server.trusted_proxies, std::vector<std::string>{"10.0.0.1"});
    EXPECT_EQ(config.redis.nodes, (std::vector<std::string>{"a:1", "b:2"}));
    EXPECT_EQ(config.kafka.brokers, std::vector<std::string>{"[::1]:9092"});
    EXPECT_EQ(config.identity.jwt_keys, std::vector<std::string>{R"({"kty":"oct","k":"a,b"})"});
    EXPECT_EQ(config.webhooks.endpoints.at(0).events,
              (std::vector<std::string>{"order.paid", "order.expired"}));
    EXPECT_EQ(errors_of("[kafka]\nbrokers = \"a:1,b\"\n"),
              "kafka.brokers: \"b\" is not HOST:PORT (shop.toml:2)");
    EXPECT_EQ(errors_of("[redis]\nnodes = 1\n"),
              "redis.nodes: 1 is not a list, each item HOST:PORT (shop.toml:2)");
    EXPECT_EQ(errors_of("[identity]\njwt_audience = [\"shop\"]\n"),
              "identity.jwt_audience: [ 'shop' ] is not a text (shop.toml:2)");
}

TEST(Config, ReportsSeveralErrorsTogether) {
    const ScratchFile file("[server]\nthreads = -1\nlistne = 1\n[limits]\nstatus = 1\n");
    const auto config =
        load_config({.file = file.path(), .environment = {{"DOORBUSTER_NOTHING_LIKE_IT", "1"}}});
    ASSERT_FALSE(config.has_value());
    EXPECT_TRUE(config.error().is(Errc::invalid));
    EXPECT_EQ(std::ranges::count(config.error().context, '\n'), 3);
}

TEST(Config, NamesTheLineOfBrokenToml) {
    EXPECT_TRUE(contains(errors_of("[server]\nthreads = = 3\n"), "shop.toml:2: "));
    EXPECT_TRUE(contains(errors_of("[server]\nthreads = 1\nthreads = 2\n"), "shop.toml:3: "));
    EXPECT_TRUE(contains(load_config({.file = "no/such/shop.toml"}).error().context,
                         "cannot read no/such/shop.toml: No such file"));
}

TEST(Config, ReadsTheAdminTokenFromItsFile) {
    const ScratchFile secret("t0ken\n");
    const auto reading =
        read_text("", {{"DOORBUSTER_ADMIN_TOKEN", "file:" + secret.path().string()}});
    ASSERT_TRUE(reading.errors.empty());
    EXPECT_EQ(reading.config.admin.token, "t0ken");
    EXPECT_TRUE(contains(errors_of("[admin]\ntoken = \"file:no/such\"\n"), "cannot read no/such"));
    const ScratchFile empty("\n");
    EXPECT_TRUE(
        contains(errors_of(fmt::format("[admin]\ntoken = \"file:{}\"\n", empty.path().string())),
                 "is empty"));
}

TEST(Config, NeverRepeatsASecretInAMessage) {
    EXPECT_EQ(errors_of("[admin]\ntoken = \"hush hush\"\n"),
              "admin.token: the given value is not printable ASCII without spaces (or file:PATH) "
              "(shop.toml:2)");
    EXPECT_TRUE(contains(errors_of("[admin]\ntoken = \"********\"\n"), "config show"));
}

TEST(Config, RefusesAPublicListenerWithoutAnAdminToken) {
    EXPECT_TRUE(contains(errors_of("[server]\nlisten = \"0.0.0.0:80\"\n"), "no admin token"));
    EXPECT_TRUE(contains(errors_of("[server]\nlisten = \"[::]:80\"\n"), "no admin token"));
    EXPECT_EQ(errors_of("[server]\nlisten = \"0.0.0.0:80\"\n", {{"DOORBUSTER_ADMIN_TOKEN", "t"}}),
              "");
    EXPECT_EQ(errors_of("[server]\nlisten = \"[::1]:80\"\n"), "");
    const ScratchFile file("[server]\nlisten = \"0.0.0.0:80\"\n");
    EXPECT_TRUE(load_config({.file = file.path(), .use = ConfigUse::reading}).has_value());
}

TEST(Config, ChecksSettingsThatBelongTogether) {
    EXPECT_TRUE(contains(errors_of("[server]\ntls_cert = \"c.pem\"\n"), "TLS needs both"));
    EXPECT_TRUE(contains(errors_of("[server]\ntls_key = \"no/k\"\ntls_cert = \"no/c\"\n"),
                         "server.tls_cert: cannot read no/c"));
    EXPECT_TRUE(contains(errors_of("[identity]\nmode = \"jwt\"\n"), "jwt_keys is empty"));
    EXPECT_TRUE(contains(errors_of("[inventory]\nbackend = \"redis\"\n"), "redis.url"));
    EXPECT_TRUE(contains(errors_of("[log]\nbackend = \"kafka\"\n"), "kafka.brokers is empty"));
    EXPECT_TRUE(contains(errors_of("[writer]\nenabled = false\n"), "writer.enabled is false"));
    EXPECT_TRUE(
        contains(errors_of("[redis]\nurl = \"redis://127.0.0.1\"\nnodes = [\"127.0.0.1:1\"]\n"),
                 "both set"));
}

TEST(Config, ChecksEveryWebhookEndpoint) {
    const auto of = [](std::string_view endpoints) {
        return errors_of(fmt::format("[webhooks]\nendpoints = [{}]\n", endpoints));
    };
    constexpr std::string_view kSecret = "secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"";
    const std::string good = fmt::format("{{url = \"https://a.example/\", {}}}", kSecret);
    EXPECT_EQ(of(good), "");
    EXPECT_EQ(of(fmt::format("{{url = \"ftp://u:hush@a/\", {}}}", kSecret)),
              "webhooks.endpoints[0].url: begins with neither http:// nor https:// (shop.toml:2)");
    EXPECT_EQ(of(fmt::format("{{url = \"https://u:hush@a/\", {}}}", kSecret)),
              "webhooks.endpoints[0].url: has a user or a password; receivers check the signature "
              "(shop.toml:2)");
    EXPECT_EQ(of(fmt::format("{{{}}}", kSecret)),
              "webhooks.endpoints[0].url: is missing (shop.toml:2)");
    EXPECT_EQ(of("{url = \"https://a/\", secret = \"hush\"}"),
              "webhooks.endpoints[0].secret: a secret is whsec_ and the base64 of 24 to 64 bytes; "
              "make one with: echo \"whsec_$(openssl rand -base64 32)\" (shop.toml:2)");
    EXPECT_TRUE(contains(of("{url = \"https://a/\"}"), "secret: is missing"));
    EXPECT_TRUE(contains(of("{url = \"https://a/\", secret = \"********\"}"), "config show"));
    EXPECT_TRUE(contains(of("{url = \"https://a/\", secret = \"file:no/s\"}"),
                         "webhooks.endpoints[0].secret: cannot read no/s"));
    EXPECT_EQ(of(fmt::format("{0}, {0}", good)),
              "webhooks.endpoints[1].url: is that of webhooks.endpoints[0]; an endpoint is known "
              "by its URL (shop.toml:2)");
    EXPECT_EQ(of(fmt::format("{{url = \"https://a/\", events = [\"order.lost\"], {}}}", kSecret)),
              "webhooks.endpoints[0].events: \"order.lost\" is not one of order.confirmed, "
              "order.refused, order.paid, order.cancelled, order.expired (shop.toml:2)");
    std::string many;
    for (int i = 0; i < 17; ++i) many += good + ", ";
    EXPECT_EQ(of(many), "webhooks.endpoints: 17 endpoints, at most 16 (shop.toml:2)");
    EXPECT_EQ(errors_of("[webhooks]\nallow_private = 1\n"),
              "webhooks.allow_private: 1 is not true or false (shop.toml:2)");
    EXPECT_TRUE(contains(errors_of("", {{"DOORBUSTER_WEBHOOKS_ALLOW_PRIVATE", "yes"}}),
                         "\"yes\" is not true or false"));
}

TEST(Config, ReadsAWebhooksSecretFromItsFile) {
    const ScratchFile secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    const auto reading =
        read_text("", {{"DOORBUSTER_WEBHOOKS_ENDPOINTS",
                        fmt::format("[{{url = \"https://a/\", secret = \"file:{}\"}}]",
                                    secret.path().string())}});
    ASSERT_TRUE(reading.errors.empty()) << reading.errors.front();
    EXPECT_EQ(reading.config.webhooks.endpoints[0].secret,
              "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
}

TEST(Config, AStrategyThatWritesStraightToTheStoreNeedsNoLogAndTwentyConnections) {
    for (const char* name : {"naive", "optimistic", "limited"}) {
        const auto reading = read_text(fmt::format("[purchase]\nstrategy = \"{}\"\n", name));
        EXPECT_TRUE(reading.errors.empty()) << name;
        EXPECT_EQ(reading.config.log.backend, LogConfig::Backend::direct);
        EXPECT_EQ(reading.config.store.pool_size, 20);
    }
    const auto chosen = read_text("[purchase]\nstrategy = \"naive\"\n[store]\npool_size = 7\n"
                                  "[log]\nbackend = \"direct\"\n");
    EXPECT_TRUE(chosen.errors.empty());
    EXPECT_EQ(chosen.config.store.pool_size, 7);
    const auto written_out =
        read_text("[purchase]\nstrategy = \"naive\"\n[log]\nbackend = \"sqlite\"\n");
    EXPECT_TRUE(written_out.errors.empty());
    EXPECT_EQ(written_out.config.log.backend, LogConfig::Backend::direct);
    const auto ours = read_text("");
    EXPECT_EQ(ours.config.log.backend, LogConfig::Backend::sqlite);
    EXPECT_EQ(ours.config.store.pool_size, 4);
}

TEST(Config, AStrategyThatLooksInRedisCountsNothingInMemory) {
    for (const char* name : {"cached", "queued"}) {
        const auto reading = read_text(
            fmt::format("[purchase]\nstrategy = \"{}\"\n[redis]\nurl = \"redis://r\"\n", name));
        EXPECT_TRUE(reading.errors.empty()) << name;
        EXPECT_EQ(reading.config.inventory.backend, InventoryConfig::Backend::redis);
    }
}

TEST(Config, SaysWhichPartsDoNotGoWithAStrategy) {
    EXPECT_EQ(errors_of("[purchase]\nstrategy = \"naive\"\n[log]\nbackend = \"kafka\"\n[kafka]\n"
                        "brokers = [\"k:1\"]\n"),
              "purchase.strategy is naive (shop.toml:2), which writes straight to the store, and "
              "log.backend is kafka (shop.toml:4): leave log.backend out, or set it to direct");
    EXPECT_EQ(errors_of("[log]\nbackend = \"direct\"\n"),
              "log.backend is direct (shop.toml:2) and purchase.strategy is reserve (default), "
              "which needs an order log: set log.backend to sqlite or kafka");
    EXPECT_EQ(errors_of("[purchase]\nstrategy = \"cached\"\n"),
              "purchase.strategy is cached (shop.toml:2), which looks at the stock in Redis, and "
              "neither redis.url nor redis.nodes is set");
    EXPECT_EQ(errors_of("[purchase]\nstrategy = \"cached\"\n[redis]\nurl = \"redis://r\"\n"
                        "[inventory]\nbackend = \"memory\"\n"),
              "purchase.strategy is cached (shop.toml:2), which looks at the stock in Redis, and "
              "inventory.backend is memory (shop.toml:6): leave it out, or set it to redis");
    EXPECT_TRUE(contains(errors_of("[purchase]\nstrategy = \"queued\"\n[redis]\nurl = "
                                   "\"redis://r\"\n[log]\nbackend = \"kafka\"\n[kafka]\nbrokers = "
                                   "[\"k:1\"]\n[writer]\nenabled = false\n"),
                         "whose order writer raises the counters in Redis"));
}

TEST(Config, ShowsWhatReadsBackToTheSame) {
    const auto reading = read_text(R"(
[server]
trusted_proxies = ["10.0.0.0/8"]
idle_timeout_s = 7.5
[identity]
jwt_keys = ["file:a\\b \"c\".pem"]
[kafka.properties]
linger.ms = 5
[webhooks]
allow_private = true
keep_s = 3600
)");
    ASSERT_TRUE(reading.errors.empty());
    const auto again = read_text(config_as_toml(reading));
    ASSERT_TRUE(again.errors.empty()) << again.errors.front();
    for (const ConfigKey& key : config_keys()) {
        EXPECT_TRUE(key.get(reading.config) == key.get(again.config)) << full_name(key);
    }
    EXPECT_TRUE(contains(config_as_toml(reading), "idle_timeout_s = 7.5"));
    EXPECT_TRUE(contains(config_as_toml(reading), "# shop.toml:4"));
    EXPECT_TRUE(contains(config_as_toml(reading), "listen = \"127.0.0.1:8080\""));
}

TEST(Config, MasksEverySecretItShows) {
    const auto reading = read_text(R"(
[admin]
token = "hush"
[store]
url = "postgresql://shop:hush@db/orders"
[redis]
url = "redis://:hush@cache"
[identity]
jwt_keys = ["hs256:hush", "file:keys.pem"]
[kafka.properties]
sasl.password = "hush"
linger.ms = 5
[webhooks]
endpoints = [{url = "https://shop.example/", secret = "whsec_hushhushhushhushhushhushhushhush"}]
)");
    ASSERT_TRUE(reading.errors.empty()) << reading.errors.front();
    for (const std::string& text : {config_as_toml(reading), config_as_json(reading)}) {
        EXPECT_FALSE(contains(text, "hush")) << text;
        EXPECT_TRUE(contains(text, "postgresql://shop:********@db/orders"));
        EXPECT_TRUE(contains(text, "file:keys.pem"));
    }
    const auto json = boost::json::parse(config_as_json(reading));
    EXPECT_EQ(json.at("admin").at("token").at("value").as_string(), "********");
    EXPECT_EQ(json.at("admin").at("token").at("source").as_string(), "shop.toml:3");
    EXPECT_EQ(json.at("server").at("idle_timeout_s").at("value").as_int64(), 75);
}

TEST(Config, ReadsListenersAddresses) {
    EXPECT_EQ(parse_listen("127.0.0.1:0")->port, 0);
    EXPECT_EQ(parse_listen("localhost:80")->host, "127.0.0.1");
    EXPECT_EQ(parse_listen("[::1]:80")->host, "::1");
    for (const std::string_view wrong :
         {"", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
          "::1:80", "[127.0.0.1]:80", "shop.example:80", "127.0.0.1:80 "}) {
        EXPECT_FALSE(parse_listen(wrong).has_value()) << wrong;
    }
    EXPECT_TRUE(is_loopback(*parse_listen("127.8.8.8:1")));
    EXPECT_TRUE(is_loopback(*parse_listen("[::ffff:127.0.0.1]:1")));
    EXPECT_FALSE(is_loopback(*parse_listen("[::ffff:10.0.0.1]:1")));
    EXPECT_FALSE(is_loopback(*parse_listen("10.0.0.1:1")));
}

TEST(Config, MeasuresTheDistanceBetweenNames) {
    EXPECT_EQ(edit_distance("", "abc"), 3U);
    EXPECT_EQ(edit_distance("listen", "listen"), 0U);
    EXPECT_EQ(edit_distance("lisetn", "listen"), 1U);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(Config, EveryKeyIsDocumentedWithItsVariableAndDefault) {
    const auto here = std::filesystem::path(__FILE__).parent_path();
    std::ifstream in(here / ".." / ".." / "docs" / "settings.md");
    ASSERT_TRUE(in.is_open());
    std::ostringstream content;
    content << in.rdbuf();
    const std::string text = std::move(content).str();
    std::istringstream lines(config_as_toml(read_config({})));
    std::vector<std::string> defaults;
    for (std::string line; std::getline(lines, line);) {
        const std::size_t equals = line.find(" = ");
        if (equals == std::string::npos) continue;
        line = line.substr(equals + 3, line.rfind('#') - equals - 3);
        defaults.push_back(line.substr(0, line.find_last_not_of(' ') + 1));
    }
    ASSERT_EQ(defaults.size(), config_keys().size());
    for (std::size_t i = 0; i < defaults.size(); ++i) {
        const ConfigKey& key = config_keys()[i];
        const std::string start = fmt::format("| `{}` | `{}` | `{}` |", full_name(key),
                                              environment_name(key), defaults[i]);
        EXPECT_TRUE(contains(text, start)) << start;
    }
}

} // namespace
} // namespace doorbuster
