#include "app/offline_log.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "adapters/kafka/topic.h"
#include "adapters/kafka/transport.h"
#include "app/kafka_log.h"
#include "app/own_log.h"
#include "engine/transport_books.h"

namespace doorbuster {
namespace {

constexpr Duration kAskWait{5'000};
constexpr std::uint64_t kWindow = 10'000; // positions whose records are in memory at a time

class TopicLog final : public OfflineLog {
public:
    explicit TopicLog(std::unique_ptr<kafka::KafkaTransport> transport)
        : transport_(std::move(transport)), books_(*transport_) {}

    [[nodiscard]] const std::string& id() const override { return transport_->id(); }
    [[nodiscard]] LogWriters writers() const override { return books_.writers(); }
    [[nodiscard]] Result<std::vector<LogPosition>> ends() override { return books_.ends(); }
    [[nodiscard]] Result<void> for_each(LogPlace from, LogPosition to, const Take& take) override {
        while (from.position < to) {
            const LogPosition end = std::min(to, from.position.plus(kWindow));
            auto entries = books_.read(from, end);
            if (!entries) return tl::make_unexpected(std::move(entries.error()));
            for (AuditTail::Entry& entry : *entries) {
                if (auto taken = take(std::move(entry)); !taken) return taken;
            }
            from.position = end;
        }
        return {};
    }

private:
    std::unique_ptr<kafka::KafkaTransport> transport_;
    TransportBooks books_;
};

// A log that holds nothing to read. A topic whose records were all pruned, long after the last
// order: not even its mark is there, and opening it would write one. And where there is no log.
class EmptyLog final : public OfflineLog {
public:
    EmptyLog(std::string id, std::vector<LogPosition> ends, LogWriters writers)
        : id_(std::move(id)), ends_(std::move(ends)), writers_(writers) {}

    [[nodiscard]] const std::string& id() const override { return id_; }
    [[nodiscard]] LogWriters writers() const override { return writers_; }
    [[nodiscard]] Result<std::vector<LogPosition>> ends() override { return ends_; }
    [[nodiscard]] Result<void> for_each(LogPlace, LogPosition, const Take&) override { return {}; }

private:
    std::string id_;
    std::vector<LogPosition> ends_;
    LogWriters writers_;
};

Result<std::unique_ptr<OfflineLog>> open_topic_log(const Config& config,
                                                   const std::string& store_log_id) {
    kafka::OpenOptions options = kafka_options(config, store_log_id, "");
    options.notice = nullptr; // what fails is said once, by who called
    // What serves orders is checked by who serves them.
    options.topic_check = kafka::TopicCheck::left_out;
    const std::string topic = options.settings.topic;
    std::vector<kafka::Bounds> bounds;
    {
        auto client = kafka::Client::open(options.settings, kafka::Role::reader, options.notice);
        if (!client) return tl::make_unexpected(std::move(client.error()));
        const auto state = kafka::ask_topic(*client, topic, kAskWait);
        if (!state && state.error().is(Errc::not_found)) {
            return fail(Errc::foreign_log, "there is no topic " + topic +
                                               ", and the store takes its orders from log " +
                                               store_log_id + ". Name its topic (kafka.topic)");
        }
        if (!state) return tl::make_unexpected(state.error());
        auto asked = kafka::ask_bounds(
            *client, topic, static_cast<std::uint32_t>(state->partitions.size()), kAskWait);
        if (!asked) return tl::make_unexpected(std::move(asked.error()));
        bounds = std::move(*asked);
    }
    const bool holds_records = std::ranges::any_of(
        bounds, [](const kafka::Bounds& each) { return each.first < each.end; });
    if (holds_records) {
        auto transport = kafka::KafkaTransport::open(std::move(options));
        if (!transport) return tl::make_unexpected(std::move(transport.error()));
        return std::make_unique<TopicLog>(std::move(*transport));
    }
    std::vector<LogPosition> ends;
    ends.reserve(bounds.size());
    for (const kafka::Bounds& each : bounds) ends.push_back(each.end);
    if (std::ranges::all_of(ends, [](LogPosition end) { return end == LogPosition(1); })) {
        return fail(Errc::foreign_log, "topic " + topic +
                                           " has never held a record: the store takes its orders "
                                           "from log " +
                                           store_log_id + ". Name its topic (kafka.topic)");
    }
    return std::make_unique<EmptyLog>(store_log_id, std::move(ends), LogWriters::several);
}

} // namespace

Result<std::vector<AuditTail::Entry>> OfflineLog::read(LogPlace from, LogPosition to) {
    std::vector<AuditTail::Entry> entries;
    const auto keep = [&entries](AuditTail::Entry&& entry) -> Result<void> {
        entries.push_back(std::move(entry));
        return {};
    };
    auto read = for_each(from, to, keep);
    if (!read) return tl::make_unexpected(std::move(read.error()));
    return entries;
}

Result<std::vector<LogPosition>> SnapshotLog::ends() {
    return std::vector<LogPosition>{LogPosition(std::numeric_limits<std::uint64_t>::max())};
}

Result<void> SnapshotLog::for_each(LogPlace from, LogPosition to, const Take& take) {
    return snapshot_.read_groups(from.position, [&](LogBatch& group) -> Result<void> {
        LogPosition at = group.first;
        for (LogRecord& record : group.records) {
            if (at >= to) return {};
            if (auto taken = take({at, std::move(record)}); !taken) return taken;
            at = at.next();
        }
        return {};
    });
}

Result<std::unique_ptr<OfflineLog>> open_offline_log(const Config& config,
                                                     const std::string& store_log_id) {
    if (is_direct_log(store_log_id)) {
        return std::make_unique<EmptyLog>(store_log_id, std::vector<LogPosition>(1, LogPosition(1)),
                                          LogWriters::one);
    }
    const bool is_file = config.log.backend == LogConfig::Backend::sqlite;
    std::unique_ptr<OfflineLog> log;
    if (is_file) {
        auto snapshot = sqlite::LogSnapshot::open(config.server.data);
        if (!snapshot) return tl::make_unexpected(std::move(snapshot.error()));
        log = std::make_unique<SnapshotLog>(std::move(*snapshot));
    } else {
        auto opened = open_topic_log(config, store_log_id);
        if (!opened) return opened;
        log = std::move(*opened);
    }
    if (log->id() == store_log_id) return log;
    return fail(Errc::foreign_log,
                is_file ? "the log in " + config.server.data + " is not the store's"
                        : "topic " + config.kafka.topic + " is log " + log->id() +
                              ", and the store takes its orders from log " + store_log_id);
}

} // namespace doorbuster
