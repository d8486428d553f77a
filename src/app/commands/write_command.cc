#include "app/commands/write_command.h"

#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <memory>
#include <ostream>
#include <spdlog/spdlog.h>
#include <string>

#include "app/assembly.h"
#include "app/kafka_log.h"
#include "app/logging.h"
#include "app/openapi.h"
#include "app/process.h"
#include "app/strategies.h"
#include "engine/order_writer.h"
#include "runtime/clock.h"

namespace doorbuster {
namespace {

constexpr Duration kStopMax{5'000}; // the batch at hand; what is left another writer takes over

// In the order in which they are built.
struct WriterParts {
    SystemClock clock;
    std::unique_ptr<sql::SqlOrderStore> store;
    std::unique_ptr<kafka::KafkaFeed> feed;
    std::unique_ptr<OrderWriter> writer;
};

Result<void> open(const Config& config, WriterParts& parts) {
    sql::OrderStoreOptions options;
    options.url = store_url_of(config);
    options.pool_size = 1; // the writer has a session of its own; this one asks for positions
    options.with_events = !config.webhooks.endpoints.empty();
    auto store = sql::SqlOrderStore::open(options);
    if (!store) return tl::make_unexpected(std::move(store.error()));
    parts.store = std::move(*store);
    if (auto adopted = parts.store->adopt(); !adopted) return adopted;
    auto feed = open_feed(config, *parts.store);
    if (!feed) return tl::make_unexpected(std::move(feed.error()));
    parts.feed = std::move(*feed);
    OrderWriter::Options writing;
    writing.batch_max = static_cast<std::size_t>(config.store.batch_max);
    writing.on_fatal = stop_at_once;
    parts.writer =
        std::make_unique<OrderWriter>(*parts.feed, *parts.store, parts.clock, std::move(writing));
    return {};
}

// `running_out`: where to say that it is at work, as JSON; null: nowhere but in the log.
int write(const Config& config, std::ostream* running_out) {
    const StopSignals signals; // before any thread is made, the logger's too
    set_up_logging(config.output);
    WriterParts parts;
    const auto opened = open_when_possible(signals, [&] { return open(config, parts); });
    if (!opened) {
        spdlog::critical("cannot start: {}", opened.error().message());
        return opened.error().is(Errc::invalid) ? kExitUsage : kExitFailed;
    }
    if (*opened == Opened::stopped_before) return kExitDone;
    parts.writer->start();
    spdlog::info("writing orders of log {} to the order store", parts.feed->id());
    if (running_out != nullptr) {
        boost::json::object running;
        running["log_id"] = parts.feed->id();
        running["topic"] = config.kafka.topic;
        running["group"] = config.kafka.group;
        running["version"] = version();
        *running_out << boost::json::serialize(running) << std::endl;
    }
    signals.wait();
    spdlog::info("stopping: finishing the batch at hand");
    begin_to_stop(signals);
    parts.writer->stop(kStopMax);
    parts.feed.reset(); // leaves the group: another writer takes over at once
    spdlog::info("stopped");
    finish_logging();
    return kExitDone;
}

} // namespace

void add_write_command(CLI::App& app, CommandContext& context) {
    struct Flags {
        std::string config_file;
        bool as_json = false;
    };
    auto flags = std::make_shared<Flags>();
    CLI::App* command = app.add_subcommand(
        "write", "Only the order writer: from the log in Kafka to the order store");
    command->footer("Example: doorbuster write --config shop.toml");
    command->add_option("--config", flags->config_file, "Settings (docs/settings.md)")
        ->type_name("FILE");
    command->add_flag("--json", flags->as_json,
                      "Once it is at work, print one JSON document: log_id, topic, group, version");
    command->callback([flags, &context] {
        ConfigSources sources;
        if (!flags->config_file.empty()) sources.file = flags->config_file;
        sources.environment = context.environment;
        sources.use = ConfigUse::reading; // it listens nowhere
        const auto config = load_config(sources);
        if (!config) return context.failed(config.error());
        if (config->log.backend != LogConfig::Backend::kafka) {
            return context.failed({make_error_code(Errc::invalid),
                                   "'doorbuster write' writes what log.backend = \"kafka\" holds; "
                                   "with any other `doorbuster serve` does it itself"});
        }
        if (strategy_of(config->purchase).stock_step != StockStep::holds) {
            return context.failed({make_error_code(Errc::invalid),
                                   "purchase.strategy queued has its order writer in `doorbuster "
                                   "serve`, which raises the counters in Redis"});
        }
        context.exit_code = write(*config, flags->as_json ? &context.out : nullptr);
    });
}

} // namespace doorbuster
