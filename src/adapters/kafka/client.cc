#include "adapters/kafka/client.h"

#include <algorithm>
#include <array>
#include <span>
#include <syslog.h>

#include "adapters/kafka/topic_check.h"

namespace doorbuster::kafka {
namespace {

struct Property {
    const char* name;
    const char* value;
};

// kDefaults may be overridden by a user's properties, kFixed may not (settings.cc).
constexpr std::array kDefaults = {
    Property{"client.id", "doorbuster"},
    Property{"socket.nagle.disable", "true"}, // requests are small and somebody waits for each
    Property{"socket.keepalive.enable", "true"},
    // A broker that does not answer for so long is taken for dead and connected to again. Within
    // it lies a broker's own 9 s until the cluster takes it for dead.
    Property{"socket.timeout.ms", "10000"}, Property{"socket.connection.setup.timeout.ms", "5000"},
    Property{"reconnect.backoff.ms", "50"},
    Property{"reconnect.backoff.max.ms", "1000"}, // purchases go on within a second of its return
    Property{"topic.metadata.refresh.interval.ms", "60000"}, // new partitions reach the writers
};
constexpr std::array kFixed = {
    Property{"allow.auto.create.topics", "false"},
};

constexpr std::array kProducerDefaults = {
    // Records that arrive while a batch is under way share the next one. Measured on one broker at
    // 1,000/s, produce to read-back: p50 0.3 ms with 0, 1.3 ms with 0.5 ms, 2.5 ms with 2 ms; all
    // of them carry 50,000/s.
    Property{"linger.ms", "0"},
    Property{"compression.type", "none"},
    // Long enough to ride out the failover of a broker (9 s until it is taken for dead, then an
    // election) with every order in its place; then on_failed, so that a hold's next produce is not
    // held up for librdkafka's five minutes.
    Property{"message.timeout.ms", "30000"},
    Property{"request.timeout.ms", "9000"}, // the leader's wait for its followers: < socket's
    Property{"retry.backoff.ms", "50"},
    // Two seconds of the highest rate this was measured at; past it produce() says false.
    Property{"queue.buffering.max.messages", "100000"},
    Property{"queue.buffering.max.kbytes", "65536"},
};
constexpr std::array kProducerFixed = {
    Property{"acks", "all"}, Property{"enable.idempotence", "true"},
    Property{"delivery.report.only.error", "true"}, // a yes is the read-back, not the report
};

constexpr std::array kConsumerDefaults = {
    Property{"fetch.min.bytes", "1"},
    Property{"fetch.error.backoff.ms", "50"}, // after a failover somebody waits for the read-back
    Property{"queued.max.messages.kbytes", "16384"},
};
constexpr std::array kConsumerFixed = {
    Property{"auto.offset.reset", "error"},          // what is missing is never skipped
    Property{"isolation.level", "read_uncommitted"}, // a stranger's transaction holds nobody up
    Property{"enable.auto.commit", "false"},
    Property{"enable.auto.offset.store", "false"},
};

constexpr std::array kTailDefaults = {
    // How long a broker holds a fetch that finds nothing. It answers as soon as something is there:
    // 5, 100 and 500 ms gave the same latency, and a longer wait is fewer requests.
    Property{"fetch.wait.max.ms", "100"},
};
constexpr std::array kReaderFixed = {
    Property{"enable.partition.eof", "true"}, // says where a stretch ends
};
constexpr std::array kFeedDefaults = {
    // Shorter than for the others: leaving the group may have to wait so long for a broker that is
    // away, and a process has 10 s to stop.
    Property{"socket.timeout.ms", "5000"},
    // A writer stores in batches: it need not wake a broker for every few records. Whoever pays an
    // order that was accepted a moment ago waits this much longer.
    Property{"fetch.min.bytes", "65536"},
    Property{"fetch.wait.max.ms", "20"},
    // The partitions of a writer that died go to another one after this. Shorter is not allowed by
    // a broker's defaults (group.min.session.timeout.ms = 6000), and a pause of a few seconds
    // should move nothing.
    Property{"session.timeout.ms", "10000"},
    Property{"heartbeat.interval.ms", "2000"},
    // A writer that does not ask for a batch for so long is stuck for a reason of its own: a batch
    // takes well under a second, and while the store is away another writer is no better off.
    Property{"max.poll.interval.ms", "60000"},
};
constexpr std::array kFeedFixed = {
    Property{"partition.assignment.strategy", "cooperative-sticky"}, // what stays is not stopped
};

Result<void> set(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
    std::array<char, 512> text{};
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text.data(), text.size()) ==
        RD_KAFKA_CONF_OK) {
        return {};
    }
    return fail(Errc::invalid, "kafka.properties: " + name + ": " + text.data());
}

Result<void> set_all(rd_kafka_conf_t* conf, std::span<const Property> properties) {
    for (const Property& property : properties) {
        auto done = set(conf, property.name, property.value);
        if (!done) return done;
    }
    return {};
}

struct RoleProperties {
    std::span<const Property> defaults;
    std::span<const Property> more_defaults;
    std::span<const Property> fixed;
    std::span<const Property> more_fixed;
};

RoleProperties properties_of(Role role) {
    switch (role) {
    case Role::producer: return {kProducerDefaults, {}, kProducerFixed, {}};
    case Role::tail: return {kConsumerDefaults, kTailDefaults, kConsumerFixed, {}};
    case Role::reader: return {kConsumerDefaults, kTailDefaults, kConsumerFixed, kReaderFixed};
    case Role::feed: return {kConsumerDefaults, kFeedDefaults, kConsumerFixed, kFeedFixed};
    }
    return {};
}

Result<void> configure(rd_kafka_conf_t* conf, const Settings& settings, Role role) {
    const RoleProperties ours = properties_of(role);
    for (const auto part :
         {std::span<const Property>(kDefaults), ours.defaults, ours.more_defaults}) {
        if (auto done = set_all(conf, part); !done) return done;
    }
    if (role == Role::producer) {
        if (auto done = set(conf, "batch.size", std::to_string(kBatchBytesMax)); !done) return done;
    }
    for (const auto& [name, value] : settings.properties) {
        if (auto done = set(conf, name, value); !done) return done;
    }
    for (const auto part : {std::span<const Property>(kFixed), ours.fixed, ours.more_fixed}) {
        if (auto done = set_all(conf, part); !done) return done;
    }
    if (role == Role::feed) {
        if (auto done = set(conf, "group.id", settings.group); !done) return done;
    }
    return set(conf, "bootstrap.servers", settings.brokers);
}

// A transport's three instances lose and find the same brokers: one of them tells it. Beyond that
// only what is the end of an instance.
int level_max_of(Role role) {
    switch (role) {
    case Role::producer:
    case Role::tail: return LOG_CRIT;
    case Role::reader:
    case Role::feed: return LOG_WARNING;
    }
    return LOG_WARNING;
}

} // namespace

void Client::Close::operator()(rd_kafka_t* handle) const noexcept {
    // Leaving the group is done before, with a bound; here it could wait for a dead broker.
    rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void Client::on_log(const rd_kafka_t* handle, int level, const char* facility, const char* text) {
    const auto* context = static_cast<const Context*>(rd_kafka_opaque(handle));
    if (context == nullptr || level > context->level_max || !context->notice) return;
    if (std::string_view(facility) == "CONFWARN") return; // a producer's property in a consumer
    context->notice(std::string("kafka: ") + facility + ": " + text);
}

void Client::on_rebalance(rd_kafka_t* handle, rd_kafka_resp_err_t code,
                          rd_kafka_topic_partition_list_t* partitions, void* opaque) {
    const FeedCallbacks& callbacks = static_cast<Context*>(opaque)->callbacks;
    callbacks.on_rebalance(handle, code, partitions, callbacks.self);
}

Result<Client> Client::open(const Settings& settings, Role role, const Notice& notice,
                            FeedCallbacks callbacks) {
    Client client;
    client.context_.reset(new Context{notice, level_max_of(role), callbacks});
    std::unique_ptr<rd_kafka_conf_t, Destroy<rd_kafka_conf_destroy>> conf(rd_kafka_conf_new());
    rd_kafka_conf_set_log_cb(conf.get(), &Client::on_log);
    rd_kafka_conf_set_opaque(conf.get(), client.context_.get());
    if (role == Role::producer) {
        rd_kafka_conf_set_events(conf.get(), RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    }
    if (callbacks.on_rebalance != nullptr) {
        rd_kafka_conf_set_rebalance_cb(conf.get(), &Client::on_rebalance);
    }
    if (auto done = configure(conf.get(), settings, role); !done) {
        return tl::make_unexpected(done.error());
    }
    const auto type = role == Role::producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
    std::array<char, 512> text{};
    client.handle_.reset(rd_kafka_new(type, conf.get(), text.data(), text.size()));
    if (client.handle_ == nullptr) {
        return fail(Errc::invalid, std::string("kafka.properties: ") + text.data());
    }
    static_cast<void>(conf.release()); // it is the handle's now
    return client;
}

void Client::abandon() {
    constexpr int kNothing = -1; // below LOG_EMERG
    context_->level_max = kNothing;
    static_cast<void>(handle_.release());
    static_cast<void>(context_.release());
}

TopicHandle Client::topic(const std::string& name) const {
    return TopicHandle(rd_kafka_topic_new(handle_.get(), name.c_str(), nullptr));
}

Errc errc_of(rd_kafka_resp_err_t code) {
    switch (code) { // librdkafka's enum, with some two hundred values: a default it is
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT: return Errc::timeout;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART: return Errc::not_found;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR__INVALID_ARG: return Errc::invalid;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE: return Errc::foreign_log;
    default: return Errc::unavailable;
    }
}

Error to_error(rd_kafka_resp_err_t code, std::string doing) {
    return {make_error_code(errc_of(code)), std::move(doing) + ": " + rd_kafka_err2str(code)};
}

int to_ms(Duration wait) {
    constexpr Duration kMax{24 * 60 * 60 * 1'000};
    return static_cast<int>(std::clamp(wait, Duration(0), kMax).count());
}

} // namespace doorbuster::kafka
