#include "adapters/kafka/feed.h"

#include <algorithm>

namespace doorbuster::kafka {
namespace {

// For librdkafka to take up a new position: its own threads only, no broker is asked.
constexpr int kSeekMs = 5'000;
// How often the committed offsets follow the store: monitoring looks no more often.
constexpr Duration kCommitEvery{1'000};
// To leave the group in good order, so that its partitions move at once: part of the 10 s that a
// process has to stop. Without it they move when the session ends.
constexpr Duration kCloseMax{3'000};
constexpr Duration kCloseLook{50};
constexpr int kMendedIn = 0x020300ff; // see ~KafkaFeed

Places one_place(const std::string& topic, LogPartition partition, LogPosition position) {
    Places places(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(places.get(), topic.c_str(), to_int(partition))->offset =
        to_offset(position);
    return places;
}

LogRecord parse(std::string_view bytes) {
    auto parsed = parse_records(bytes, 1);
    if (parsed) return std::move(parsed->front());
    LogRecord record;
    record.kind = LogRecordKind::unreadable;
    record.user = parsed.error().message();
    record.key = bytes.substr(0, kUnreadableMax);
    return record;
}

} // namespace

KafkaFeed::KafkaFeed(OpenOptions options, OpenedLog log, PositionOf position_of)
    : options_(std::move(options)), log_(std::move(log)), position_of_(std::move(position_of)) {}

Result<std::unique_ptr<KafkaFeed>> KafkaFeed::open(OpenOptions options, PositionOf position_of) {
    if (auto checked = check(options.settings); !checked) {
        return tl::make_unexpected(checked.error());
    }
    auto asking = Client::open(options.settings, Role::reader, options.notice);
    if (!asking) return tl::make_unexpected(asking.error());
    RangeReader reader(*asking, options.settings.topic);
    auto log = open_log(*asking, reader, options);
    if (!log) return tl::make_unexpected(log.error());

    std::unique_ptr<KafkaFeed> self(
        new KafkaFeed(std::move(options), std::move(*log), std::move(position_of)));
    FeedCallbacks callbacks;
    callbacks.self = self.get();
    callbacks.on_rebalance = &KafkaFeed::on_rebalance;
    const OpenOptions& opened = self->options_;
    auto client = Client::open(opened.settings, Role::feed, opened.notice, callbacks);
    if (!client) return tl::make_unexpected(client.error());
    self->client_ = std::move(*client);
    rd_kafka_poll_set_consumer(self->client_->get());
    self->queue_ = Queue(rd_kafka_queue_get_consumer(self->client_->get()));
    const Places topics(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(topics.get(), opened.settings.topic.c_str(),
                                      RD_KAFKA_PARTITION_UA);
    const auto code = rd_kafka_subscribe(self->client_->get(), topics.get());
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return tl::make_unexpected(to_error(code, "joining group " + opened.settings.group));
    }
    return self;
}

KafkaFeed::~KafkaFeed() {
    if (!client_) return;
    close();
    // Before 2.3.0 librdkafka aborts when it destroys a member that has joined its group and was
    // never dealt anything: its broker went away just then (confluentinc/librdkafka issue 4312).
    if (!was_dealt_ && rd_kafka_version() < kMendedIn) client_->abandon();
}

void KafkaFeed::notice(const std::string& text) const {
    if (options_.notice) options_.notice("kafka: " + text);
}

void KafkaFeed::on_rebalance(rd_kafka_t* handle, rd_kafka_resp_err_t code,
                             rd_kafka_topic_partition_list_t* places, void* self) {
    auto& feed = *static_cast<KafkaFeed*>(self);
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        feed.was_dealt_ = true;
        feed.gain(places);
    } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        feed.lose(places);
    } else {
        feed.notice(std::string("dealing out the partitions: ") + rd_kafka_err2str(code));
        feed.parts_.clear();
        feed.buffered_ = 0;
        rd_kafka_assign(handle, nullptr);
    }
}

void KafkaFeed::gain(rd_kafka_topic_partition_list_t* places) {
    const Places waiting(rd_kafka_topic_partition_list_new(places->cnt));
    for (int i = 0; i < places->cnt; ++i) {
        rd_kafka_topic_partition_t& place = places->elems[i];
        Part& part = parts_[to_partition(place.partition)];
        drop_buffer(part);
        part = Part();
        const auto position = position_of_(to_partition(place.partition));
        if (position) {
            part.is_placed = true;
            part.next = *position;
            place.offset = to_offset(*position);
        } else { // next() asks again, and says what is wrong
            place.offset = RD_KAFKA_OFFSET_END;
            rd_kafka_topic_partition_list_add(waiting.get(), place.topic, place.partition);
        }
    }
    const RichError error(rd_kafka_incremental_assign(client_->get(), places));
    if (error != nullptr) notice(std::string("gaining: ") + rd_kafka_error_string(error.get()));
    if (waiting->cnt > 0) rd_kafka_pause_partitions(client_->get(), waiting.get());
}

void KafkaFeed::lose(rd_kafka_topic_partition_list_t* places) {
    for (int i = 0; i < places->cnt; ++i) {
        const auto found = parts_.find(to_partition(places->elems[i].partition));
        if (found == parts_.end()) continue;
        drop_buffer(found->second);
        parts_.erase(found);
    }
    const RichError error(rd_kafka_incremental_unassign(client_->get(), places));
    if (error != nullptr) notice(std::string("losing: ") + rd_kafka_error_string(error.get()));
}

void KafkaFeed::drop_buffer(Part& part) {
    buffered_ -= part.buffer.size();
    part.buffer.clear();
}

Result<void> KafkaFeed::place(LogPartition partition, Part& part) {
    const auto position = position_of_(partition);
    if (!position) return tl::make_unexpected(position.error());
    const Places there = one_place(options_.settings.topic, partition, *position);
    const RichError error(rd_kafka_seek_partitions(client_->get(), there.get(), kSeekMs));
    auto code = error != nullptr ? rd_kafka_error_code(error.get()) : there->elems[0].err;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = rd_kafka_resume_partitions(client_->get(), there.get());
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return fail(Errc::unavailable, "going to position " + std::to_string(position->get()) +
                                           " of partition " + std::to_string(partition.get()) +
                                           ": " + rd_kafka_err2str(code));
    }
    part.next = *position;
    part.is_placed = true;
    return {};
}

Result<void> KafkaFeed::place_all() {
    for (auto& [partition, part] : parts_) {
        if (part.is_placed) continue;
        if (auto placed = place(partition, part); !placed) return placed;
    }
    return {};
}

Result<void> KafkaFeed::rewind(LogPartition partition) {
    const auto found = parts_.find(partition);
    if (found == parts_.end()) return {};
    Part& part = found->second;
    drop_buffer(part);
    part.is_placed = false;
    broken_.reset();
    const Places places = one_place(options_.settings.topic, partition, part.next);
    rd_kafka_pause_partitions(client_->get(), places.get());
    return place(partition, part);
}

void KafkaFeed::take_error(const rd_kafka_message_t& message) {
    const char* text = rd_kafka_message_errstr(&message);
    Error error = to_error(message.err, "reading topic " + options_.settings.topic);
    if (text != nullptr) error.context += std::string(" (") + text + ")";
    if (error.is(Errc::foreign_log)) {
        error.context += ": the store's position in partition " +
                         std::to_string(message.partition) +
                         " is outside the log (pruned, or the topic was made anew)";
        broken_ = std::move(error);
    } else if (error.is(Errc::invalid)) {
        broken_ = Error{make_error_code(Errc::unavailable), std::move(error.context)};
    } else {
        notice(error.message()); // librdkafka goes on by itself
    }
}

void KafkaFeed::take(const rd_kafka_message_t& message) {
    const auto found = parts_.find(to_partition(message.partition));
    if (found == parts_.end() || !found->second.is_placed) return;
    Part& part = found->second;
    const LogPosition position = to_position(message.offset);
    const LogPosition expected = part.buffer.empty() ? part.next : part.buffer.back().position;
    if (position < expected) return; // fetched before we went elsewhere
    if (log_.mark.is_foreign(message)) {
        broken_ = Error{make_error_code(Errc::foreign_log),
                        "topic " + options_.settings.topic + " was deleted and made anew"};
        return;
    }
    part.buffer.push_back({position, parse(bytes_of(message))});
    ++buffered_;
}

// Waits for the first record, then takes what is there.
Result<void> KafkaFeed::fill(std::size_t records_max, const Deadline& deadline) {
    for (bool is_first = true; buffered_ < records_max && !broken_; is_first = false) {
        if (!is_first && buffered_ == 0 && deadline.has_passed()) break;
        if (auto placed = place_all(); !placed) return placed;
        const Duration wait = buffered_ > 0 ? Duration(0) : deadline.left();
        const Message message(rd_kafka_consumer_poll(client_->get(), to_ms(wait)));
        if (message != nullptr) {
            if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                take(*message);
            } else {
                take_error(*message);
            }
            continue;
        }
        if (is_woken_.exchange(false) || buffered_ > 0 || deadline.has_passed()) break;
    }
    return {};
}

// The partitions take turns. A batch ends before a gap in the positions, and says where to go on.
LogBatch KafkaFeed::hand_out(std::size_t records_max) {
    LogBatch batch;
    if (buffered_ == 0) return batch;
    auto it = parts_.upper_bound(turn_);
    for (;;) {
        if (it == parts_.end()) it = parts_.begin();
        if (!it->second.buffer.empty()) break;
        ++it;
    }
    auto& [partition, part] = *it;
    turn_ = partition;
    batch.partition = partition;
    batch.first = part.next;
    while (!part.buffer.empty() && batch.records.size() < records_max) {
        Buffered& front = part.buffer.front();
        const bool is_gap = !batch.records.empty() && front.position != part.next;
        if (is_gap) part.next = front.position;
        if (is_gap) break;
        part.next = front.position.next();
        batch.records.push_back(std::move(front.record));
        part.buffer.pop_front();
        --buffered_;
    }
    batch.next = part.next;
    return batch;
}

Result<LogBatch> KafkaFeed::next(std::size_t records_max, Duration wait_max) {
    const Deadline deadline(wait_max);
    commit_stored();
    auto filled = fill(std::max<std::size_t>(records_max, 1), deadline);
    if (broken_ && buffered_ == 0) return tl::make_unexpected(*broken_);
    if (!filled && buffered_ == 0) return tl::make_unexpected(filled.error());
    return hand_out(records_max);
}

void KafkaFeed::stored(LogPlace next) {
    const auto found = parts_.find(next.partition);
    if (found == parts_.end()) return;
    found->second.stored = next.position;
    found->second.is_commit_due = true;
    if (!commit_at_) commit_at_ = Deadline(kCommitEvery);
}

void KafkaFeed::commit_stored() {
    if (!commit_at_ || !commit_at_->has_passed()) return;
    commit_at_.reset();
    const Places places(rd_kafka_topic_partition_list_new(static_cast<int>(parts_.size())));
    for (auto& [partition, part] : parts_) {
        if (!part.is_commit_due) continue;
        part.is_commit_due = false;
        rd_kafka_topic_partition_list_add(places.get(), options_.settings.topic.c_str(),
                                          to_int(partition))
            ->offset = to_offset(part.stored);
    }
    // In the background, and nobody waits for it: the next one says the same and more.
    if (places->cnt > 0) rd_kafka_commit(client_->get(), places.get(), 1);
}

void KafkaFeed::wake() {
    is_woken_.store(true);
    rd_kafka_queue_yield(queue_.get());
}

void KafkaFeed::close() {
    if (commit_at_) {
        commit_at_ = Deadline(Duration(0));
        commit_stored();
    }
    const Deadline deadline(kCloseMax);
    const Queue closing = client_->new_queue(); // for what is left to say, the last rebalance
    const RichError error(rd_kafka_consumer_close_queue(client_->get(), closing.get()));
    if (error != nullptr) return;
    while (rd_kafka_consumer_closed(client_->get()) == 0 && !deadline.has_passed()) {
        const Event event(rd_kafka_queue_poll(closing.get(), to_ms(kCloseLook)));
        // Here the last rebalance comes as an event, and waits for an answer.
        if (event != nullptr && rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_REBALANCE) {
            on_rebalance(client_->get(), rd_kafka_event_error(event.get()),
                         rd_kafka_event_topic_partition_list(event.get()), this);
        }
    }
}

} // namespace doorbuster::kafka
