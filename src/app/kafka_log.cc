#include "app/kafka_log.h"

#include <fmt/format.h>
#include <map>
#include <spdlog/spdlog.h>
#include <utility>

#include "app/random.h"

namespace doorbuster {
namespace {

// Of one attempt to open; who starts before the brokers tries again.
constexpr Duration kOpenWait{5'000};
constexpr std::size_t kSalesAPage = 1'000;

} // namespace

kafka::OpenOptions kafka_options(const Config& config, std::string store_log_id,
                                 std::string new_log_id) {
    kafka::OpenOptions options;
    options.settings.brokers = fmt::format("{}", fmt::join(config.kafka.brokers, ","));
    options.settings.topic = config.kafka.topic;
    options.settings.group = config.kafka.group;
    options.settings.partitions = static_cast<std::uint32_t>(config.kafka.partitions);
    options.settings.replication_factor =
        static_cast<std::uint32_t>(config.kafka.replication_factor);
    options.settings.properties = config.kafka.properties;
    options.new_log_id = std::move(new_log_id);
    options.store_log_id = std::move(store_log_id);
    options.wait_max = kOpenWait;
    options.notice = [](const std::string& text) { spdlog::warn("order log: {}", text); };
    return options;
}

Result<void> bind_shared_log(sql::SqlOrderStore& store, const std::string& log_id) {
    auto binding = store.log_binding();
    if (binding && binding->log_id.empty()) {
        auto bound = store.bind_log(log_id);
        if (bound || !bound.error().is(Errc::conflict)) return bound;
        binding = store.log_binding(); // another process was faster, with the same log or not
    }
    if (!binding) return tl::make_unexpected(std::move(binding.error()));
    if (binding->log_id == log_id) return {};
    return fail(Errc::foreign_log,
                "the log is not the store's: the store takes its orders from log " +
                    binding->log_id + ", this topic is log " + log_id +
                    ". Name the store's own topic (kafka.topic), or another store (store.url)");
}

Result<KafkaLog> KafkaLog::open(const Config& config, sql::SqlOrderStore& store, Cores& cores,
                                const Clock& clock, ReadBackLog::Options options) {
    const auto binding = store.log_binding();
    if (!binding) return tl::make_unexpected(binding.error());
    auto transport =
        kafka::KafkaTransport::open(kafka_options(config, binding->log_id, random_hex(2)));
    if (!transport) return tl::make_unexpected(std::move(transport.error()));
    KafkaLog opened;
    opened.transport = std::move(*transport);
    if (auto bound = bind_shared_log(store, opened.transport->id()); !bound) {
        return tl::make_unexpected(std::move(bound.error()));
    }
    options.lag_max = static_cast<std::uint64_t>(config.purchase.log_lag_max);
    opened.log = std::make_unique<ReadBackLog>(*opened.transport, cores, clock, std::move(options));
    opened.books = std::make_unique<TransportBooks>(*opened.transport);
    opened.watch = std::make_unique<StoreWatch>(store, *opened.log);
    return opened;
}

// The positions first: a barrier that is applied between the two reads lies behind them, and makes
// void only what it makes void anyway.
Result<void> KafkaLog::start(sql::SqlOrderStore& store) {
    const auto binding = store.log_binding();
    if (!binding) return tl::make_unexpected(binding.error());
    std::map<SaleNo, Epoch> open;
    for (std::string after;;) {
        const auto sales = store.list_sales(after, kSalesAPage);
        if (!sales) return tl::make_unexpected(sales.error());
        for (const StoredSale& sale : *sales) open[sale.terms.no] = sale.barrier;
        if (sales->size() < kSalesAPage) break;
        after = sales->back().terms.id;
    }
    if (auto started = log->start(binding->next, std::move(open)); !started) return started;
    watch->start();
    return {};
}

void KafkaLog::stop(Duration wait_max) {
    watch->stop();
    log->stop(wait_max);
}

Result<std::unique_ptr<kafka::KafkaFeed>> open_feed(const Config& config,
                                                    sql::SqlOrderStore& store) {
    const auto binding = store.log_binding();
    if (!binding) return tl::make_unexpected(binding.error());
    const PositionOf position_of = [&store](LogPartition partition) -> Result<LogPosition> {
        const auto now = store.log_binding();
        if (!now) return tl::make_unexpected(now.error());
        return now->next.at(partition);
    };
    auto feed =
        kafka::KafkaFeed::open(kafka_options(config, binding->log_id, random_hex(2)), position_of);
    if (!feed) return tl::make_unexpected(std::move(feed.error()));
    if (auto bound = bind_shared_log(store, (*feed)->id()); !bound) {
        return tl::make_unexpected(std::move(bound.error()));
    }
    return feed;
}

} // namespace doorbuster
