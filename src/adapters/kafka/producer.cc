#include "adapters/kafka/producer.h"

#include <algorithm>

#include "adapters/kafka/deadline.h"

namespace doorbuster::kafka {
namespace {

// How long the poll thread waits for an event, and so how late it may notice stop().
constexpr Duration kPoll{100};
// Purged records are reported at once; this is for a machine that swaps.
constexpr Duration kPurgeMax{10'000};
// Between two instances: a cause that lasts must not be tried in a loop.
constexpr Duration kRenewFirst{50};
constexpr Duration kRenewMax{5'000};

void* to_opaque(std::uint64_t tag) {
    static_assert(sizeof(void*) >= sizeof tag);
    return reinterpret_cast<void*>(tag);
}

std::uint64_t to_tag(const void* opaque) { return reinterpret_cast<std::uint64_t>(opaque); }

} // namespace

Producer::Producer(Settings settings, std::string key, Notice notice, OnFailed on_failed)
    : settings_(std::move(settings)),
      key_(std::move(key)),
      notice_(std::move(notice)),
      on_failed_(std::move(on_failed)) {}

Result<std::unique_ptr<Producer>> Producer::open(Settings settings, std::string key, Notice notice,
                                                 OnFailed on_failed) {
    std::unique_ptr<Producer> producer(
        new Producer(std::move(settings), std::move(key), std::move(notice), std::move(on_failed)));
    auto instance = producer->make_instance();
    if (!instance) return tl::make_unexpected(instance.error());
    producer->instance_ = std::move(*instance);
    producer->thread_ = std::thread([p = producer.get()] { p->run(); });
    return producer;
}

Producer::~Producer() { stop(Duration(0)); }

Result<std::unique_ptr<Producer::Instance>> Producer::make_instance() const {
    auto client = Client::open(settings_, Role::producer, notice_);
    if (!client) return tl::make_unexpected(client.error());
    TopicHandle topic = client->topic(settings_.topic);
    if (topic == nullptr) {
        return tl::make_unexpected(to_error(rd_kafka_last_error(), "topic " + settings_.topic));
    }
    Queue events(rd_kafka_queue_get_main(client->get()));
    return std::unique_ptr<Instance>(
        new Instance{std::move(*client), std::move(topic), std::move(events)});
}

bool Producer::produce(LogPartition partition, std::string_view bytes, std::uint64_t tag) {
    const std::shared_lock lock(instance_mutex_, std::try_to_lock);
    if (!lock || instance_ == nullptr) return false;
    void* payload = const_cast<char*>(bytes.data()); // copied, not changed
    return rd_kafka_produce(instance_->topic.get(), to_int(partition), RD_KAFKA_MSG_F_COPY, payload,
                            bytes.size(), key_.data(), key_.size(), to_opaque(tag)) == 0;
}

std::string Producer::trouble() const {
    const std::lock_guard lock(mutex_);
    return trouble_;
}

void Producer::set_trouble(std::string text) {
    const std::lock_guard lock(mutex_);
    trouble_ = std::move(text);
}

// One call of on_failed for each run of records that failed for the same reason.
void Producer::report(rd_kafka_event_t* event) {
    auto code = RD_KAFKA_RESP_ERR_NO_ERROR;
    const auto flush = [&] {
        if (failed_.empty()) return;
        const Error error = to_error(code, "appending to topic " + settings_.topic);
        on_failed_(failed_, error);
        failed_.clear();
    };
    while (const rd_kafka_message_t* message = rd_kafka_event_message_next(event)) {
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
        if (message->err != code) flush();
        code = message->err;
        failed_.push_back(to_tag(message->_private));
    }
    flush();
}

bool Producer::serve(Instance& instance, Duration wait) {
    const Event event(rd_kafka_queue_poll(instance.events.get(), to_ms(wait)));
    if (event == nullptr) return true;
    const auto type = rd_kafka_event_type(event.get());
    if (type == RD_KAFKA_EVENT_DR) report(event.get());
    if (type != RD_KAFKA_EVENT_ERROR) return true;
    const std::string text = rd_kafka_event_error_string(event.get());
    if (rd_kafka_event_error_is_fatal(event.get()) != 0) {
        set_trouble("the producer gave up: " + text);
        if (notice_) notice_("kafka: the producer gave up and is made anew: " + text);
        return false;
    }
    return true; // librdkafka tries again by itself; the transport's probe says what is wrong
}

// Reports everything that the instance still has as failed.
void Producer::empty(Instance& instance) {
    rd_kafka_purge(instance.client.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    const Deadline deadline(kPurgeMax);
    while (rd_kafka_outq_len(instance.client.get()) > 0 && !deadline.has_passed()) {
        static_cast<void>(serve(instance, kRenewFirst));
    }
    if (rd_kafka_outq_len(instance.client.get()) > 0 && notice_) {
        notice_("kafka: the producer keeps records back; their buyers get no answer");
    }
}

void Producer::renew() {
    std::unique_ptr<Instance> old;
    {
        const std::lock_guard lock(instance_mutex_);
        old = std::move(instance_);
    }
    empty(*old);
    old.reset();
    renewals_.fetch_add(1);
    for (Duration backoff = kRenewFirst;; backoff = std::min(backoff * 2, kRenewMax)) {
        std::unique_lock lock(mutex_);
        stopping_.wait_for(lock, backoff, [this] { return is_stopping_; });
        if (is_stopping_) return;
        lock.unlock();
        auto fresh = make_instance();
        if (!fresh) {
            set_trouble("the producer cannot be made anew: " + fresh.error().message());
            continue;
        }
        const std::lock_guard exclusive(instance_mutex_);
        instance_ = std::move(*fresh);
        set_trouble({});
        return;
    }
}

void Producer::run() {
    for (;;) {
        {
            const std::lock_guard lock(mutex_);
            if (is_stopping_) return;
        }
        if (!serve(*instance_, kPoll)) renew();
    }
}

// In steps, since the poll thread may have to put a new instance in place meanwhile.
void Producer::flush(Duration wait_max) {
    const Deadline deadline(wait_max);
    while (!deadline.has_passed()) {
        const std::shared_lock lock(instance_mutex_);
        if (instance_ == nullptr) return; // its records are reported as failed already
        if (rd_kafka_flush(instance_->client.get(), to_ms(deadline.left(kPoll))) ==
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            return;
        }
    }
}

void Producer::stop(Duration wait_max) {
    if (!thread_.joinable()) return;
    flush(wait_max);
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    stopping_.notify_all();
    thread_.join();
    std::unique_ptr<Instance> last;
    {
        const std::lock_guard lock(instance_mutex_);
        last = std::move(instance_);
    }
    if (last != nullptr) empty(*last);
}

} // namespace doorbuster::kafka
