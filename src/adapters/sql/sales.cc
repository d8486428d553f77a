// The sales of the order store: creating, reading, changing, their journal, opening epochs.
#include "adapters/sql/order_store.h"
#include "adapters/sql/pool.h"
#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"
#include "adapters/sql/writer.h"

namespace doorbuster::sql {
namespace {

// The terms as columns, for INSERT and UPDATE.
struct TermsColumns {
    explicit TermsColumns(const SaleTerms& terms)
        : id(terms.id),
          title(terms.title),
          stock(terms.stock),
          per_user_limit(terms.per_user_limit),
          starts_at(to_ms(terms.starts_at)),
          payment_timeout_ms(terms.payment_timeout.count()),
          paused(terms.paused ? 1 : 0),
          terms_version(terms.version),
          ends_at(to_ms(terms.ends_at)),
          price(terms.price ? std::optional<Integer>(*terms.price) : std::nullopt),
          closed_at(to_ms(terms.closed_at)),
          currency(terms.currency) {}

    void bind(soci::statement& statement) {
        statement.exchange(soci::use(title, "title"));
        statement.exchange(soci::use(stock, "stock"));
        statement.exchange(soci::use(per_user_limit, "per_user_limit"));
        statement.exchange(soci::use(per_user_limit, "limit_ever"));
        statement.exchange(soci::use(starts_at, "starts_at"));
        statement.exchange(soci::use(ends_at.value, ends_at.indicator, "ends_at"));
        statement.exchange(soci::use(price.value, price.indicator, "price"));
        statement.exchange(soci::use(currency.value, currency.indicator, "currency"));
        statement.exchange(soci::use(payment_timeout_ms, "payment_timeout_ms"));
        statement.exchange(soci::use(paused, "paused"));
        statement.exchange(soci::use(closed_at.value, closed_at.indicator, "closed_at"));
        statement.exchange(soci::use(terms_version, "terms_version"));
    }

    std::string id, title;
    Integer stock, per_user_limit, starts_at, payment_timeout_ms, paused, terms_version;
    Nullable<Integer> ends_at, price, closed_at;
    Nullable<std::string> currency;
};

// Runs a prepared text with what was exchanged; the number of rows it changed.
Integer execute(soci::statement& statement, const char* sql) {
    statement.alloc();
    statement.prepare(sql);
    statement.define_and_bind();
    statement.execute(true);
    return statement.get_affected_rows();
}

// Writes down what was changed, in the change's own transaction.
void write_journal(soci::session& session, SaleNo sale, TimePoint now, const JournalNote& note,
                   const std::pair<std::string, std::string>& changed) {
    const Integer no = sale.get();
    const Integer at = to_ms(now);
    session << text::insert_journal, soci::use(no, "no"), soci::use(at, "at"),
        soci::use(note.who, "who"), soci::use(note.what, "what"),
        soci::use(changed.first, "before"), soci::use(changed.second, "after");
}

// The request that was made under the key, if one was.
std::optional<std::string> request_under(soci::session& session, SaleNo sale,
                                         const std::string& key) {
    const Integer no = sale.get();
    std::string request;
    session << text::select_change_request, soci::into(request), soci::use(no, "no"),
        soci::use(key, "key");
    if (!session.got_data()) return std::nullopt;
    return request;
}

} // namespace

Integer number_at(const soci::row& row, std::size_t column) {
    switch (row.get_properties(column).get_data_type()) {
    case soci::dt_integer: return row.get<int>(column);
    case soci::dt_long_long: return row.get<long long>(column);
    case soci::dt_unsigned_long_long:
        return static_cast<Integer>(row.get<unsigned long long>(column));
    case soci::dt_double: return static_cast<Integer>(row.get<double>(column));
    case soci::dt_string: return std::stoll(row.get<std::string>(column));
    case soci::dt_date:
    case soci::dt_blob:
    case soci::dt_xml: break;
    }
    throw soci::soci_error("a column is not a number");
}

std::vector<SaleRow> select_sales(soci::session& session, const std::string& tail,
                                  const std::optional<std::string>& id) {
    SaleRow row;
    SaleTerms& terms = row.sale.terms;
    Integer no = 0, stock = 0, limit = 0, starts_at = 0, timeout_ms = 0, paused = 0, version = 0;
    Integer sold = 0, epoch = 0, barrier = 0;
    Nullable<Integer> ends_at, price, closed_at;
    Nullable<std::string> currency;
    soci::statement select(session);
    select.exchange(soci::into(no));
    select.exchange(soci::into(terms.id));
    select.exchange(soci::into(terms.title));
    select.exchange(soci::into(stock));
    select.exchange(soci::into(limit));
    select.exchange(soci::into(starts_at));
    select.exchange(soci::into(ends_at.value, ends_at.indicator));
    select.exchange(soci::into(price.value, price.indicator));
    select.exchange(soci::into(currency.value, currency.indicator));
    select.exchange(soci::into(timeout_ms));
    select.exchange(soci::into(paused));
    select.exchange(soci::into(closed_at.value, closed_at.indicator));
    select.exchange(soci::into(version));
    select.exchange(soci::into(sold));
    select.exchange(soci::into(epoch));
    select.exchange(soci::into(barrier));
    select.exchange(soci::into(row.log_accepted_orders));
    select.exchange(soci::into(row.log_accepted_units));
    select.exchange(soci::into(row.per_user_limit_ever));
    select.exchange(soci::into(row.voided_orders));
    select.exchange(soci::into(row.created_as));
    const std::string wanted = id.value_or("");
    if (id) select.exchange(soci::use(wanted, "id"));
    select.alloc();
    select.prepare(std::string(text::select_sale_columns) + "\n" + tail);
    select.define_and_bind();
    std::vector<SaleRow> rows;
    for (bool more = select.execute(true); more; more = select.fetch()) {
        terms.no = SaleNo(static_cast<std::uint32_t>(no));
        terms.stock = stock;
        terms.per_user_limit = limit;
        terms.starts_at = from_ms(starts_at);
        terms.ends_at = from_ms(ends_at.get());
        terms.price = price.get();
        terms.currency = currency.get();
        terms.payment_timeout = Duration(timeout_ms);
        terms.paused = paused != 0;
        terms.closed_at = from_ms(closed_at.get());
        terms.version = version;
        row.sale.sold = sold;
        row.sale.epoch = Epoch(static_cast<std::uint64_t>(epoch));
        row.barrier = Epoch(static_cast<std::uint64_t>(barrier));
        rows.push_back(row);
    }
    return rows;
}

Result<std::pair<StoredSale, bool>> SqlOrderStore::create_sale(const SaleTerms& terms,
                                                               const std::string& created_as,
                                                               const std::string& who) {
    return guarded(name_, "creating a sale", [&]() -> Result<std::pair<StoredSale, bool>> {
        Lease lease(*pool_);
        Transaction transaction(lease, Transaction::Kind::write);
        if (auto there = select_sales(*lease, "WHERE id = :id", terms.id); !there.empty()) {
            if (there.front().created_as == created_as) {
                return std::pair(std::move(there.front().sale), false);
            }
            return fail(Errc::conflict, "sale " + terms.id);
        }
        TermsColumns columns(terms);
        soci::statement insert(*lease);
        insert.exchange(soci::use(columns.id, "id"));
        columns.bind(insert);
        insert.exchange(soci::use(created_as, "created_as"));
        execute(insert, text::insert_sale);
        auto made = select_sales(*lease, "WHERE id = :id", terms.id);
        const SaleTerms& stored = made.front().sale.terms;
        write_journal(*lease, stored.no, clock_->now(), {who, "created"},
                      changed_terms(nullptr, stored));
        transaction.commit();
        return std::pair(std::move(made.front().sale), true);
    });
}

Result<StoredSale> SqlOrderStore::find_sale(std::string_view id) {
    return guarded(name_, "reading a sale", [&]() -> Result<StoredSale> {
        Lease lease(*pool_);
        auto rows = select_sales(*lease, "WHERE id = :id", std::string(id));
        if (rows.empty()) return fail(Errc::not_found, "sale " + std::string(id));
        return std::move(rows.front().sale);
    });
}

Result<std::vector<StoredSale>> SqlOrderStore::list_sales(const std::string& after,
                                                          std::size_t limit) {
    return guarded(name_, "listing sales", [&]() -> Result<std::vector<StoredSale>> {
        Lease lease(*pool_);
        const std::string tail = "WHERE id > :id ORDER BY id LIMIT " + std::to_string(limit);
        std::vector<StoredSale> sales;
        for (SaleRow& row : select_sales(*lease, tail, after)) {
            sales.push_back(std::move(row.sale));
        }
        return sales;
    });
}

Result<StoredSale> SqlOrderStore::change_sale(const std::string& id, const TermsChange& change,
                                              const std::optional<ChangeKey>& key,
                                              const JournalNote& note) {
    return guarded(name_, "changing a sale", [&]() -> Result<StoredSale> {
        Lease lease(*pool_);
        Transaction transaction(lease, Transaction::Kind::write);
        auto rows = select_sales(*lease, "WHERE id = :id", id);
        if (rows.empty()) return fail(Errc::not_found, "sale " + id);
        StoredSale sale = std::move(rows.front().sale);
        const Integer no = sale.terms.no.get();
        if (key) {
            if (const auto request = request_under(*lease, sale.terms.no, key->key)) {
                if (*request == key->request) return sale;
                return fail(Errc::conflict, "the key is bound to another change");
            }
        }
        const SaleTerms before = sale.terms;
        if (auto changed = change(sale); !changed) {
            return tl::make_unexpected(std::move(changed.error()));
        }
        if (sale.terms != before) {
            sale.terms.version = before.version + 1;
            const Integer old_version = before.version;
            TermsColumns columns(sale.terms);
            soci::statement update(*lease);
            columns.bind(update);
            update.exchange(soci::use(columns.per_user_limit, "limit_again"));
            update.exchange(soci::use(no, "no"));
            update.exchange(soci::use(old_version, "old_version"));
            if (execute(update, text::update_terms) != 1) {
                return fail(Errc::conflict, "sale " + id + " was changed at the same time");
            }
            write_journal(*lease, sale.terms.no, clock_->now(), note,
                          changed_terms(&before, sale.terms));
        }
        if (key) {
            *lease << text::insert_change, soci::use(no, "no"), soci::use(key->key, "key"),
                soci::use(key->request, "request");
        }
        transaction.commit();
        return sale;
    });
}

Result<std::string> SqlOrderStore::find_change(SaleNo sale, const std::string& key) {
    return guarded(name_, "reading a change of a sale", [&]() -> Result<std::string> {
        Lease lease(*pool_);
        if (auto request = request_under(*lease, sale, key)) return std::move(*request);
        return fail(Errc::not_found, "no change under this key");
    });
}

Result<bool> SqlOrderStore::is_withdrawn(const OrderId& withdrawal) {
    return guarded(name_, "reading a withdrawal", [&]() -> Result<bool> {
        Lease lease(*pool_);
        const std::string id = withdrawal.text();
        Integer times = 0;
        *lease << text::select_withdrawal, soci::into(times), soci::use(id, "id");
        return times > 0;
    });
}

Result<std::vector<JournalEntry>> SqlOrderStore::journal(SaleNo sale, std::int64_t after,
                                                         std::size_t limit) {
    return guarded(name_, "reading a journal", [&]() -> Result<std::vector<JournalEntry>> {
        Lease lease(*pool_);
        const Integer no = sale.get();
        const Integer after_seq = after;
        const auto rows = static_cast<Integer>(limit);
        JournalEntry entry;
        Integer seq = 0;
        Integer at = 0;
        soci::statement select =
            ((*lease).prepare << text::select_journal, soci::into(seq), soci::into(at),
             soci::into(entry.who), soci::into(entry.what), soci::into(entry.before),
             soci::into(entry.after), soci::use(no, "no"), soci::use(after_seq, "seq"),
             soci::use(rows, "rows"));
        std::vector<JournalEntry> entries;
        for (bool more = select.execute(true); more; more = select.fetch()) {
            entry.seq = seq;
            entry.at = from_ms(at);
            entries.push_back(entry);
        }
        return entries;
    });
}

Result<std::vector<StoredSale>> SqlOrderStore::next_epochs(std::span<const SaleNo> wanted) {
    return guarded(name_, "opening the next epoch", [&]() -> Result<std::vector<StoredSale>> {
        Lease lease(*pool_);
        Transaction transaction(lease, Transaction::Kind::write);
        std::vector<StoredSale> sales;
        if (wanted.empty()) *lease << text::raise_epoch_of_all;
        for (const SaleNo no : wanted) {
            const Integer number = no.get();
            *lease << text::raise_epoch, soci::use(number, "no");
            auto rows = select_sales(*lease, "WHERE no = " + std::to_string(number));
            if (rows.empty()) return fail(Errc::not_found, "sale " + std::to_string(number));
            sales.push_back(std::move(rows.front().sale));
        }
        if (wanted.empty()) {
            for (SaleRow& row : select_sales(*lease, "ORDER BY no")) {
                sales.push_back(std::move(row.sale));
            }
        }
        transaction.commit();
        return sales;
    });
}

} // namespace doorbuster::sql
