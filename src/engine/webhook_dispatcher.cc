#include "engine/webhook_dispatcher.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
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

// Has nobody else moved it on, or done something to it?
bool is_untouched(const EndpointRecord& record, const EndpointRecord& saved) {
    return record.no == saved.no && record.cursor == saved.cursor && record.state == saved.state &&
           record.delivered == saved.delivered && record.revision == saved.revision;
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
    for (std::size_t i = 0; i < options_.endpoints.size(); ++i) {
        receivers_.push_back({i,
                              options_.endpoints[i],
                              {},
                              {},
                              DeliveryWindow(options_.limits),
                              counters_[i].get()});
    }
    return lead();
}

// Another process may have led in between whenever an error came in between: then each record that
// is not as we left it is somebody else's work, and its receiver begins anew from it.
Result<void> WebhookDispatcher::lead() {
    const bool was_doubtful = is_lead_doubtful_;
    lead_due_ms_ = now().steady_ms + options_.lead_every.count();
    auto leads = outbox_.try_lead();
    if (!leads) return tl::make_unexpected(std::move(leads.error()));
    if (!*leads) {
        if (!std::exchange(is_following_, true)) {
            spdlog::info("webhooks: another process sends them");
        }
        stop_leading();
        return {};
    }
    if (is_leading_ && !was_doubtful) return check_records();
    if (auto taken = take_records(is_leading_ ? Windows::keep : Windows::drop); !taken) {
        return taken;
    }
    is_leading_ = true;
    is_lead_doubtful_ = false;
    if (std::exchange(is_following_, false)) spdlog::info("webhooks: this process sends them now");
    return {};
}

void WebhookDispatcher::stop_leading() {
    is_lead_doubtful_ = false;
    if (!std::exchange(is_leading_, false)) return;
    for (Receiver& receiver : receivers_) receiver.window.restart(receiver.record.cursor);
}

// An operator may have replayed an endpoint on another process, or one with other settings may have
// led meanwhile.
Result<void> WebhookDispatcher::check_records() {
    auto records = outbox_.list_endpoints();
    if (!records) return tl::make_unexpected(std::move(records.error()));
    const auto is_ours = [&](const Receiver& receiver) {
        const auto at = std::ranges::find(*records, receiver.saved.no, &EndpointRecord::no);
        return at != records->end() && is_untouched(*at, receiver.saved);
    };
    if (std::ranges::all_of(receivers_, is_ours)) return {};
    return take_records(Windows::keep);
}

Result<void> WebhookDispatcher::take_records(Windows windows) {
    std::vector<std::string> urls;
    urls.reserve(receivers_.size());
    for (const Receiver& receiver : receivers_) urls.push_back(receiver.endpoint.url);
    const TimePoint wall = clock_.now();
    auto records = outbox_.register_endpoints(urls, wall, wall - options_.keep);
    if (!records) return tl::make_unexpected(std::move(records.error()));
    for (std::size_t i = 0; i < records->size(); ++i) {
        Receiver& receiver = receivers_[i];
        const bool is_same = is_untouched((*records)[i], receiver.saved);
        if (windows == Windows::keep && is_same) continue;
        begin(receiver, std::move((*records)[i]));
        if (receiver.record.state == EndpointState::disabled) {
            spdlog::warn("webhooks: {} is disabled since {}: {}. To bring it back: doorbuster "
                         "webhook replay {}",
                         urls[i], to_rfc3339(receiver.record.since), receiver.record.reason,
                         urls[i]);
        }
    }
    look_due_ms_ = INT64_MIN;
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
    receiver.saved = receiver.record;
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
    if (at.steady_ms >= store_due_ms_) {
        if (const auto done = work(at); !done) {
            store_failed(done.error());
        } else if (!is_store_up_) {
            is_store_up_ = true;
            spdlog::info("webhooks: the order store answers again");
        }
    }
    for (Receiver& receiver : receivers_) {
        if (is_leading_ && !is_lead_doubtful_) send_due(receiver);
        receiver.counters->pending.store(is_leading_ ? pending_of(receiver) : 0,
                                         std::memory_order_relaxed);
    }
    sleep();
}

Result<void> WebhookDispatcher::work(const Moment& at) {
    const auto is_due = [&](std::int64_t due_ms) { return at.steady_ms >= due_ms; };
    if (is_lead_doubtful_ || is_due(lead_due_ms_)) {
        if (auto led = lead(); !led) return led;
    }
    if (!is_leading_) return {};
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
}

void WebhookDispatcher::store_failed(const Error& error) {
    is_lead_doubtful_ = true;
    // These two say only that others were at it: the records tell, and are there to be read.
    if (error.is(Errc::fenced) || error.is(Errc::conflict)) return;
    store_due_ms_ = now().steady_ms + options_.store_pause.count();
    if (!std::exchange(is_store_up_, false)) return;
    spdlog::warn("webhooks: {}; trying again", error.message());
}

void WebhookDispatcher::sleep() {
    std::int64_t pause = (is_leading_ ? options_.poll : options_.lead_every).count();
    const std::int64_t at = now().steady_ms;
    for (const Receiver& receiver : receivers_) {
        if (!is_leading_ || is_lead_doubtful_) break;
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
        boost::asio::co_spawn(
            *context_, deliver(receiver.index, *attempt, cloud_event(*attempt->event)), rethrow);
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
    if (is_leading_ && receiver.record.state == EndpointState::active) {
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
    if (!is_leading_) return {}; // the one that leads does
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
        receiver.saved = receiver.record;
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
    const auto at = std::ranges::find_if(receivers_, [&](const Receiver& receiver) {
        return receiver.endpoint.url == url && receiver.record.no != 0;
    });
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

Result<void> WebhookDispatcher::catch_up() {
    auto saved = save();
    if (!saved) {
        store_failed(saved.error());
        if (!saved.error().is(Errc::fenced) && !saved.error().is(Errc::conflict)) return saved;
        if (auto led = lead(); !led) return led;
    }
    return is_leading_ ? Result<void>() : follow();
}

// As a process that begins to lead would have them, without touching anything.
Result<void> WebhookDispatcher::follow() {
    auto records = outbox_.list_endpoints();
    if (!records) return tl::make_unexpected(std::move(records.error()));
    for (Receiver& receiver : receivers_) {
        const auto at = std::ranges::find(*records, receiver.endpoint.url, &EndpointRecord::url);
        begin(receiver, at == records->end() ? EndpointRecord{} : std::move(*at));
        if (receiver.record.no == 0 || receiver.record.state != EndpointState::active) continue;
        if (auto filled = fill_aside(receiver); !filled) return filled; // they are pending, too
    }
    return {};
}

Result<std::vector<WebhookStatus>> WebhookDispatcher::list() {
    const auto collect = [this]() -> Result<std::vector<WebhookStatus>> {
        if (auto up = catch_up(); !up) return tl::make_unexpected(std::move(up.error()));
        if (auto looked = look(); !looked) return tl::make_unexpected(std::move(looked.error()));
        auto records = outbox_.list_endpoints();
        if (!records) return tl::make_unexpected(std::move(records.error()));
        std::vector<WebhookStatus> all;
        all.reserve(records->size());
        for (const Receiver& receiver : receivers_) {
            if (receiver.record.no != 0) all.push_back(status_of(receiver));
        }
        const auto named = all.size();
        for (EndpointRecord& record : *records) {
            const auto end = all.begin() + static_cast<std::ptrdiff_t>(named);
            const auto at = std::find_if(all.begin(), end, [&](const WebhookStatus& status) {
                return status.record.no == record.no;
            });
            if (at != end) {
                at->record.parked = record.parked;
                continue;
            }
            const bool is_removed = record.state == EndpointState::removed;
            const std::int64_t pending =
                is_removed ? 0 : std::max<std::int64_t>(last_seq_ - record.cursor, 0);
            all.push_back({std::move(record), pending});
        }
        return all;
    };
    return on_thread(collect);
}

Result<WebhookDispatcher::EventPage> WebhookDispatcher::events(const std::string& url,
                                                               AsideState state, std::int64_t after,
                                                               std::size_t limit) {
    const auto collect = [this, url, state, after, limit]() -> Result<EventPage> {
        if (auto up = catch_up(); !up) return tl::make_unexpected(std::move(up.error()));
        Receiver* receiver = find(url);
        if (receiver == nullptr) return fail(Errc::not_found, "there is no such endpoint");
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
        if (Receiver* known = find(url)) known->is_unsaved = true;
        if (auto up = catch_up(); !up) return tl::make_unexpected(std::move(up.error()));
        Receiver* receiver = find(url);
        if (receiver == nullptr) return fail(Errc::not_found, "there is no such endpoint");
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
