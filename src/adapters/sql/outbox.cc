#include "adapters/sql/outbox.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <mutex>
#include <utility>

#include "adapters/sql/order_row.h"
#include "adapters/sql/pool.h"
#include "adapters/sql/rows.h"
#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {
namespace {

using Kind = Transaction::Kind;

// Not the writer's five seconds: the dispatcher tries again by itself, and must be able to stop.
constexpr int kBusyWaitSeconds = 1;
constexpr Integer kNumberedAtOnce = 2'000;
constexpr Integer kHeldMax = 10'000; // old events that are kept: what one prune steps over

std::vector<EndpointRecord> select_endpoints(Session& session, const std::string& tail) {
    EndpointRecord record;
    Integer no = 0, cursor = 0, state = 0, since = 0, delivered = 0, parked = 0, revision = 0;
    Nullable<Integer> failing_since;
    soci::statement select(session.soci());
    select.exchange(soci::into(no));
    select.exchange(soci::into(record.url));
    select.exchange(soci::into(cursor));
    select.exchange(soci::into(state));
    select.exchange(soci::into(since));
    select.exchange(soci::into(record.reason));
    select.exchange(soci::into(failing_since.value, failing_since.indicator));
    select.exchange(soci::into(record.last_error));
    select.exchange(soci::into(delivered));
    select.exchange(soci::into(revision));
    select.exchange(soci::into(parked));
    const std::string sql = session.text(text::select_endpoint_columns) + "\n" + tail;
    std::vector<EndpointRecord> records;
    for (bool more = session.execute_bound(select, sql); more; more = select.fetch()) {
        record.no = no;
        record.cursor = cursor;
        record.state = static_cast<EndpointState>(state);
        record.since = from_ms(since);
        record.failing_since = from_ms(failing_since.get());
        record.delivered = delivered;
        record.revision = revision;
        record.parked = parked;
        records.push_back(record);
    }
    return records;
}

// A row of select_events; select_aside_events has three columns more.
struct EventRow {
    std::string order_id, user, sale;
    Integer seq = 0, version = 0, status = 0, at = 0, quantity = 0;
    Nullable<Integer> expires_at, paid_at;
    Nullable<std::string> payment_ref;

    void bind(soci::statement& statement) {
        statement.exchange(soci::into(seq));
        statement.exchange(soci::into(order_id));
        statement.exchange(soci::into(version));
        statement.exchange(soci::into(status));
        statement.exchange(soci::into(at));
        statement.exchange(soci::into(user));
        statement.exchange(soci::into(quantity));
        statement.exchange(soci::into(expires_at.value, expires_at.indicator));
        statement.exchange(soci::into(paid_at.value, paid_at.indicator));
        statement.exchange(soci::into(payment_ref.value, payment_ref.indicator));
        statement.exchange(soci::into(sale));
    }
    // The order as it was: what changes besides status and version comes with `paid`, for good.
    [[nodiscard]] Result<OutboxEvent> event() const {
        auto order_no = order_id_of(order_id);
        if (!order_no) return tl::make_unexpected(std::move(order_no.error()));
        OutboxEvent event;
        event.seq = seq;
        event.sale_id = sale;
        event.at = from_ms(at);
        event.order.id = *order_no;
        event.order.user = user;
        event.order.quantity = quantity;
        event.order.status = static_cast<OrderStatus>(status);
        event.order.version = version;
        event.order.expires_at = from_ms(expires_at.get());
        if (event.order.status == OrderStatus::paid) {
            event.order.paid_at = from_ms(paid_at.get());
            event.order.payment_ref = payment_ref.get();
        }
        return event;
    }
};

void write_aside(Session& session, Integer endpoint, const DeliveryProgress::Aside& row) {
    const Integer seq = row.seq;
    const auto state = static_cast<Integer>(row.state);
    const Integer attempts = row.attempts;
    Nullable<Integer> failing_since(to_ms(row.failing_since));
    session.run(text::set_aside, soci::use(seq, "seq"), soci::use(endpoint, "endpoint"),
                soci::use(state, "state"), soci::use(attempts, "attempts"),
                soci::use(failing_since.value, failing_since.indicator, "failing_since"),
                soci::use(row.last_error, "last_error"));
}

// False: an operator did something to it since it was read.
bool write_endpoint(Session& session, const EndpointRecord& record) {
    const Integer no = record.no;
    const Integer done_seq = record.cursor;
    const auto state = static_cast<Integer>(record.state);
    const Integer since = to_ms(record.since);
    Nullable<Integer> failing_since(to_ms(record.failing_since));
    const Integer delivered = record.delivered;
    const Integer revision = record.revision;
    return session.run(
               text::save_endpoint, soci::use(done_seq, "done_seq"), soci::use(state, "state"),
               soci::use(since, "since"), soci::use(record.reason, "reason"),
               soci::use(failing_since.value, failing_since.indicator, "failing_since"),
               soci::use(record.last_error, "last_error"), soci::use(delivered, "delivered"),
               soci::use(no, "no"), soci::use(revision, "revision")) == 1;
}

// The first event at or behind a moment.
std::optional<Integer> first_event_since(Session& session, Integer since) {
    Integer first = 0;
    if (!session.read(text::select_event_since, soci::into(first), soci::use(since, "since"))) {
        return std::nullopt;
    }
    return first;
}

// Moves the oldest new events behind those that are numbered; how many. Holding the outbox's head,
// so that the numbers are seen in their order, whoever gives them. An order's events keep theirs:
// the second of them was written after the first could be seen.
Integer number_events(Session& session) {
    Integer last = 0;
    session.read(text::lock_outbox, soci::into(last));
    Rows::Numbers id, seq, version, status, at;
    Rows::Texts order;
    Integer new_id = 0, new_version = 0, new_status = 0, new_at = 0;
    std::string new_order;
    session.each(
        text::select_new_events,
        [&] {
            id.push_back(new_id);
            seq.push_back(++last);
            order.push_back(new_order);
            version.push_back(new_version);
            status.push_back(new_status);
            at.push_back(new_at);
        },
        soci::into(new_id), soci::into(new_order), soci::into(new_version), soci::into(new_status),
        soci::into(new_at), soci::use(kNumberedAtOnce, "rows"));
    if (id.empty()) return 0;
    Rows numbered(id.size());
    numbered.add("seq", seq).add("order_id", order).add("version", version);
    numbered.add("status", status).add("at", at).run(session, text::insert_numbered);
    Rows(id.size()).add("id", id).run(session, text::delete_new_event);
    session.run(text::move_outbox, soci::use(last, "last_seq"));
    return static_cast<Integer>(id.size());
}

bool has_new_events(Session& session) {
    Integer id = 0, version = 0, status = 0, at = 0;
    std::string order;
    const Integer one = 1;
    return session.read(text::select_new_events, soci::into(id), soci::into(order),
                        soci::into(version), soci::into(status), soci::into(at),
                        soci::use(one, "rows"));
}

} // namespace

class SqlEventOutbox::Channel {
public:
    Channel(const StoreUrl& url, SharedWrites& writes) : writes_(writes), session_(url, options()) {
        session_.open();
    }

    template <class Work> auto transact(const char* doing, Transaction::Kind kind, Work work) {
        const std::lock_guard lock(mutex_);
        return sql::transact(session_, writes_, doing, kind, std::move(work));
    }
    // Of what runs in transact().
    [[nodiscard]] bool is_leading() const {
        return !session_.is_shared() || led_connection_ == session_.connection();
    }
    void lead() { led_connection_ = session_.connection(); }

private:
    static SessionOptions options() {
        SessionOptions options;
        options.busy_wait_s = kBusyWaitSeconds;
        // A commit that a power cut takes back is a few events that are sent twice: not worth a
        // sync, for which purchases would have to wait.
        options.is_synced = false;
        return options;
    }

    SharedWrites& writes_;
    std::mutex mutex_; // guards the rest
    Session session_;
    std::uint64_t led_connection_ = 0; // the server took our lead from us with any other
};

SqlEventOutbox::SqlEventOutbox(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}
SqlEventOutbox::~SqlEventOutbox() = default;

Result<std::unique_ptr<SqlEventOutbox>> SqlEventOutbox::open(SqlOrderStore& store) {
    using Opened = std::unique_ptr<SqlEventOutbox>;
    const StoreUrl& url = store.pool_->url();
    return guarded(url, "opening the outbox", [&]() -> Result<Opened> {
        Opened outbox(new SqlEventOutbox(std::make_unique<Channel>(url, store.pool_->writes())));
        outbox->is_shared_ = url.dialect != Dialect::sqlite;
        return outbox;
    });
}

// A lock of the connection's: it ends with it, and what the connection writes while it has it was
// written by the one that leads.
Result<bool> SqlEventOutbox::try_lead() {
    const auto work = [&](Session& session, Attempt&) -> Result<bool> {
        Integer answer = 0;
        if (channel_->is_leading()) {
            if (session.is_shared()) session.read(text::select_schema_version, soci::into(answer));
            return true;
        }
        session.read(text::take_lead, soci::into(answer));
        if (answer == 1) channel_->lead();
        return answer == 1;
    };
    return channel_->transact("taking the outbox's lead", Kind::none, work);
}

Result<void> SqlEventOutbox::number_all() {
    for (;;) {
        bool is_done = false;
        const auto work = [&](Session& session, Attempt&) -> Result<void> {
            is_done = number_events(session) < kNumberedAtOnce;
            return {};
        };
        auto numbered = channel_->transact("numbering events", Kind::write, work);
        if (!numbered || is_done) return numbered;
    }
}

Result<std::vector<EndpointRecord>>
SqlEventOutbox::register_endpoints(std::span<const std::string> urls, TimePoint now,
                                   TimePoint forget_before) {
    using Records = std::vector<EndpointRecord>;
    if (is_shared_) { // a new endpoint begins behind what has happened so far
        if (auto numbered = number_all(); !numbered) {
            return tl::make_unexpected(std::move(numbered.error()));
        }
    }
    const auto work = [&](Session& session, Attempt&) -> Result<Records> {
        const Integer since = to_ms(now);
        Records known = select_endpoints(session, "ORDER BY no");
        for (const EndpointRecord& record : known) {
            const Integer no = record.no;
            const bool is_named = std::ranges::find(urls, record.url) != urls.end();
            const bool is_removed = record.state == EndpointState::removed;
            if (is_named && is_removed) {
                session.run(text::activate_endpoint, soci::use(since, "since"),
                            soci::use(no, "no"));
            } else if (!is_named && is_removed && record.since < forget_before) {
                const Integer lowest = std::numeric_limits<Integer>::min();
                session.run(text::forget_aside, soci::use(no, "endpoint"),
                            soci::use(lowest, "seq"));
                session.run(text::forget_endpoint, soci::use(no, "no"));
            } else if (!is_named) {
                session.run(text::remove_endpoint, soci::use(since, "since"), soci::use(no, "no"));
            }
        }
        for (const std::string& url : urls) {
            const auto is_it = [&](const EndpointRecord& record) { return record.url == url; };
            if (std::ranges::any_of(known, is_it)) continue;
            session.run(text::insert_endpoint, soci::use(url, "url"), soci::use(since, "since"));
        }
        known = select_endpoints(session, "ORDER BY no");
        Records named;
        for (const std::string& url : urls) {
            const auto is_it = [&](const EndpointRecord& record) { return record.url == url; };
            named.push_back(*std::ranges::find_if(known, is_it));
        }
        return named;
    };
    auto named = channel_->transact("naming the endpoints", Kind::write, work);
    // Another process named the same one at the same time: now it is there to look at.
    if (!named && named.error().is(Errc::conflict)) {
        named = channel_->transact("naming the endpoints", Kind::write, work);
    }
    return named;
}

Result<std::vector<EndpointRecord>> SqlEventOutbox::list_endpoints() {
    const auto work = [](Session& session, Attempt&) -> Result<std::vector<EndpointRecord>> {
        return select_endpoints(session, "ORDER BY no");
    };
    return channel_->transact("listing the endpoints", Kind::none, work);
}

Result<std::int64_t> SqlEventOutbox::last_seq() {
    bool is_behind = false;
    const auto look = [&](Session& session, Attempt&) -> Result<std::int64_t> {
        is_behind = session.is_shared() && channel_->is_leading() && has_new_events(session);
        Integer last = 0;
        session.read(text::select_last_event, soci::into(last));
        return last;
    };
    auto last = channel_->transact("reading the outbox", Kind::none, look);
    if (!last || !is_behind) return last;
    if (auto numbered = number_all(); !numbered) {
        return tl::make_unexpected(std::move(numbered.error()));
    }
    return channel_->transact("reading the outbox", Kind::none, look);
}

Result<std::vector<OutboxEvent>> SqlEventOutbox::read(std::int64_t endpoint, std::int64_t after,
                                                      std::size_t limit) {
    using Events = std::vector<OutboxEvent>;
    const auto work = [&](Session& session, Attempt&) -> Result<Events> {
        const Integer no = endpoint;
        const Integer behind = after;
        const auto rows = static_cast<Integer>(limit);
        EventRow row;
        soci::statement select(session.soci());
        row.bind(select);
        select.exchange(soci::use(behind, "seq"));
        select.exchange(soci::use(no, "endpoint"));
        select.exchange(soci::use(rows, "rows"));
        Events events;
        bool more = session.execute_bound(select, session.text(text::select_events));
        for (; more; more = select.fetch()) {
            auto event = row.event();
            if (!event) return tl::make_unexpected(std::move(event.error()));
            events.push_back(std::move(*event));
        }
        return events;
    };
    return channel_->transact("reading the outbox", Kind::none, work);
}

Result<std::vector<AsideEvent>> SqlEventOutbox::read_aside(std::int64_t endpoint, AsideState state,
                                                           std::int64_t after, std::size_t limit) {
    using Events = std::vector<AsideEvent>;
    const auto work = [&](Session& session, Attempt&) -> Result<Events> {
        const Integer no = endpoint;
        const Integer behind = after;
        const auto wanted = static_cast<Integer>(state);
        const auto rows = static_cast<Integer>(limit);
        EventRow row;
        Integer attempts = 0;
        Nullable<Integer> failing_since;
        std::string last_error;
        soci::statement select(session.soci());
        row.bind(select);
        select.exchange(soci::into(attempts));
        select.exchange(soci::into(failing_since.value, failing_since.indicator));
        select.exchange(soci::into(last_error));
        select.exchange(soci::use(behind, "seq"));
        select.exchange(soci::use(no, "endpoint"));
        select.exchange(soci::use(wanted, "state"));
        select.exchange(soci::use(rows, "rows"));
        Events events;
        bool more = session.execute_bound(select, session.text(text::select_aside_events));
        for (; more; more = select.fetch()) {
            auto event = row.event();
            if (!event) return tl::make_unexpected(std::move(event.error()));
            events.push_back(
                {std::move(*event), state, attempts, from_ms(failing_since.get()), last_error});
        }
        return events;
    };
    return channel_->transact("reading the outbox", Kind::none, work);
}

Result<void> SqlEventOutbox::save(std::span<const DeliveryProgress> progress) {
    const auto work = [&](Session& session, Attempt& attempt) -> Result<void> {
        if (!channel_->is_leading()) {
            return fail(Errc::fenced, "another process may send the webhooks by now");
        }
        for (const DeliveryProgress& one : progress) {
            const Integer no = one.endpoint.no;
            if (!write_endpoint(session, one.endpoint)) {
                return fail(Errc::conflict, one.endpoint.url + " was changed meanwhile");
            }
            for (const auto& row : one.set_aside) write_aside(session, no, row);
            for (const Integer seq : one.delivered) {
                session.run(text::delete_aside, soci::use(seq, "seq"), soci::use(no, "endpoint"));
            }
            attempt.rows_written += 1 + one.set_aside.size() + one.delivered.size();
        }
        return {};
    };
    return channel_->transact("saving what was delivered", Kind::write, work);
}

Result<EndpointRecord> SqlEventOutbox::replay(std::int64_t endpoint, const ReplayRequest& request,
                                              TimePoint now) {
    // Looked up before the transaction: both read through the outbox, while others may write.
    std::optional<Integer> first;
    Integer seq = 0;
    const auto look = [&](Session& session, Attempt&) -> Result<void> {
        if (request.since) first = first_event_since(session, to_ms(*request.since));
        if (!request.event) return {};
        const std::string order = request.event->order.text();
        const Integer version = request.event->version;
        session.read(text::select_event_named, soci::into(seq), soci::use(order, "order_id"),
                     soci::use(version, "version"));
        if (seq == 0) return fail(Errc::not_found, "the outbox has no such event");
        return {};
    };
    const auto work = [&](Session& session, Attempt&) -> Result<EndpointRecord> {
        const Integer no = endpoint;
        const std::string tail = "WHERE no = " + std::to_string(no);
        const Integer since = to_ms(now);
        // First, so that the endpoint's row is ours.
        session.run(text::activate_endpoint, soci::use(since, "since"), soci::use(no, "no"));
        const auto before = select_endpoints(session, tail);
        if (before.empty()) return fail(Errc::not_found, "there is no such endpoint");
        const Integer done = before.front().cursor;
        if (first && *first - 1 < done) {
            const Integer back = *first - 1;
            session.run(text::move_endpoint, soci::use(back, "done_seq"), soci::use(no, "no"));
            session.run(text::forget_aside, soci::use(no, "endpoint"), soci::use(back, "seq"));
        }
        if (request.event) {
            if (seq <= done) {
                write_aside(session, no, {seq, AsideState::retrying, 0, {}, ""});
            } else { // comes anyway, unless it is parked
                session.run(text::delete_aside, soci::use(seq, "seq"), soci::use(no, "endpoint"));
            }
        }
        if (request.parked) {
            session.run(text::delete_parked_behind, soci::use(no, "endpoint"),
                        soci::use(done, "seq"));
            session.run(text::retry_parked, soci::use(no, "endpoint"));
        }
        auto after = select_endpoints(session, tail);
        return std::move(after.front());
    };
    if (auto found = channel_->transact("replaying", Kind::none, look); !found) {
        return tl::make_unexpected(std::move(found.error()));
    }
    return channel_->transact("replaying", Kind::write, work);
}

Result<std::size_t> SqlEventOutbox::prune(TimePoint before, std::size_t events_max) {
    Rows::Numbers old;
    const auto look = [&](Session& session, Attempt&) -> Result<void> {
        old.clear();
        Nullable<Integer> lowest;
        session.read(text::select_lowest_done, soci::into(lowest.value, lowest.indicator));
        const Integer up_to = lowest.get().value_or(std::numeric_limits<Integer>::max());
        const Integer rows = static_cast<Integer>(events_max) + kHeldMax;
        Integer seq = 0, at = 0, is_held = 0;
        soci::statement select(session.soci());
        bool more = session.execute(select, session.text(text::select_prunable), soci::into(seq),
                                    soci::into(at), soci::into(is_held), soci::use(up_to, "seq"),
                                    soci::use(rows, "rows"));
        for (; more; more = select.fetch()) {
            if (from_ms(at) >= before || old.size() >= events_max) break;
            if (is_held == 0) old.push_back(seq);
        }
        return {};
    };
    const auto work = [&](Session& session, Attempt& attempt) -> Result<std::size_t> {
        Rows rows(old.size());
        rows.add("seq", old).run(session, text::delete_event);
        rows.run(session, text::delete_aside_of_event);
        attempt.rows_written = old.size();
        return old.size();
    };
    if (auto found = channel_->transact("pruning", Kind::none, look); !found) {
        return tl::make_unexpected(std::move(found.error()));
    }
    if (old.empty()) return 0; // no lock for nothing
    return channel_->transact("pruning", Kind::write, work);
}

} // namespace doorbuster::sql
