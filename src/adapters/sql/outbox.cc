#include "adapters/sql/outbox.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <utility>

#include "adapters/sql/order_row.h"
#include "adapters/sql/pool.h"
#include "adapters/sql/session.h"
#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {
namespace {

// Not the writer's five seconds: the dispatcher tries again by itself, and must be able to stop.
constexpr int kBusyWaitSeconds = 1;
constexpr Integer kHeldMax = 10'000; // old events that are kept: what one prune steps over

std::vector<EndpointRecord> select_endpoints(soci::session& session, const std::string& tail) {
    EndpointRecord record;
    Integer no = 0, cursor = 0, state = 0, since = 0, delivered = 0, parked = 0;
    Nullable<Integer> failing_since;
    soci::statement select(session);
    select.exchange(soci::into(no));
    select.exchange(soci::into(record.url));
    select.exchange(soci::into(cursor));
    select.exchange(soci::into(state));
    select.exchange(soci::into(since));
    select.exchange(soci::into(record.reason));
    select.exchange(soci::into(failing_since.value, failing_since.indicator));
    select.exchange(soci::into(record.last_error));
    select.exchange(soci::into(delivered));
    select.exchange(soci::into(parked));
    select.alloc();
    select.prepare(std::string(text::select_endpoint_columns) + "\n" + tail);
    select.define_and_bind();
    std::vector<EndpointRecord> records;
    for (bool more = select.execute(true); more; more = select.fetch()) {
        record.no = no;
        record.cursor = cursor;
        record.state = static_cast<EndpointState>(state);
        record.since = from_ms(since);
        record.failing_since = from_ms(failing_since.get());
        record.delivered = delivered;
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

void write_aside(soci::session& session, Integer endpoint, const DeliveryProgress::Aside& row) {
    const Integer seq = row.seq;
    const auto state = static_cast<Integer>(row.state);
    const Integer attempts = row.attempts;
    Nullable<Integer> failing_since(to_ms(row.failing_since));
    session << text::set_aside, soci::use(seq, "seq"), soci::use(endpoint, "endpoint"),
        soci::use(state, "state"), soci::use(attempts, "attempts"),
        soci::use(failing_since.value, failing_since.indicator, "failing_since"),
        soci::use(row.last_error, "last_error");
}

void write_endpoint(soci::session& session, const EndpointRecord& record) {
    const Integer no = record.no;
    const Integer done_seq = record.cursor;
    const auto state = static_cast<Integer>(record.state);
    const Integer since = to_ms(record.since);
    Nullable<Integer> failing_since(to_ms(record.failing_since));
    const Integer delivered = record.delivered;
    session << text::save_endpoint, soci::use(done_seq, "done_seq"), soci::use(state, "state"),
        soci::use(since, "since"), soci::use(record.reason, "reason"),
        soci::use(failing_since.value, failing_since.indicator, "failing_since"),
        soci::use(record.last_error, "last_error"), soci::use(delivered, "delivered"),
        soci::use(no, "no");
}

// The first event at or behind a moment.
std::optional<Integer> first_event_since(soci::session& session, Integer since) {
    Integer first = 0;
    session << text::select_event_since, soci::into(first), soci::use(since, "since");
    if (!session.got_data()) return std::nullopt;
    return first;
}

} // namespace

class SqlEventOutbox::Session {
public:
    Session(const std::string& path, SharedWrites& turns)
        : path_(path),
          writes_(turns),
          session_(soci::sqlite3,
                   "dbname=\"" + path + "\" timeout=" + std::to_string(kBusyWaitSeconds)) {
        // A commit that a power cut takes back is a few events that are sent twice: not worth a
        // sync, for which purchases would have to wait.
        session_ << "PRAGMA synchronous=NORMAL";
        session_ << "PRAGMA wal_autocheckpoint=0";
    }

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] soci::session& sql() { return session_; }
    [[nodiscard]] SharedWrites& writes() { return writes_; }
    [[nodiscard]] std::mutex& mutex() { return mutex_; }

    void wrote(std::size_t rows) { writes_.wrote(session_, rows); }

private:
    std::string path_;
    SharedWrites& writes_;
    soci::session session_;
    std::mutex mutex_;
};

SqlEventOutbox::SqlEventOutbox(std::unique_ptr<Session> session) : session_(std::move(session)) {}
SqlEventOutbox::~SqlEventOutbox() = default;

Result<std::unique_ptr<SqlEventOutbox>> SqlEventOutbox::open(SqlOrderStore& store) {
    using Opened = std::unique_ptr<SqlEventOutbox>;
    return guarded(store.name_, "opening the outbox", [&]() -> Result<Opened> {
        return Opened(
            new SqlEventOutbox(std::make_unique<Session>(store.name_, store.pool_->writes())));
    });
}

template <class F> auto SqlEventOutbox::with_session(const char* doing, F f) {
    const std::lock_guard lock(session_->mutex());
    return guarded(session_->path(), doing, [&] { return f(session_->sql()); });
}

Result<std::vector<EndpointRecord>>
SqlEventOutbox::register_endpoints(std::span<const std::string> urls, TimePoint now,
                                   TimePoint forget_before) {
    using Records = std::vector<EndpointRecord>;
    return with_session("naming the endpoints", [&](soci::session& session) -> Result<Records> {
        Transaction transaction(session, session_->writes(), Transaction::Kind::write);
        const Integer since = to_ms(now);
        Records known = select_endpoints(session, "ORDER BY no");
        for (const EndpointRecord& record : known) {
            const Integer no = record.no;
            const bool is_named = std::ranges::find(urls, record.url) != urls.end();
            const bool is_removed = record.state == EndpointState::removed;
            if (is_named && is_removed) {
                session << text::activate_endpoint, soci::use(since, "since"), soci::use(no, "no");
            } else if (!is_named && is_removed && record.since < forget_before) {
                const Integer lowest = std::numeric_limits<Integer>::min();
                session << text::forget_aside, soci::use(no, "endpoint"), soci::use(lowest, "seq");
                session << text::forget_endpoint, soci::use(no, "no");
            } else if (!is_named) {
                session << text::remove_endpoint, soci::use(since, "since"), soci::use(no, "no");
            }
        }
        for (const std::string& url : urls) {
            const auto is_it = [&](const EndpointRecord& record) { return record.url == url; };
            if (std::ranges::any_of(known, is_it)) continue;
            session << text::insert_endpoint, soci::use(url, "url"), soci::use(since, "since");
        }
        known = select_endpoints(session, "ORDER BY no");
        Records named;
        for (const std::string& url : urls) {
            const auto is_it = [&](const EndpointRecord& record) { return record.url == url; };
            named.push_back(*std::ranges::find_if(known, is_it));
        }
        transaction.commit();
        return named;
    });
}

Result<std::vector<EndpointRecord>> SqlEventOutbox::list_endpoints() {
    using Records = std::vector<EndpointRecord>;
    return with_session("listing the endpoints", [&](soci::session& session) -> Result<Records> {
        return select_endpoints(session, "ORDER BY no");
    });
}

Result<std::int64_t> SqlEventOutbox::last_seq() {
    return with_session("reading the outbox", [](soci::session& session) -> Result<std::int64_t> {
        Integer last = 0;
        session << text::select_last_event, soci::into(last);
        return last;
    });
}

Result<std::vector<OutboxEvent>> SqlEventOutbox::read(std::int64_t endpoint, std::int64_t after,
                                                      std::size_t limit) {
    using Events = std::vector<OutboxEvent>;
    return with_session("reading the outbox", [&](soci::session& session) -> Result<Events> {
        const Integer no = endpoint;
        const Integer behind = after;
        const auto rows = static_cast<Integer>(limit);
        EventRow row;
        soci::statement select(session);
        row.bind(select);
        select.exchange(soci::use(behind, "seq"));
        select.exchange(soci::use(no, "endpoint"));
        select.exchange(soci::use(rows, "rows"));
        select.alloc();
        select.prepare(text::select_events);
        select.define_and_bind();
        Events events;
        for (bool more = select.execute(true); more; more = select.fetch()) {
            auto event = row.event();
            if (!event) return tl::make_unexpected(std::move(event.error()));
            events.push_back(std::move(*event));
        }
        return events;
    });
}

Result<std::vector<AsideEvent>> SqlEventOutbox::read_aside(std::int64_t endpoint, AsideState state,
                                                           std::int64_t after, std::size_t limit) {
    using Events = std::vector<AsideEvent>;
    return with_session("reading the outbox", [&](soci::session& session) -> Result<Events> {
        const Integer no = endpoint;
        const Integer behind = after;
        const auto wanted = static_cast<Integer>(state);
        const auto rows = static_cast<Integer>(limit);
        EventRow row;
        Integer attempts = 0;
        Nullable<Integer> failing_since;
        std::string last_error;
        soci::statement select(session);
        row.bind(select);
        select.exchange(soci::into(attempts));
        select.exchange(soci::into(failing_since.value, failing_since.indicator));
        select.exchange(soci::into(last_error));
        select.exchange(soci::use(behind, "seq"));
        select.exchange(soci::use(no, "endpoint"));
        select.exchange(soci::use(wanted, "state"));
        select.exchange(soci::use(rows, "rows"));
        select.alloc();
        select.prepare(text::select_aside_events);
        select.define_and_bind();
        Events events;
        for (bool more = select.execute(true); more; more = select.fetch()) {
            auto event = row.event();
            if (!event) return tl::make_unexpected(std::move(event.error()));
            events.push_back(
                {std::move(*event), state, attempts, from_ms(failing_since.get()), last_error});
        }
        return events;
    });
}

Result<void> SqlEventOutbox::save(std::span<const DeliveryProgress> progress) {
    return with_session("saving what was delivered", [&](soci::session& session) -> Result<void> {
        std::size_t rows = 0;
        {
            Transaction transaction(session, session_->writes(), Transaction::Kind::write);
            for (const DeliveryProgress& one : progress) {
                const Integer no = one.endpoint.no;
                write_endpoint(session, one.endpoint);
                for (const auto& row : one.set_aside) write_aside(session, no, row);
                for (const Integer seq : one.delivered) {
                    session << text::delete_aside, soci::use(seq, "seq"), soci::use(no, "endpoint");
                }
                rows += 1 + one.set_aside.size() + one.delivered.size();
            }
            transaction.commit();
        }
        session_->wrote(rows);
        return {};
    });
}

Result<EndpointRecord> SqlEventOutbox::replay(std::int64_t endpoint, const ReplayRequest& request,
                                              TimePoint now) {
    return with_session("replaying", [&](soci::session& session) -> Result<EndpointRecord> {
        // Looked up before the transaction: both read through the outbox, while others may write.
        std::optional<Integer> first;
        if (request.since) first = first_event_since(session, to_ms(*request.since));
        Integer seq = 0;
        if (request.event) {
            const std::string order = request.event->order.text();
            const Integer version = request.event->version;
            session << text::select_event_named, soci::into(seq), soci::use(order, "order_id"),
                soci::use(version, "version");
            if (seq == 0) return fail(Errc::not_found, "the outbox has no such event");
        }
        Transaction transaction(session, session_->writes(), Transaction::Kind::write);
        const Integer no = endpoint;
        const std::string tail = "WHERE no = " + std::to_string(no);
        const auto before = select_endpoints(session, tail);
        if (before.empty()) return fail(Errc::not_found, "there is no such endpoint");
        const Integer done = before.front().cursor;

        if (first) {
            if (*first - 1 < done) {
                const Integer back = *first - 1;
                session << text::move_endpoint, soci::use(back, "done_seq"), soci::use(no, "no");
                session << text::forget_aside, soci::use(no, "endpoint"), soci::use(back, "seq");
            }
        }
        if (request.event) {
            if (seq <= done) {
                write_aside(session, no, {seq, AsideState::retrying, 0, {}, ""});
            } else { // comes anyway, unless it is parked
                session << text::delete_aside, soci::use(seq, "seq"), soci::use(no, "endpoint");
            }
        }
        if (request.parked) {
            session << text::delete_parked_behind, soci::use(no, "endpoint"),
                soci::use(done, "seq");
            session << text::retry_parked, soci::use(no, "endpoint");
        }
        const Integer since = to_ms(now);
        session << text::activate_endpoint, soci::use(since, "since"), soci::use(no, "no");
        auto after = select_endpoints(session, tail);
        transaction.commit();
        return std::move(after.front());
    });
}

Result<std::size_t> SqlEventOutbox::prune(TimePoint before, std::size_t events_max) {
    return with_session("pruning", [&](soci::session& session) -> Result<std::size_t> {
        std::vector<Integer> old;
        {
            Nullable<Integer> lowest;
            session << text::select_lowest_done, soci::into(lowest.value, lowest.indicator);
            const Integer up_to = lowest.get().value_or(std::numeric_limits<Integer>::max());
            const Integer rows = static_cast<Integer>(events_max) + kHeldMax;
            Integer seq = 0, at = 0, is_held = 0;
            soci::statement select =
                (session.prepare << text::select_prunable, soci::into(seq), soci::into(at),
                 soci::into(is_held), soci::use(up_to, "seq"), soci::use(rows, "rows"));
            for (bool more = select.execute(true); more; more = select.fetch()) {
                if (from_ms(at) >= before || old.size() >= events_max) break;
                if (is_held == 0) old.push_back(seq);
            }
        }
        if (old.empty()) return 0; // no lock for nothing
        {
            Transaction transaction(session, session_->writes(), Transaction::Kind::write);
            session << text::delete_event, soci::use(old, "seq");
            session << text::delete_aside_of_event, soci::use(old, "seq");
            transaction.commit();
        }
        session_->wrote(old.size());
        return old.size();
    });
}

} // namespace doorbuster::sql
