#include "adapters/kafka/topic.h"

#include <algorithm>
#include <array>
#include <map>
#include <thread>

#include "adapters/kafka/deadline.h"
#include "adapters/kafka/topic_check.h"

namespace doorbuster::kafka {
namespace {

// Between two looks at a topic that is being made, or a partition whose leader is being elected.
constexpr Duration kLookAgain{50};
// One question; a broker that is there answers in milliseconds.
constexpr Duration kAskMax{5'000};

using NewTopic = std::unique_ptr<rd_kafka_NewTopic_t, Destroy<rd_kafka_NewTopic_destroy>>;
using DoomedGroup = std::unique_ptr<rd_kafka_DeleteGroup_t, Destroy<rd_kafka_DeleteGroup_destroy>>;
using DoomedTopic = std::unique_ptr<rd_kafka_DeleteTopic_t, Destroy<rd_kafka_DeleteTopic_destroy>>;
using Resource =
    std::unique_ptr<rd_kafka_ConfigResource_t, Destroy<rd_kafka_ConfigResource_destroy>>;
using AdminOptions =
    std::unique_ptr<rd_kafka_AdminOptions_t, Destroy<rd_kafka_AdminOptions_destroy>>;

struct Free {
    void operator()(char* text) const noexcept { rd_kafka_mem_free(nullptr, text); }
};
using CText = std::unique_ptr<char, Free>;

void pause(const Deadline& deadline) {
    std::this_thread::sleep_for(
        deadline.left(kLookAgain)); // poll: nobody tells us when it is there
}

Places every_partition(const std::string& topic, std::uint32_t partitions, std::int64_t offset) {
    Places places(rd_kafka_topic_partition_list_new(static_cast<int>(partitions)));
    for (std::uint32_t i = 0; i < partitions; ++i) {
        rd_kafka_topic_partition_list_add(places.get(), topic.c_str(), static_cast<int>(i))
            ->offset = offset;
    }
    return places;
}

// `which`: RD_KAFKA_OFFSET_BEGINNING or _END.
Result<std::vector<LogPosition>> ask_offsets(const Client& client, const std::string& topic,
                                             std::uint32_t partitions, std::int64_t which,
                                             Duration wait_max) {
    const Deadline deadline(wait_max);
    for (;;) {
        // A time stamp of -1 means the end, of -2 the beginning, in the protocol itself.
        const Places places = every_partition(topic, partitions, which);
        auto code =
            rd_kafka_offsets_for_times(client.get(), places.get(), to_ms(deadline.left(kAskMax)));
        std::vector<LogPosition> positions;
        for (int i = 0; i < places->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
            code = places->elems[i].err;
            if (places->elems[i].offset < 0) code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
            positions.push_back(to_position(places->elems[i].offset));
        }
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return positions;
        if (deadline.has_passed()) {
            return tl::make_unexpected(to_error(code, "asking where topic " + topic + " ends"));
        }
        pause(deadline);
    }
}

Event wait_for(const Queue& queue, rd_kafka_event_type_t type, Duration wait_max) {
    const Deadline deadline(wait_max);
    for (;;) {
        Event event(rd_kafka_queue_poll(queue.get(), to_ms(deadline.left())));
        if (event != nullptr && rd_kafka_event_type(event.get()) == type) return event;
        if (event == nullptr && deadline.has_passed()) return event;
    }
}

AdminOptions admin_options(const Client& client, rd_kafka_admin_op_t operation, Duration wait_max) {
    AdminOptions options(rd_kafka_AdminOptions_new(client.get(), operation));
    std::array<char, 256> text{};
    const int ms = std::max(1, to_ms(wait_max));
    rd_kafka_AdminOptions_set_request_timeout(options.get(), ms, text.data(), text.size());
    return options;
}

Result<void> create_topic(const Client& client, const Settings& settings, std::uint32_t brokers,
                          Duration wait_max) {
    const std::string doing = "creating topic " + settings.topic;
    const std::uint32_t copies = replication_of(settings, brokers);
    std::array<char, 512> text{};
    const NewTopic topic(rd_kafka_NewTopic_new(settings.topic.c_str(),
                                               static_cast<int>(settings.partitions),
                                               static_cast<int>(copies), text.data(), text.size()));
    if (topic == nullptr) return fail(Errc::invalid, doing + ": " + text.data());
    for (const auto& [name, value] : new_topic_config(copies)) {
        rd_kafka_NewTopic_set_config(topic.get(), name.c_str(), value.c_str());
    }
    const auto options = admin_options(client, RD_KAFKA_ADMIN_OP_CREATETOPICS, wait_max);
    const Queue queue = client.new_queue();
    std::array<rd_kafka_NewTopic_t*, 1> topics = {topic.get()};
    rd_kafka_CreateTopics(client.get(), topics.data(), topics.size(), options.get(), queue.get());
    const Event event = wait_for(queue, RD_KAFKA_EVENT_CREATETOPICS_RESULT, wait_max);
    if (event == nullptr) return fail(Errc::timeout, doing);
    if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return tl::make_unexpected(Error{make_error_code(errc_of(code)),
                                         doing + ": " + rd_kafka_event_error_string(event.get())});
    }
    std::size_t count = 0;
    const auto* results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(event.get()), &count);
    const auto code = rd_kafka_topic_result_error(results[0]);
    // Somebody else was faster: as good.
    if (count == 0 || code == RD_KAFKA_RESP_ERR_NO_ERROR ||
        code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        return {};
    }
    const char* why = rd_kafka_topic_result_error_string(results[0]);
    return tl::make_unexpected(Error{make_error_code(errc_of(code)),
                                     doing + " (" + std::to_string(settings.partitions) +
                                         " partitions, " + std::to_string(copies) +
                                         " replicas): " + (why != nullptr ? why : "refused")});
}

// The topic's settings in force. Empty, with a notice: the brokers do not let us look.
Result<std::map<std::string, std::string>>
ask_config(const Client& client, const OpenOptions& options, Duration wait_max) {
    if (options.topic_check == TopicCheck::left_out) return std::map<std::string, std::string>();
    const std::string& topic = options.settings.topic;
    const Resource resource(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
    const auto admin = admin_options(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, wait_max);
    const Queue queue = client.new_queue();
    std::array<rd_kafka_ConfigResource_t*, 1> resources = {resource.get()};
    rd_kafka_DescribeConfigs(client.get(), resources.data(), resources.size(), admin.get(),
                             queue.get());
    const Event event = wait_for(queue, RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT, wait_max);
    if (event == nullptr) return fail(Errc::timeout, "asking for the settings of topic " + topic);
    auto code = rd_kafka_event_error(event.get());
    std::size_t count = 0;
    const rd_kafka_ConfigResource_t** results = nullptr;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        results = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event.get()), &count);
        if (count > 0) code = rd_kafka_ConfigResource_error(results[0]);
    }
    std::map<std::string, std::string> config;
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
        code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE) {
        if (options.notice) {
            options.notice("topic " + topic + ": its settings cannot be checked (" +
                           rd_kafka_err2str(code) + "); let this user DescribeConfigs, or see " +
                           "to it that nothing deletes orders");
        }
        return config;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return tl::make_unexpected(to_error(code, "asking for the settings of topic " + topic));
    }
    if (count == 0) return config;
    std::size_t entries_count = 0;
    const auto* entries = rd_kafka_ConfigResource_configs(results[0], &entries_count);
    for (std::size_t i = 0; i < entries_count; ++i) {
        const char* value = rd_kafka_ConfigEntry_value(entries[i]);
        if (value != nullptr) config[rd_kafka_ConfigEntry_name(entries[i])] = value;
    }
    return config;
}

bool is_ready(const TopicState& state) {
    return !state.partitions.empty() &&
           std::all_of(state.partitions.begin(), state.partitions.end(),
                       [](const PartitionState& p) { return p.has_leader; });
}

// Until the topic is there with a leader for every partition. Makes it, once.
Result<TopicState> find_or_create(const Client& client, const Settings& settings,
                                  const Deadline& deadline) {
    bool was_made = false;
    for (;;) {
        auto state = ask_topic(client, settings.topic, deadline.left(kAskMax));
        if (state && is_ready(*state)) return state;
        if (deadline.has_passed()) {
            if (state) {
                return fail(Errc::unavailable, "topic " + settings.topic +
                                                   " has partitions without a leader: brokers " +
                                                   "are down");
            }
            return state;
        }
        if (!state && state.error().is(Errc::invalid)) return state;
        if (!state && state.error().is(Errc::not_found) && !was_made) {
            auto cluster = ask_topic(client, "", deadline.left(kAskMax));
            if (!cluster) continue;
            auto made = create_topic(client, settings, cluster->brokers, deadline.left());
            if (!made) return tl::make_unexpected(made.error());
            was_made = true;
        }
        pause(deadline);
    }
}

} // namespace

Result<TopicState> ask_topic(const Client& client, const std::string& topic, Duration wait_max) {
    const TopicHandle handle = topic.empty() ? nullptr : client.topic(topic);
    const rd_kafka_metadata_t* raw = nullptr;
    const auto code =
        rd_kafka_metadata(client.get(), 0, handle.get(), &raw, std::max(1, to_ms(wait_max)));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return tl::make_unexpected(to_error(code, "no broker answers"));
    }
    const std::unique_ptr<const rd_kafka_metadata_t, Destroy<rd_kafka_metadata_destroy>> data(raw);
    TopicState state;
    state.brokers = static_cast<std::uint32_t>(data->broker_cnt);
    if (topic.empty()) return state;
    if (data->topic_cnt < 1) return fail(Errc::not_found, "topic " + topic);
    const rd_kafka_metadata_topic& found = data->topics[0];
    if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return tl::make_unexpected(to_error(found.err, "topic " + topic));
    }
    state.partitions.resize(static_cast<std::size_t>(found.partition_cnt));
    for (int i = 0; i < found.partition_cnt; ++i) {
        const rd_kafka_metadata_partition& partition = found.partitions[i];
        if (partition.id < 0 || partition.id >= found.partition_cnt) continue;
        PartitionState& to = state.partitions[static_cast<std::size_t>(partition.id)];
        to.has_leader = partition.leader >= 0;
        to.replicas = static_cast<std::uint32_t>(partition.replica_cnt);
        to.in_sync = static_cast<std::uint32_t>(partition.isr_cnt);
    }
    return state;
}

Result<std::vector<LogPosition>> ask_ends(const Client& client, const std::string& topic,
                                          std::uint32_t partitions, Duration wait_max) {
    return ask_offsets(client, topic, partitions, RD_KAFKA_OFFSET_END, wait_max);
}

Result<std::vector<Bounds>> ask_bounds(const Client& client, const std::string& topic,
                                       std::uint32_t partitions, Duration wait_max) {
    const Deadline deadline(wait_max);
    auto first = ask_offsets(client, topic, partitions, RD_KAFKA_OFFSET_BEGINNING, wait_max);
    if (!first) return tl::make_unexpected(first.error());
    auto end = ask_ends(client, topic, partitions, deadline.left());
    if (!end) return tl::make_unexpected(end.error());
    std::vector<Bounds> bounds(partitions);
    for (std::size_t i = 0; i < partitions; ++i) bounds[i] = {(*first)[i], (*end)[i]};
    return bounds;
}

Result<TopicInfo> open_topic(const Client& client, const OpenOptions& options) {
    const Deadline deadline(options.wait_max);
    const Settings& settings = options.settings;
    auto state = find_or_create(client, settings, deadline);
    if (!state) {
        Error error = state.error();
        error.context = "Kafka at " + settings.brokers + ": " + error.context;
        return tl::make_unexpected(std::move(error));
    }
    auto config = ask_config(client, options, deadline.left(kAskMax));
    if (!config) return tl::make_unexpected(config.error());

    TopicFacts facts;
    facts.brokers = state->brokers;
    facts.partitions = static_cast<std::uint32_t>(state->partitions.size());
    facts.replicas_min = UINT32_MAX;
    for (const PartitionState& partition : state->partitions) {
        facts.replicas_min = std::min(facts.replicas_min, partition.replicas);
    }
    facts.config = std::move(*config);
    const TopicVerdict verdict = check_topic(settings, facts);
    for (const std::string& warning : verdict.warnings) {
        if (options.notice) options.notice(warning);
    }
    if (!verdict.refusals.empty()) {
        std::string all;
        for (const std::string& refusal : verdict.refusals) {
            all += (all.empty() ? "" : ". ") + refusal;
        }
        return fail(Errc::invalid, std::move(all));
    }

    const CText cluster(rd_kafka_clusterid(client.get(), to_ms(deadline.left(kAskMax))));
    if (cluster == nullptr) {
        return fail(Errc::unavailable, "Kafka at " + settings.brokers + " does not tell its id");
    }
    TopicInfo info;
    info.cluster_id = cluster.get();
    info.partitions = facts.partitions;
    if (const auto found = facts.config.find("min.insync.replicas"); found != facts.config.end()) {
        info.min_insync = static_cast<std::uint32_t>(std::max(1, std::atoi(found->second.c_str())));
    }
    return info;
}

Result<void> delete_topic(const Client& client, const std::string& topic, Duration wait_max) {
    const std::string doing = "deleting topic " + topic;
    const DoomedTopic doomed(rd_kafka_DeleteTopic_new(topic.c_str()));
    const auto options = admin_options(client, RD_KAFKA_ADMIN_OP_DELETETOPICS, wait_max);
    const Queue queue = client.new_queue();
    std::array<rd_kafka_DeleteTopic_t*, 1> topics = {doomed.get()};
    rd_kafka_DeleteTopics(client.get(), topics.data(), topics.size(), options.get(), queue.get());
    const Event event = wait_for(queue, RD_KAFKA_EVENT_DELETETOPICS_RESULT, wait_max);
    if (event == nullptr) return fail(Errc::timeout, doing);
    auto code = rd_kafka_event_error(event.get());
    std::size_t count = 0;
    const auto* result = rd_kafka_event_DeleteTopics_result(event.get());
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && result != nullptr) {
        const auto* results = rd_kafka_DeleteTopics_result_topics(result, &count);
        if (count > 0) code = rd_kafka_topic_result_error(results[0]);
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        return {};
    }
    return tl::make_unexpected(to_error(code, doing));
}

namespace {

rd_kafka_resp_err_t try_to_delete(const Client& client, const std::string& group,
                                  Duration wait_max) {
    const DoomedGroup doomed(rd_kafka_DeleteGroup_new(group.c_str()));
    const auto options = admin_options(client, RD_KAFKA_ADMIN_OP_DELETEGROUPS, wait_max);
    const Queue queue = client.new_queue();
    std::array<rd_kafka_DeleteGroup_t*, 1> groups = {doomed.get()};
    rd_kafka_DeleteGroups(client.get(), groups.data(), groups.size(), options.get(), queue.get());
    const Event event = wait_for(queue, RD_KAFKA_EVENT_DELETEGROUPS_RESULT, wait_max);
    if (event == nullptr) return RD_KAFKA_RESP_ERR__TIMED_OUT;
    const auto code = rd_kafka_event_error(event.get());
    const auto* result = rd_kafka_event_DeleteGroups_result(event.get());
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR || result == nullptr) return code;
    std::size_t count = 0;
    const auto* results = rd_kafka_DeleteGroups_result_groups(result, &count);
    const auto* error = count > 0 ? rd_kafka_group_result_error(results[0]) : nullptr;
    return error == nullptr ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);
}

} // namespace

Result<void> delete_group(const Client& client, const std::string& group, Duration wait_max) {
    const Deadline deadline(wait_max);
    for (;;) {
        const auto code = try_to_delete(client, group, deadline.left());
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) {
            return {};
        }
        if (code != RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP || deadline.has_passed()) {
            return tl::make_unexpected(to_error(code, "deleting group " + group));
        }
        pause(deadline);
    }
}

} // namespace doorbuster::kafka
