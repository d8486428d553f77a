#include "adapters/kafka/range_reader.h"

#include "adapters/kafka/deadline.h"

namespace doorbuster::kafka {

RangeReader::RangeReader(const Client& client, std::string topic)
    : client_(client), name_(std::move(topic)), topic_(client.topic(name_)) {}

RangeReader::~RangeReader() { leave(); }

void RangeReader::leave() {
    if (!session_) return;
    rd_kafka_consume_stop(topic_.get(), to_int(session_->partition));
    session_.reset();
}

Result<void> RangeReader::go_to(LogPlace from) {
    if (session_ && session_->partition == from.partition && session_->next == from.position) {
        return {};
    }
    leave();
    Session session{from.partition, from.position, client_.new_queue()};
    if (rd_kafka_consume_start_queue(topic_.get(), to_int(from.partition), to_offset(from.position),
                                     session.queue.get()) != 0) {
        return tl::make_unexpected(to_error(rd_kafka_last_error(), "reading topic " + name_));
    }
    session_ = std::move(session);
    return {};
}

Result<std::size_t> RangeReader::read(LogPlace from, LogPosition to, std::size_t records_max,
                                      Duration wait_max,
                                      const std::function<void(const rd_kafka_message_t&)>& visit) {
    if (from.position >= to || records_max == 0) return std::size_t{0};
    const Deadline deadline(wait_max);
    const std::unique_lock lock(mutex_, wait_max);
    if (!lock) return fail(Errc::timeout, "another reader of topic " + name_ + " is at work");
    if (auto there = go_to(from); !there) return tl::make_unexpected(there.error());
    std::size_t count = 0;
    while (count < records_max) {
        const Message message(
            rd_kafka_consume_queue(session_->queue.get(), to_ms(deadline.left())));
        if (message == nullptr) {
            if (!deadline.has_passed()) continue;
            if (count > 0) break;
            leave(); // starts afresh the next time
            return fail(Errc::timeout, "topic " + name_ + ": the brokers send nothing");
        }
        const LogPosition at = to_position(message->offset);
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            if (at < to && count == 0) continue; // may come yet
            if (at >= to) leave();
            break;
        }
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            const auto code = message->err;
            leave();
            return tl::make_unexpected(to_error(
                code, "topic " + name_ + ", partition " + std::to_string(from.partition.get()) +
                          ", position " + std::to_string(from.position.get())));
        }
        if (at >= to) {
            leave();
            break;
        }
        if (at < session_->next) continue;
        visit(*message);
        ++count;
        session_->next = at.next();
        if (session_->next >= to) {
            leave();
            break;
        }
    }
    return count;
}

} // namespace doorbuster::kafka
