// Opening the store, and reading its orders and books.
#include "adapters/sql/order_store.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "adapters/sql/order_row.h"
#include "adapters/sql/pool.h"
#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"
#include "adapters/sql/writer.h"

namespace doorbuster::sql {
namespace {

constexpr Integer kSchemaVersion = 2;
constexpr int kBusyWaitSeconds = 5; // a batch of the writer holds the lock for far less
constexpr std::size_t kFetchRows = 2'048;
// A filtered list looks at so many orders a call and one more: 10 ms on a slow core.
constexpr Integer kLookBeyond = 19'999;

// The text range of a sale's order ids: text order is byte order, see OrderId.
struct IdRange {
    std::string lowest;
    std::string highest;
};

IdRange ids_of(SaleNo sale) {
    return {OrderId::first_of(sale).text(), OrderId::last_of(sale).text()};
}

// Brings the tables from `version` (0: there are none) to ours, in one transaction: the sections of
// schema.sql that are newer, statement by statement.
template <class Lease> void upgrade_tables(Lease& lease, Integer version) {
    constexpr std::string_view kMark = "-- version: ";
    soci::session& session = *lease;
    Transaction transaction(lease, Transaction::Kind::write);
    const std::string schema = text::schema;
    std::string statement;
    Integer section = 0;
    for (std::size_t at = 0; at < schema.size();) {
        const std::size_t end = std::min(schema.find('\n', at), schema.size());
        const std::string line = schema.substr(at, end - at);
        at = end + 1;
        if (line.starts_with(kMark)) {
            std::from_chars(line.data() + kMark.size(), line.data() + line.size(), section);
        }
        if (section <= version) continue;
        statement += line.substr(0, line.find("--")) + "\n"; // a semicolon ends a statement only
        if (statement.find(';') == std::string::npos) continue;
        session << statement;
        statement.clear();
    }
    if (version == 0) {
        session << text::insert_schema_version, soci::use(kSchemaVersion, "version");
    } else {
        session << text::update_schema_version, soci::use(kSchemaVersion, "version");
    }
    transaction.commit();
}

} // namespace

SqlOrderStore::SqlOrderStore() = default;
SqlOrderStore::~SqlOrderStore() = default;

Result<std::unique_ptr<SqlOrderStore>> SqlOrderStore::open(OrderStoreOptions options) {
    return guarded(
        options.sqlite_path, "opening the order store",
        [&]() -> Result<std::unique_ptr<SqlOrderStore>> {
            const bool is_read_only = options.mode == StoreMode::read_only;
            const std::string connect = "dbname=\"" + options.sqlite_path +
                                        "\" timeout=" + std::to_string(kBusyWaitSeconds) +
                                        (is_read_only ? " readonly=true" : "");
            std::unique_ptr<SqlOrderStore> store(new SqlOrderStore);
            static const SystemClock system_clock;
            store->name_ = options.sqlite_path;
            store->clock_ = options.clock != nullptr ? options.clock : &system_clock;
            store->with_events_ = options.with_events;
            store->pool_ = std::make_unique<Pool>(options.pool_size);
            for (std::size_t i = 0; i < options.pool_size; ++i) {
                soci::session& session = store->pool_->at(i);
                session.open(soci::sqlite3, connect);
                set_on_close(session, OnClose::keep_log);
                // Not in `connect`: SOCI leaks the connection to a file that is none.
                session << "PRAGMA synchronous=FULL";
                if (!is_read_only)
                    session << "PRAGMA wal_autocheckpoint=0"; // the writer's business
            }
            Lease lease(*store->pool_);
            soci::session& session = *lease;
            Integer tables = 0;
            session << "SELECT count(*) FROM sqlite_master WHERE name = 'doorbuster_schema'",
                soci::into(tables);
            if (tables == 0) {
                if (is_read_only) {
                    return fail(Errc::not_found, options.sqlite_path + " is not an order store");
                }
                std::string mode;
                session << "PRAGMA journal_mode=WAL", soci::into(mode);
                upgrade_tables(lease, 0);
            }
            Integer version = 0;
            session << text::select_schema_version, soci::into(version);
            if (version < kSchemaVersion && is_read_only) {
                return fail(Errc::wrong_state, options.sqlite_path +
                                                   " was written by an earlier doorbuster. Start "
                                                   "this one on it once (doorbuster serve)");
            }
            if (version < kSchemaVersion) {
                upgrade_tables(lease, version);
            } else if (version > kSchemaVersion) {
                return fail(Errc::too_new,
                            options.sqlite_path + " has schema version " + std::to_string(version) +
                                ", this doorbuster knows " + std::to_string(kSchemaVersion) +
                                ". Start the version that wrote it");
            }
            if (!is_read_only) {
                store->writer_ =
                    std::make_unique<Writer>(store->name_, connect, store->pool_->writes(),
                                             *store->clock_, options.with_events);
            }
            return store;
        });
}

Result<void> SqlOrderStore::adopt() {
    return guarded(name_, "taking over its files", [&]() -> Result<void> {
        for (std::size_t i = 0; i < pool_->size(); ++i) {
            set_on_close(pool_->at(i), OnClose::tidy_up);
        }
        if (writer_) writer_->adopt();
        // As the log does: what a failed sync left behind is written anew and synced.
        Lease lease(*pool_);
        int busy = 0;
        int pages = 0;
        int copied = 0;
        *lease << "PRAGMA wal_checkpoint(TRUNCATE)", soci::into(busy), soci::into(pages),
            soci::into(copied);
        return {};
    });
}

Result<LogBinding> SqlOrderStore::log_binding() {
    return guarded(name_, "reading the log's position", [&]() -> Result<LogBinding> {
        Lease lease(*pool_);
        LogBinding binding;
        Integer next = 1;
        *lease << text::select_log, soci::into(binding.log_id), soci::into(next);
        binding.next.set(kOnlyPartition, LogPosition(static_cast<std::uint64_t>(next)));
        return binding;
    });
}

Result<void> SqlOrderStore::bind_log(const std::string& log_id) {
    auto binding = log_binding();
    if (!binding) return tl::make_unexpected(std::move(binding.error()));
    if (!binding->log_id.empty()) {
        return fail(Errc::conflict, "the store belongs to log " + binding->log_id);
    }
    return guarded(name_, "naming the log", [&]() -> Result<void> {
        Lease lease(*pool_);
        *lease << text::insert_log, soci::use(log_id, "log_id");
        return {};
    });
}

Result<Order> SqlOrderStore::find_order(const OrderId& id) {
    return guarded(name_, "reading an order", [&]() -> Result<Order> {
        Lease lease(*pool_);
        auto order = select_order(*lease, id);
        if (order || !order.error().is(Errc::not_found)) return order;
        // Promised, and set aside until an operator has seen to it: to its buyer it is queued.
        const std::string wanted = id.text();
        Order letter;
        Integer quantity = 0;
        *lease << text::select_dead_letter, soci::into(letter.user), soci::into(letter.key),
            soci::into(quantity), soci::use(wanted, "id");
        if (!(*lease).got_data()) return order;
        letter.id = id;
        letter.quantity = quantity;
        return letter;
    });
}

Result<OrderPage> SqlOrderStore::list_orders(SaleNo sale, const OrderFilter& filter,
                                             const std::optional<OrderId>& after,
                                             std::size_t limit) {
    return guarded(name_, "listing orders", [&]() -> Result<OrderPage> {
        Lease lease(*pool_);
        const Transaction transaction(lease, Transaction::Kind::read);
        IdRange range = ids_of(sale);
        // One lower bound: SQLite takes the first of two to find its place and walks to the other.
        // No order has the lowest id: it would be of 1970.
        const std::string behind = after ? std::max(after->text(), range.lowest) : range.lowest;
        std::optional<std::string> looked_until;
        if (filter.status || filter.user) {
            std::string last;
            *lease << text::select_last_looked_at, soci::into(last), soci::use(behind, "after"),
                soci::use(range.highest, "highest"), soci::use(kLookBeyond, "rows");
            if ((*lease).got_data()) looked_until = range.highest = last;
        }
        const Integer status = filter.status ? static_cast<Integer>(*filter.status) : 0;
        const std::string user = filter.user.value_or("");
        const auto rows = static_cast<Integer>(limit) + 1; // one more says whether there is more
        std::string query =
            std::string(text::select_order_columns) + " WHERE id > :after AND id <= :highest";
        OrderRow row;
        soci::statement select(*lease);
        row.bind(select);
        select.exchange(soci::use(behind, "after"));
        select.exchange(soci::use(range.highest, "highest"));
        if (filter.status) {
            query += " AND status = :status";
            select.exchange(soci::use(status, "status"));
        }
        if (filter.user) {
            query += " AND user_id = :user_id";
            select.exchange(soci::use(user, "user_id"));
        }
        query += " ORDER BY id LIMIT :rows";
        select.exchange(soci::use(rows, "rows"));
        select.alloc();
        select.prepare(query);
        select.define_and_bind();
        OrderPage page;
        for (bool more = select.execute(true); more; more = select.fetch()) {
            auto order = row.order();
            if (!order) return tl::make_unexpected(std::move(order.error()));
            page.orders.push_back(std::move(*order));
        }
        if (page.orders.size() > limit) {
            page.orders.pop_back();
            page.next = page.orders.back().id;
        } else if (looked_until) {
            page.next = OrderId::parse(*looked_until);
        }
        return page;
    });
}

Result<void> SqlOrderStore::read_snapshot(std::span<const SaleNo> wanted, TimePoint keys_since,
                                          SaleSnapshotSink& sink) {
    return guarded(name_, "reading the store's snapshot", [&]() -> Result<void> {
        Lease lease(*pool_);
        soci::session& session = *lease;
        const Transaction transaction(lease, Transaction::Kind::read);
        std::vector<std::string> id(kFetchRows), user(kFetchRows), key(kFetchRows);
        std::vector<Integer> quantity(kFetchRows), status(kFetchRows);
        std::vector<SaleRow> rows;
        if (wanted.empty()) rows = select_sales(session, "ORDER BY no");
        for (const SaleNo no : wanted) {
            auto row = select_sales(session, "WHERE no = " + std::to_string(no.get()));
            std::ranges::move(row, std::back_inserter(rows));
        }
        for (const SaleRow& row : rows) {
            const SaleNo no = row.sale.terms.no;
            const Integer number = no.get();
            Integer letters = 0;
            Integer letter_units = 0;
            session << text::sum_dead_letters, soci::into(letters), soci::into(letter_units),
                soci::use(number, "sale_no");
            // What the log accepted and nobody holds.
            sink.sale(row.sale, letter_units,
                      row.log_accepted_units - row.sale.sold - letter_units);
            const auto closed_at = row.sale.terms.closed_at;
            if (closed_at && *closed_at < keys_since) continue;

            if (letters > 0) {
                soci::rowset<soci::row> set_aside =
                    (session.prepare << text::select_dead_letters, soci::use(number, "sale_no"));
                for (const soci::row& letter : set_aside) {
                    auto order = order_id_of(letter.get<std::string>(0));
                    if (!order) return tl::make_unexpected(std::move(order.error()));
                    sink.dead_letter(*order, letter.get<std::string>(1), letter.get<std::string>(2),
                                     number_at(letter, 3));
                }
            }
            const IdRange range = ids_of(no);
            soci::statement select =
                (session.prepare << text::select_orders_for_rebuild, soci::into(id),
                 soci::into(user), soci::into(key), soci::into(quantity), soci::into(status),
                 soci::use(range.lowest, "lowest"), soci::use(range.highest, "highest"));
            const auto make_room = [&] {
                for (auto* texts : {&id, &user, &key}) texts->resize(kFetchRows);
                for (auto* numbers : {&quantity, &status}) numbers->resize(kFetchRows);
            };
            make_room();
            select.execute();
            while (select.fetch()) {
                for (std::size_t i = 0; i < id.size(); ++i) {
                    auto order = order_id_of(id[i]);
                    if (!order) return tl::make_unexpected(std::move(order.error()));
                    sink.order(*order, user[i], key[i], quantity[i],
                               static_cast<OrderStatus>(status[i]));
                }
                make_room();
            }
        }
        return {};
    });
}

Result<Books> SqlOrderStore::books(const std::optional<std::string>& sale) {
    return guarded(name_, "reading the books", [&]() -> Result<Books> {
        Lease lease(*pool_);
        soci::session& session = *lease;
        const Transaction transaction(lease, Transaction::Kind::read);
        std::string log_id;
        Integer position = 1;
        session << text::select_log, soci::into(log_id), soci::into(position);
        Books books;
        books.next.set(kOnlyPartition, LogPosition(static_cast<std::uint64_t>(position)));
        auto rows = sale ? select_sales(session, "WHERE id = :id", *sale)
                         : select_sales(session, "ORDER BY no");
        if (sale && rows.empty()) return fail(Errc::not_found, "sale " + *sale);
        for (SaleRow& row : rows) {
            SaleBooks entry;
            const IdRange range = ids_of(row.sale.terms.no);
            soci::rowset<soci::row> by_status =
                (session.prepare << text::sum_orders_by_status, soci::use(range.lowest, "lowest"),
                 soci::use(range.highest, "highest"));
            for (const soci::row& r : by_status) {
                const auto status = static_cast<std::size_t>(number_at(r, 0));
                if (status >= kOrderStatuses) {
                    return fail(Errc::corrupt, "an order with status " + std::to_string(status));
                }
                entry.orders[status] = number_at(r, 1);
                entry.units[status] = number_at(r, 2);
            }
            const Integer limit = row.per_user_limit_ever;
            soci::rowset<soci::row> over =
                (session.prepare << text::select_users_over_limit,
                 soci::use(range.lowest, "lowest"), soci::use(range.highest, "highest"),
                 soci::use(limit, "per_user_limit"));
            for (const soci::row& r : over) {
                entry.over_limit.push_back({r.get<std::string>(0), number_at(r, 1)});
            }
            const Integer number = row.sale.terms.no.get();
            Integer letters = 0;
            Integer letter_units = 0;
            Integer give_backs = 0;
            session << text::sum_dead_letters, soci::into(letters), soci::into(letter_units),
                soci::use(number, "sale_no");
            session << text::count_give_backs, soci::into(give_backs),
                soci::use(range.lowest, "lowest"), soci::use(range.highest, "highest");
            entry.give_backs = give_backs;
            entry.dead_letters = letters;
            entry.dead_letter_units = letter_units;
            entry.log_accepted_units = row.log_accepted_units;
            entry.log_accepted_orders = row.log_accepted_orders;
            entry.barrier = row.barrier;
            entry.voided_orders = row.voided_orders;
            entry.per_user_limit_ever = row.per_user_limit_ever;
            entry.sale = std::move(row.sale);
            books.sales.push_back(std::move(entry));
        }
        return books;
    });
}

OrderStore::Connections SqlOrderStore::connections() const {
    const std::size_t in_use = pool_->in_use();
    return {in_use, pool_->size() - std::min(in_use, pool_->size())};
}

Result<void> SqlOrderStore::ping() {
    return guarded(name_, "reaching the store", [&]() -> Result<void> {
        Lease lease(*pool_);
        Integer version = 0;
        *lease << text::select_schema_version, soci::into(version);
        return {};
    });
}

} // namespace doorbuster::sql
