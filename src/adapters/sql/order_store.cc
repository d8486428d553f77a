// Opening the store, and which log it takes its orders from.
#include "adapters/sql/order_store.h"

#include "adapters/sql/migration.h"
#include "adapters/sql/pool.h"
#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"
#include "adapters/sql/writer.h"

namespace doorbuster::sql {

using Kind = Transaction::Kind;

SqlOrderStore::SqlOrderStore() = default;
SqlOrderStore::~SqlOrderStore() = default;

Result<std::unique_ptr<SqlOrderStore>> SqlOrderStore::open(OrderStoreOptions options) {
    using Opened = std::unique_ptr<SqlOrderStore>;
    const auto url = parse_store_url(options.url);
    if (!url) return tl::make_unexpected(url.error());
    return guarded(*url, "opening the order store", [&]() -> Result<Opened> {
        SessionOptions session_options;
        session_options.is_read_only = options.mode == StoreMode::read_only;
        Opened store(new SqlOrderStore);
        store->clock_ = options.clock;
        store->with_events_ = options.with_events;
        store->on_stock_moved_ = options.on_stock_moved;
        store->pool_ = std::make_unique<Pool>(*url, session_options, options.pool_size);
        store->pool_->open();
        {
            Lease lease(*store->pool_);
            auto ready =
                bring_up_to_date(*lease, store->pool_->writes(), session_options.is_read_only);
            if (!ready) return tl::make_unexpected(std::move(ready.error()));
        }
        if (!session_options.is_read_only) {
            SessionOptions counted;
            counted.meter = &store->pool_->meter();
            store->writer_session_ = std::make_unique<Session>(*url, counted);
            store->writer_ = std::make_unique<Writer>(store->writer_parts(*store->writer_session_));
        }
        return store;
    });
}

Result<void> SqlOrderStore::adopt() {
    return guarded(pool_->url(), "taking over its files", [&]() -> Result<void> {
        if (pool_->url().dialect != Dialect::sqlite) return {};
        for (const auto& session : pool_->sessions()) set_on_close(*session, OnClose::tidy_up);
        if (writer_) writer_->adopt();
        // As the log does: what a failed sync left behind is written anew and synced.
        Lease lease(*pool_);
        int busy = 0;
        int pages = 0;
        int copied = 0;
        (*lease).soci() << "PRAGMA wal_checkpoint(TRUNCATE)", soci::into(busy), soci::into(pages),
            soci::into(copied);
        return {};
    });
}

// Without a transaction: the id is for good, and each position only rises.
Result<LogBinding> SqlOrderStore::log_binding() {
    const auto read = [](Session& session, Attempt&) -> Result<LogBinding> {
        LogBinding binding;
        session.read(text::select_log, soci::into(binding.log_id));
        binding.next = select_positions(session);
        return binding;
    };
    return transact(*pool_, "reading the log's position", Kind::none, read);
}

Result<void> SqlOrderStore::bind_log(const std::string& log_id) {
    const auto write = [&](Session& session, Attempt&) -> Result<void> {
        std::string bound;
        if (!session.read(text::select_log, soci::into(bound))) {
            session.run(text::insert_log, soci::use(log_id, "log_id"));
        } else if (bound != log_id) {
            return fail(Errc::conflict, "the store belongs to log " + bound);
        }
        return {};
    };
    auto result = transact(*pool_, "naming the log", Kind::write, write);
    // Another process was first: now its row is there to look at.
    if (!result && result.error().is(Errc::conflict)) {
        result = transact(*pool_, "naming the log", Kind::write, write);
    }
    return result;
}

OrderStore::Connections SqlOrderStore::connections() const {
    return {pool_->in_use(), pool_->idle()};
}

OrderStore::Usage SqlOrderStore::usage() const { return pool_->meter().read(); }

Result<StockSighting> SqlOrderStore::look_at_stock(SaleNo sale) {
    const auto read = [&](Session& session, Attempt&) -> Result<StockSighting> {
        const Integer no = sale.get();
        Integer stock = 0, sold = 0, version = 0;
        if (!session.read(text::select_stock, soci::into(stock), soci::into(sold),
                          soci::into(version), soci::use(no, "no"))) {
            return fail(Errc::not_found, "sale number " + std::to_string(no));
        }
        return StockSighting{stock, sold, version};
    };
    return transact(*pool_, "looking at the stock", Kind::none, read);
}

Result<void> SqlOrderStore::ping() {
    const auto read = [](Session& session, Attempt&) -> Result<void> {
        Integer version = 0;
        session.read(text::select_schema_version, soci::into(version));
        return {};
    };
    return transact(*pool_, "reaching the store", Kind::none, read);
}

} // namespace doorbuster::sql
