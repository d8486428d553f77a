// The webhook dispatcher: takes the outbox's events to the receivers. A thread of its own with a
// low priority; no buyer's request waits for it. Everything public may be called from any thread
// but a core, unless it says otherwise.
//
// At least once: what was delivered above a receiver's saved cursor is delivered again after a
// crash, under the same ids.
//
// Of the processes that share a store one leads and sends; the others look now and then whether
// they should. Operators may ask any of them: one that does not lead answers from the outbox, and
// the one that leads hears of a replay when it looks at the records the next time. What a process
// that has lost the lead still has on its way may arrive twice.
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "domain/order.h"
#include "engine/delivery_window.h"
#include "ports/event_outbox.h"
#include "ports/event_sender.h"
#include "runtime/clock.h"
#include "runtime/task.h"

namespace doorbuster {

// One receiver, as operators see it.
struct WebhookStatus {
    EndpointRecord record;
    std::int64_t pending = 0; // events that it may still have to be told, at most
};

// One event that a receiver has not taken.
struct WebhookEvent {
    OutboxEvent event;
    AsideState state = AsideState::retrying; // retrying: pending, whether it was tried or not
    std::int64_t attempts = 0;
    std::optional<TimePoint> failing_since;
    std::string last_error;
};

class WebhookDispatcher {
public:
    struct Endpoint {
        std::string url;   // the name that it is remembered by
        std::string label; // for metrics
        std::array<bool, kOrderStatuses> wanted{};
    };
    struct Options {
        std::vector<Endpoint> endpoints; // in the order of the settings, as the sender knows them
        DeliveryLimits limits;
        Duration disable_after{86'400'000}; // a day without a success
        Duration keep{604'800'000};         // events that all have been told of: seven days
        Duration poll{50};                  // for new events, when nobody wakes us
        Duration save_every{200};
        Duration prune_every{200};
        std::size_t prune_batch = 1'000;
        Duration store_pause{1'000}; // after the store failed
        // Between two looks at who leads, and at what operators did on other processes.
        Duration lead_every{1'000};
        Duration stop_wait{1'000}; // for requests in flight, at the end
        std::uint64_t seed = 1;    // of the jitter
    };
    // All of them outlive the dispatcher.
    WebhookDispatcher(EventOutbox& outbox, EventSender& sender, const Clock& clock,
                      Options options);
    ~WebhookDispatcher();
    WebhookDispatcher(const WebhookDispatcher&) = delete;
    WebhookDispatcher& operator=(const WebhookDispatcher&) = delete;

    // Takes the lead, if nobody has it, and makes the endpoints known to the outbox: what happens
    // to orders from now on reaches the new ones, too. Where another process leads, it is done when
    // the lead comes here. Once, before start().
    [[nodiscard]] Result<void> prepare();
    // Starts the thread.
    void start();
    // Waits a little for what is in flight, saves how far it has come, ends the thread.
    void stop();

    // Any thread, cores too: there is something new in the outbox.
    void wake();

    // Every endpoint, those that the settings do not name last. Errc::unavailable when it does not
    // run.
    [[nodiscard]] Result<std::vector<WebhookStatus>> list();
    // An endpoint's events behind `after`, by seq: those it is still to be told, or the parked
    // ones. Errc::not_found for an unknown endpoint.
    struct EventPage {
        std::vector<WebhookEvent> events;
        std::optional<std::int64_t> next; // where the next page begins
    };
    [[nodiscard]] Result<EventPage> events(const std::string& url, AsideState state,
                                           std::int64_t after, std::size_t limit);
    // Errc::not_found for an unknown endpoint or event.
    [[nodiscard]] Result<WebhookStatus> replay(const std::string& url,
                                               const ReplayRequest& request);

    // Any thread, cores too.
    struct Counters {
        std::string label;
        std::atomic<std::uint64_t> delivered{0};
        std::atomic<std::uint64_t> failed{0}; // attempts
        std::atomic<std::uint64_t> parked{0};
        std::atomic<std::int64_t> pending{0};
    };
    [[nodiscard]] const std::vector<std::unique_ptr<Counters>>& counters() const {
        return counters_;
    }

private:
    using Steady = std::chrono::steady_clock;
    using Timer =
        boost::asio::basic_waitable_timer<Steady, boost::asio::wait_traits<Steady>, Executor>;

    struct Receiver {
        std::size_t index = 0; // in the settings
        Endpoint endpoint;
        EndpointRecord record; // as saved last, and what has changed since; no 0: none yet
        EndpointRecord saved;  // as the outbox had it last
        DeliveryWindow window;
        Counters* counters = nullptr;
        std::int64_t aside_seq = 0; // what was set aside is read up to here
        bool is_aside_read = false; // all of it
        bool is_unsaved = false;
        bool was_failing = false; // and it was logged
    };

    // Runs `f` on the dispatcher's thread and waits for what it returns.
    template <class F> std::invoke_result_t<F&> on_thread(F f);

    void turn(); // everything that is due; then sleeps until the next
    [[nodiscard]] Result<void> work(const Moment& at); // what a turn does with the outbox
    [[nodiscard]] Result<void> lead();
    [[nodiscard]] Result<void> check_records();
    enum class Windows { keep, drop }; // of receivers that nobody else has told anything
    [[nodiscard]] Result<void> take_records(Windows windows);
    void stop_leading();
    // For a caller: are the receivers as the outbox has them, written by us or read from it?
    [[nodiscard]] Result<void> catch_up();
    [[nodiscard]] Result<void> follow();
    void sleep();
    [[nodiscard]] Moment now() const;
    [[nodiscard]] Result<void> look();
    [[nodiscard]] Result<void> fill(Receiver& receiver);
    [[nodiscard]] Result<void> fill_aside(Receiver& receiver);
    void send_due(Receiver& receiver);
    Task<void> deliver(std::size_t receiver, DeliveryWindow::Attempt attempt, EventMessage message);
    void finished(Receiver& receiver, const DeliveryWindow::Attempt& attempt,
                  const SendResult& result);
    void disable(Receiver& receiver, const std::string& reason);
    void begin(Receiver& receiver, EndpointRecord record);
    [[nodiscard]] Result<void> save();
    [[nodiscard]] Result<void> prune();
    void store_failed(const Error& error);
    void end();
    [[nodiscard]] bool is_idle() const;
    [[nodiscard]] std::int64_t pending_of(const Receiver& receiver) const;
    [[nodiscard]] Receiver* find(const std::string& url);
    [[nodiscard]] WebhookStatus status_of(const Receiver& receiver) const;
    [[nodiscard]] Result<EventPage> page_of(Receiver& receiver, AsideState state,
                                            std::int64_t after, std::size_t limit);

    EventOutbox& outbox_;
    EventSender& sender_;
    const Clock& clock_;
    Options options_;
    std::vector<std::unique_ptr<Counters>> counters_;
    std::atomic<bool> is_woken_{false};

    std::mutex mutex_; // guards is_running_, and that nothing is posted after the end
    bool is_running_ = false;
    std::thread thread_;

    // The dispatcher's thread only, once it runs. The context goes first: it holds the requests in
    // flight, which refer to the rest.
    std::vector<Receiver> receivers_;
    std::mt19937_64 random_;
    std::int64_t last_seq_ = 0;
    bool is_leading_ = false;
    bool is_following_ = false;     // another process leads, and it was logged
    bool is_lead_doubtful_ = false; // after an error: nothing is sent before the outbox says so
    std::int64_t lead_due_ms_ = INT64_MIN;
    std::int64_t look_due_ms_ = INT64_MIN;
    std::int64_t save_due_ms_ = INT64_MIN;
    std::int64_t prune_due_ms_ = INT64_MIN;
    std::int64_t store_due_ms_ = INT64_MIN;
    bool is_store_up_ = true;
    bool is_stopping_ = false;
    std::unique_ptr<boost::asio::io_context> context_;
    std::optional<Timer> timer_;
};

} // namespace doorbuster
