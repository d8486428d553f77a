#include "engine/webhook_dispatcher.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <spdlog/spdlog.h>
#include <utility>

#include "engine/cloud_event.h"
#include "runtime/thread.h"

namespace doorbuster {
namespace {

// A turn blocks for a few statements, at worst for SQLite's busy time-out.
constexpr std::chrono::seconds kCallWait{15};
constexpr int kSendsATurn = 64; // then what came in meanwhile has its turn
constexpr int kReadsAPage = 20; // batches that a page of events looks at: most may be unwanted

std::string shown(Duration time) {
    const std::int64_t seconds = time.count() / 1'000;
    if (seconds >= 2 * 86'400) return std::to_string(seconds / 86'400) + " days";
    if (seconds >= 2 * 3'600) return std::to_string(seconds / 3'600) + " hours";
    return std::to_string(seconds) + " seconds";
}

} // namespace

WebhookDispatcher::WebhookDispatcher(EventOutbox& outbox, EventSender& sender, const Clock& clock,
                                     Options options)
    : outbox_(outbox),
      sender_(sender),
      clock_(clock),
      options_(std::move(options)),
      random_(options_.seed) {
    for (const Endpoint& endpoint : options_.endpoints) {
        counters_.push_back(std::make_unique<Counters>());
        counters_.back()->label = endpoint.label;
    }
}

WebhookDispatcher::~WebhookDispatcher() { stop(); }

Result<void> WebhookDispatcher::prepare() {
    std::vector<std::string> urls;
    urls.reserve(options_.endpoints.size());
    for (const Endpoint& endpoint : options_.endpoints) urls.push_back(endpoint.url);
    const TimePoint wall = clock_.now();
    auto records = outbox_.register_endpoints(urls, wall, wall - options_.keep);
    if (!records) return tl::make_unexpected(std::move(records.error()));
    for (std::size_t i = 0; i < records->size(); ++i) {
        receivers_.push_back(
            {i, options_.endpoints[i], {}, DeliveryWindow(options_.limits), counters_[i].get()});
        begin(receivers_.back(), std::move((*records)[i]));
        if (receivers_.back().record.state == EndpointState::disabled) {
            spdlog::warn("webhooks: {} is disabled since {}: {}. To bring it back: doorbuster "
                         "webhook replay {}",
                         urls[i], to_rfc3339(receivers_.back().record.since),
                         receivers_.back().record.reason, urls[i]);
        }
    }
    return {};
}

void WebhookDispatcher::start() {
    context_ = std::make_unique<boost::asio::io_context>();
    timer_.emplace(*context_);
    boost::asio::post(*context_, [this] { turn(); });
    const std::lock_guard lock(mutex_);
    is_running_ = true;
    thread_ = std::thread([this] {
        lower_priority_of_this_thread(Lag::freely);
        auto work = boost::asio::make_work_guard(*context_);
        context_->run();
    });
}

void WebhookDispatcher::stop() {
    {
        const std::lock_guard lock(mutex_);
        if (!is_running_) return;
        is_running_ = false;
        boost::asio::post(*context_, [this] {
            is_stopping_ = true;
            if (is_idle()) return end();
            timer_->expires_after(options_.stop_wait);
            timer_->async_wait([this](const boost::system::error_code& error) {
                if (!error) end();
            });
        });
    }
    thread_.join();
    timer_.reset();
    sender_.close();
    context_.reset(); // with the requests that were in flight
}

void WebhookDispatcher::end() {
    if (auto saved = save(); !saved) {
        spdlog::warn("webhooks: {}; some events will be sent again after the next start",
                     saved.error().message());
    }
    context_->stop();
}

void WebhookDispatcher::wake() {
    if (is_woken_.exchange(true)) return;
    const std::lock_guard lock(mutex_);
    if (!is_running_) return;
    boost::asio::post(*context_, [this] { timer_->cancel(); });
}

template <class F> std::invoke_result_t<F&> WebhookDispatcher::on_thread(F f) {
    using R = std::invoke_result_t<F&>;
    const auto task = std::make_shared<std::packaged_task<R()>>(std::move(f));
    auto result = task->get_future();
    {
        const std::lock_guard lock(mutex_);
        if (!is_running_) return fail(Errc::unavailable, "the webhooks are not running");
        boost::asio::post(*context_, [this, task] {
            if (is_stopping_) return; // breaks the promise
            (*task)();
            timer_->cancel(); // there may be something to send now
        });
    }
    if (result.wait_for(kCallWait) != std::future_status::ready) {
        return fail(Errc::timeout, "the webhooks are busy");
    }
    try {
        return result.get();
    } catch (const std::future_error&) {
        return fail(Errc::unavailable, "the webhooks are stopping");
    }
}

Moment WebhookDispatcher::now() const { return {clock_.steady_ns() / 1'000'000, clock_.now()}; }

void WebhookDispatcher::begin(Receiver& receiver, EndpointRecord record) {
    receiver.record = std::move(record);
    receiver.window.restart(receiver.record.cursor);
    receiver.window.set_failing_since(receiver.record.failing_since);
    receiver.aside_seq = 0;
    receiver.is_aside_read = false;
    receiver.is_unsaved = false;
    receiver.was_failing = false;
}

void WebhookDispatcher::turn() {
    if (is_stopping_) return;
    const Moment at = now();
    const auto is_due = [&](std::int64_t due_ms) { return at.steady_ms >= due_ms; };
    if (is_due(store_due_ms_)) {
        const auto done = [&]() -> Result<void> {
            if (is_woken_.exchange(false) || is_due(look_due_ms_)) {
                look_due_ms_ = at.steady_ms + options_.poll.count();
                if (auto looked = look(); !looked) return looked;
            }
            for (Receiver& receiver : receivers_) {
                if (auto filled = fill(receiver); !filled) return filled;
            }
            if (is_due(save_due_ms_)) {
                save_due_ms_ = at.steady_ms + options_.save_every.count();
                if (auto saved = save(); !saved) return saved;
            }
            if (is_due(prune_due_ms_)) {
                prune_due_ms_ = at.steady_ms + options_.prune_every.count();
                if (auto pruned = prune(); !pruned) return pruned;
            }
            return {};
        }();
        if (!done) {
            store_failed(done.error());
        } else if (!is_store_up_) {
            is_store_up_ = true;
            spdlog::info("webhooks: the order store answers again");
        }
    }
    for (Receiver& receiver : receivers_) {
        send_due(receiver);
        receiver.counters->pending.store(pending_of(receiver), std::memory_order_relaxed);
    }
    sleep();
}

void WebhookDispatcher::store_failed(const Error& error) {
    store_due_ms_ = now().steady_ms + options_.store_pause.count();
    if (!std::exchange(is_store_up_, false)) return;
    spdlog::warn("webhooks: {}; trying again", error.message());
}

void WebhookDispatcher::sleep() {
    std::int64_t pause = options_.poll.count();
    const std::int64_t at = now().steady_ms;
    for (const Receiver& receiver : receivers_) {
        if (receiver.record.state != EndpointState::active) continue;
        if (const auto due = receiver.window.next_due_ms()) {
            pause = std::min(pause, std::max<std::int64_t>(*due - std::min(*due, at), 0));
        }
    }
    timer_->expires_after(Duration(pause));
    // Cancelled: something has happened. Then it is our turn, too.
    timer_->async_wait([this](const boost::system::error_code&) { turn(); });
}

Result<void> WebhookDispatcher::look() {
    auto last = outbox_.last_seq();
    if (!last) return tl::make_unexpected(std::move(last.error()));
    last_seq_ = *last;
    return {};
}

// Reads large pieces: when an eighth of the window is free.
Result<void> WebhookDispatcher::fill(Receiver& receiver) {
    DeliveryWindow& window = receiver.window;
    if (receiver.record.state != EndpointState::active) return {};
    if (window.room() < (options_.limits.window_max + 7) / 8) return {};
    if (!receiver.is_aside_read) return fill_aside(receiver);
    if (window.read_seq() >= last_seq_) return {};
    const std::int64_t from = window.read_seq();
    auto events = outbox_.read(receiver.record.no, from, window.room());
    if (!events) return tl::make_unexpected(std::move(events.error()));
    for (OutboxEvent& event : *events) {
        const bool is_wanted =
            receiver.endpoint.wanted[static_cast<std::size_t>(event.order.status)];
        is_wanted ? window.add(std::move(event)) : window.skip_to(event.seq);
    }
    if (events->empty()) window.skip_to(last_seq_); // they were pruned, or set aside
    receiver.is_unsaved = true;
    return {};
}

Result<void> WebhookDispatcher::fill_aside(Receiver& receiver) {
    const std::size_t wanted = receiver.window.room();
    auto events =
        outbox_.read_aside(receiver.record.no, AsideState::retrying, receiver.aside_seq, wanted);
    if (!events) return tl::make_unexpected(std::move(events.error()));
    receiver.is_aside_read = events->size() < wanted;
    for (AsideEvent& event : *events) {
        receiver.aside_seq = event.event.seq;
        receiver.window.add_aside(std::move(event));
    }
    return {};
}

void WebhookDispatcher::send_due(Receiver& receiver) {
    if (receiver.record.state != EndpointState::active) return;
    const Moment at = now();
    for (int sent = 0; sent < kSendsATurn; ++sent) {
        const auto attempt = receiver.window.next(at);
        if (!attempt) return;
        boost::asio::co_spawn(*context_,
                              deliver(receiver.index, *attempt, cloud_event(*attempt->event)),
                              boost::asio::detached);
    }
}

Task<void> WebhookDispatcher::deliver(std::size_t receiver, DeliveryWindow::Attempt attempt,
                                      EventMessage message) {
    const SendResult result = co_await sender_.send(receiver, message);
    finished(receivers_[receiver], attempt, result);
}

void WebhookDispatcher::finished(Receiver& receiver, const DeliveryWindow::Attempt& attempt,
                                 const SendResult& result) {
    constexpr auto relaxed = std::memory_order_relaxed;
    const std::string& url = receiver.endpoint.url;
    DeliveryWindow& window = receiver.window;
    const double random = std::uniform_real_distribution<double>(0, 1)(random_);
    const Moment at = now();
    switch (window.finished(attempt, result, at, random)) {
    case DeliveryWindow::Outcome::delivered:
        ++receiver.record.delivered;
        receiver.counters->delivered.fetch_add(1, relaxed);
        if (std::exchange(receiver.was_failing, false)) spdlog::info("webhooks: {} is back", url);
        break;
    case DeliveryWindow::Outcome::parked:
        receiver.counters->parked.fetch_add(1, relaxed);
        spdlog::warn("webhooks: {} does not take event {} ({}) while it takes others: parked. To "
                     "send it again: doorbuster webhook replay {} --parked",
                     url, attempt.order.text(), result.detail, url);
        break;
    case DeliveryWindow::Outcome::failed:
        receiver.counters->failed.fetch_add(1, relaxed);
        if (window.is_probing() && !std::exchange(receiver.was_failing, true)) {
            spdlog::warn("webhooks: {} fails ({}); one event at a time until it is back", url,
                         result.detail);
        }
        break;
    case DeliveryWindow::Outcome::stale: break;
    }
    receiver.is_unsaved = true;
    if (receiver.record.state == EndpointState::active) {
        const auto since = window.failing_since();
        if (result.kind == SendResult::Kind::gone) {
            disable(receiver, "it answered 410 Gone: it wants no more events");
        } else if (window.is_probing() && since && at.wall - *since >= options_.disable_after) {
            disable(receiver,
                    "no success for " + shown(options_.disable_after) + ", last: " + result.detail);
        }
    }
    if (!is_stopping_) {
        timer_->cancel();
    } else if (is_idle()) {
        end();
    }
}

void WebhookDispatcher::disable(Receiver& receiver, const std::string& reason) {
    EndpointRecord& record = receiver.record;
    record.state = EndpointState::disabled;
    record.since = clock_.now();
    record.reason = reason;
    const std::int64_t pending = pending_of(receiver);
    if (auto saved = save(); !saved) store_failed(saved.error());
    spdlog::error("webhooks: {} is disabled: {}. {} events wait for it. To bring it back: "
                  "doorbuster webhook replay {}",
                  receiver.endpoint.url, reason, pending, receiver.endpoint.url);
}

Result<void> WebhookDispatcher::save() {
    std::vector<DeliveryProgress> progress;
    for (Receiver& receiver : receivers_) {
        if (!receiver.is_unsaved) continue;
        auto settled = receiver.window.settle();
        receiver.record.cursor = settled.cursor;
        receiver.record.failing_since = receiver.window.failing_since();
        if (!receiver.window.last_error().empty()) {
            receiver.record.last_error = receiver.window.last_error();
        }
        progress.push_back(
            {receiver.record, std::move(settled.set_aside), std::move(settled.delivered)});
    }
    if (progress.empty()) return {};
    if (auto saved = outbox_.save(progress); !saved) return saved;
    for (Receiver& receiver : receivers_) {
        if (!std::exchange(receiver.is_unsaved, false)) continue;
        receiver.window.saved();
        // What a disabled one still has in memory is read again when it comes back.
        if (receiver.record.state == EndpointState::disabled && receiver.window.size() > 0) {
            receiver.window.restart(receiver.record.cursor);
            receiver.window.set_failing_since(receiver.record.failing_since);
        }
    }
    return {};
}

Result<void> WebhookDispatcher::prune() {
    auto pruned = outbox_.prune(clock_.now() - options_.keep, options_.prune_batch);
    if (!pruned) return tl::make_unexpected(std::move(pruned.error()));
    return {};
}

bool WebhookDispatcher::is_idle() const {
    return std::ranges::all_of(
        receivers_, [](const Receiver& receiver) { return receiver.window.in_flight() == 0; });
}

std::int64_t WebhookDispatcher::pending_of(const Receiver& receiver) const {
    const std::int64_t unread = last_seq_ - receiver.window.read_seq();
    return std::max<std::int64_t>(unread, 0) + static_cast<std::int64_t>(receiver.window.size());
}

WebhookDispatcher::Receiver* WebhookDispatcher::find(const std::string& url) {
    const auto at = std::ranges::find_if(
        receivers_, [&](const Receiver& receiver) { return receiver.endpoint.url == url; });
    return at == receivers_.end() ? nullptr : &*at;
}

WebhookStatus WebhookDispatcher::status_of(const Receiver& receiver) const {
    WebhookStatus status{receiver.record, pending_of(receiver)};
    status.record.failing_since = receiver.window.failing_since();
    if (!receiver.window.last_error().empty()) {
        status.record.last_error = receiver.window.last_error();
    }
    return status;
}

Result<std::vector<WebhookStatus>> WebhookDispatcher::list() {
    const auto collect = [this]() -> Result<std::vector<WebhookStatus>> {
        if (auto saved = save(); !saved) return tl::make_unexpected(std::move(saved.error()));
        if (auto looked = look(); !looked) return tl::make_unexpected(std::move(looked.error()));
        auto records = outbox_.list_endpoints();
        if (!records) return tl::make_unexpected(std::move(records.error()));
        std::vector<WebhookStatus> all;
        all.reserve(records->size());
        for (const Receiver& receiver : receivers_) all.push_back(status_of(receiver));
        for (EndpointRecord& record : *records) {
            if (Receiver* receiver = find(record.url)) {
                all[receiver->index].record.parked = record.parked;
            } else {
                all.push_back({std::move(record), 0});
            }
        }
        return all;
    };
    return on_thread(collect);
}

Result<WebhookDispatcher::EventPage> WebhookDispatcher::events(const std::string& url,
                                                               AsideState state, std::int64_t after,
                                                               std::size_t limit) {
    const auto collect = [this, url, state, after, limit]() -> Result<EventPage> {
        Receiver* receiver = find(url);
        if (receiver == nullptr) return fail(Errc::not_found, "there is no such endpoint");
        if (auto saved = save(); !saved) return tl::make_unexpected(std::move(saved.error()));
        return page_of(*receiver, state, after, limit);
    };
    return on_thread(collect);
}

// By seq: what is set aside, then what is in the window, then what was not read yet.
Result<WebhookDispatcher::EventPage> WebhookDispatcher::page_of(Receiver& receiver,
                                                                AsideState state,
                                                                std::int64_t after,
                                                                std::size_t limit) {
    EventPage page;
    const auto is_full = [&] { return page.events.size() >= limit; };
    auto aside = outbox_.read_aside(receiver.record.no, state, after, limit);
    if (!aside) return tl::make_unexpected(std::move(aside.error()));
    for (AsideEvent& one : *aside) {
        after = std::max(after, one.event.seq);
        page.events.push_back({std::move(one.event), one.state, one.attempts, one.failing_since,
                               std::move(one.last_error)});
    }
    if (is_full()) {
        page.next = after;
        return page;
    }
    if (state == AsideState::parked) return page;
    const std::int64_t read_seq = receiver.window.read_seq();
    after = std::max(after, receiver.record.cursor); // up to it, all of them were in the list above
    for (const auto& one : receiver.window.list(after, limit - page.events.size())) {
        after = one.event->seq;
        page.events.push_back(
            {*one.event, AsideState::retrying, one.attempts, one.failing_since, one.last_error});
    }
    if (!is_full()) after = std::max(after, read_seq);
    for (int reads = 0; !is_full() && reads < kReadsAPage; ++reads) {
        auto events = outbox_.read(receiver.record.no, after, limit);
        if (!events) return tl::make_unexpected(std::move(events.error()));
        if (events->empty()) return page;
        for (OutboxEvent& event : *events) {
            if (is_full()) break;
            after = event.seq;
            if (!receiver.endpoint.wanted[static_cast<std::size_t>(event.order.status)]) continue;
            page.events.push_back({std::move(event), AsideState::retrying, 0, {}, {}});
        }
    }
    page.next = after;
    return page;
}

Result<WebhookStatus> WebhookDispatcher::replay(const std::string& url,
                                                const ReplayRequest& request) {
    const auto again = [this, url, request]() -> Result<WebhookStatus> {
        Receiver* receiver = find(url);
        if (receiver == nullptr) return fail(Errc::not_found, "there is no such endpoint");
        receiver->is_unsaved = true;
        if (auto saved = save(); !saved) return tl::make_unexpected(std::move(saved.error()));
        auto record = outbox_.replay(receiver->record.no, request, clock_.now());
        if (!record) return tl::make_unexpected(std::move(record.error()));
        begin(*receiver, std::move(*record));
        if (auto looked = look(); !looked) return tl::make_unexpected(std::move(looked.error()));
        spdlog::info("webhooks: {} is replayed", url);
        return status_of(*receiver);
    };
    return on_thread(again);
}

} // namespace doorbuster
