// The sales of the order store: creating, reading, changing, their journal, opening epochs.
#include <algorithm>

#include "adapters/sql/order_store.h"
#include "adapters/sql/pool.h"
#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"
#include "adapters/sql/writer.h"

namespace doorbuster::sql {
namespace {

using Kind = Transaction::Kind;

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

// Writes down what was changed, in the change's own transaction.
void write_journal(Session& session, SaleNo sale, TimePoint now, const JournalNote& note,
                   const std::pair<std::string, std::string>& changed) {
    const Integer no = sale.get();
    const Integer at = to_ms(now);
    session.run(text::insert_journal, soci::use(no, "no"), soci::use(at, "at"),
                soci::use(note.who, "who"), soci::use(note.what, "what"),
                soci::use(changed.first, "before"), soci::use(changed.second, "after"));
}

// Is exactly this in the journal? Asked when a commit's answer was lost.
bool is_in_journal(Session& session, SaleNo sale, TimePoint now, const JournalNote& note,
                   const std::pair<std::string, std::string>& changed) {
    const Integer no = sale.get();
    const Integer at = to_ms(now);
    Integer times = 0;
    session.read(text::count_journal, soci::into(times), soci::use(no, "no"), soci::use(at, "at"),
                 soci::use(note.who, "who"), soci::use(note.what, "what"),
                 soci::use(changed.first, "before"), soci::use(changed.second, "after"));
    return times > 0;
}

// The request that was made under the key, if one was.
std::optional<std::string> request_under(Session& session, SaleNo sale, const std::string& key) {
    const Integer no = sale.get();
    std::string request;
    const bool is_there = session.read(text::select_change_request, soci::into(request),
                                       soci::use(no, "no"), soci::use(key, "key"));
    if (!is_there) return std::nullopt;
    return request;
}

} // namespace

Result<std::pair<StoredSale, bool>> SqlOrderStore::create_sale(const SaleTerms& terms,
                                                               const std::string& created_as,
                                                               const std::string& who) {
    using Created = std::pair<StoredSale, bool>;
    const auto create = [&](Session& session, Attempt& attempt) -> Result<Created> {
        if (auto there = select_sale(session, terms.id, RowLock::none)) {
            if (there->created_as != created_as) return fail(Errc::conflict, "sale " + terms.id);
            return Created(std::move(there->sale), attempt.is_commit_unknown);
        }
        TermsColumns columns(terms);
        const Integer partition = terms.partition.get();
        soci::statement insert(session.soci());
        insert.exchange(soci::use(columns.id, "id"));
        columns.bind(insert);
        insert.exchange(soci::use(created_as, "created_as"));
        insert.exchange(soci::use(partition, "log_partition"));
        session.execute_bound(insert, session.text(text::insert_sale));
        auto made = select_sale(session, terms.id, RowLock::none);
        if (!made) return fail(Errc::io, "sale " + terms.id + " is gone at once");
        const SaleTerms& stored = made->sale.terms;
        write_journal(session, stored.no, session.now(clock_), {who, "created"},
                      changed_terms(nullptr, stored));
        return Created(std::move(made->sale), true);
    };
    auto created = transact(*pool_, "creating a sale", Kind::write, create);
    // Another process was first: now its row is there to look at.
    if (!created && created.error().is(Errc::conflict)) {
        created = transact(*pool_, "creating a sale", Kind::write, create);
    }
    return created;
}

Result<StoredSale> SqlOrderStore::find_sale(std::string_view id) {
    const auto read = [&](Session& session, Attempt&) -> Result<StoredSale> {
        auto row = select_sale(session, std::string(id), RowLock::none);
        if (!row) return fail(Errc::not_found, "sale " + std::string(id));
        return std::move(row->sale);
    };
    return transact(*pool_, "reading a sale", Kind::none, read);
}

Result<std::vector<StoredSale>> SqlOrderStore::list_sales(const std::string& after,
                                                          std::size_t limit) {
    const auto read = [&](Session& session, Attempt&) -> Result<std::vector<StoredSale>> {
        const std::string tail = "WHERE id > :id ORDER BY id LIMIT " + std::to_string(limit);
        std::vector<StoredSale> sales;
        for (SaleRow& row : select_sales(session, tail, after)) {
            sales.push_back(std::move(row.sale));
        }
        return sales;
    };
    return transact(*pool_, "listing sales", Kind::none, read);
}

Result<StoredSale> SqlOrderStore::change_sale(const std::string& id, const TermsChange& change,
                                              const std::optional<ChangeKey>& key,
                                              const JournalNote& note) {
    // What an attempt has written, for the next one if nobody knows what became of it.
    TimePoint now;
    std::pair<std::string, std::string> changed;
    const auto write = [&](Session& session, Attempt& attempt) -> Result<StoredSale> {
        auto row = select_sale(session, id, RowLock::update);
        if (!row) return fail(Errc::not_found, "sale " + id);
        StoredSale sale = std::move(row->sale);
        const Integer no = sale.terms.no.get();
        if (attempt.is_commit_unknown &&
            is_in_journal(session, sale.terms.no, now, note, changed)) {
            return sale;
        }
        if (key) {
            if (const auto request = request_under(session, sale.terms.no, key->key)) {
                if (*request == key->request) return sale;
                return fail(Errc::conflict, "the key is bound to another change");
            }
        }
        const SaleTerms before = sale.terms;
        if (auto allowed = change(sale); !allowed) {
            return tl::make_unexpected(std::move(allowed.error()));
        }
        if (sale.terms != before) {
            sale.terms.version = before.version + 1;
            const Integer old_version = before.version;
            TermsColumns columns(sale.terms);
            soci::statement update(session.soci());
            columns.bind(update);
            update.exchange(soci::use(no, "no"));
            update.exchange(soci::use(old_version, "old_version"));
            session.execute_bound(update, session.text(text::update_terms));
            if (update.get_affected_rows() != 1) {
                return fail(Errc::conflict, "sale " + id + " was changed at the same time");
            }
            now = session.now(clock_);
            changed = changed_terms(&before, sale.terms);
            write_journal(session, sale.terms.no, now, note, changed);
        }
        if (key) {
            session.run(text::insert_change, soci::use(no, "no"), soci::use(key->key, "key"),
                        soci::use(key->request, "request"));
        }
        return sale;
    };
    return transact(*pool_, "changing a sale", Kind::write, write);
}

Result<std::string> SqlOrderStore::find_change(SaleNo sale, const std::string& key) {
    const auto read = [&](Session& session, Attempt&) -> Result<std::string> {
        if (auto request = request_under(session, sale, key)) return std::move(*request);
        return fail(Errc::not_found, "no change under this key");
    };
    return transact(*pool_, "reading a change of a sale", Kind::none, read);
}

Result<bool> SqlOrderStore::is_withdrawn(const OrderId& withdrawal) {
    const auto read = [&](Session& session, Attempt&) -> Result<bool> {
        const std::string id = withdrawal.text();
        Integer times = 0;
        session.read(text::select_withdrawal, soci::into(times), soci::use(id, "id"));
        return times > 0;
    };
    return transact(*pool_, "reading a withdrawal", Kind::none, read);
}

Result<std::vector<JournalEntry>> SqlOrderStore::journal(SaleNo sale, std::int64_t after,
                                                         std::size_t limit) {
    const auto read = [&](Session& session, Attempt&) -> Result<std::vector<JournalEntry>> {
        const Integer no = sale.get();
        const Integer after_seq = after;
        const auto rows = static_cast<Integer>(limit);
        JournalEntry entry;
        Integer seq = 0;
        Integer at = 0;
        std::vector<JournalEntry> entries;
        session.each(
            text::select_journal,
            [&] {
                entry.seq = seq;
                entry.at = from_ms(at);
                entries.push_back(entry);
            },
            soci::into(seq), soci::into(at), soci::into(entry.who), soci::into(entry.what),
            soci::into(entry.before), soci::into(entry.after), soci::use(no, "no"),
            soci::use(after_seq, "seq"), soci::use(rows, "rows"));
        return entries;
    };
    return transact(*pool_, "reading a journal", Kind::none, read);
}

Result<std::vector<StoredSale>> SqlOrderStore::next_epochs(std::span<const SaleNo> wanted) {
    // A commit whose answer was lost is simply made again: epochs only have to grow.
    const auto write = [&](Session& session, Attempt&) -> Result<std::vector<StoredSale>> {
        std::vector<StoredSale> sales;
        if (wanted.empty()) {
            if (session.is_shared()) session.run(text::lock_sales); // in their order
            session.run(text::raise_epoch_of_all);
            for (SaleRow& row : select_sales(session, "ORDER BY no")) {
                sales.push_back(std::move(row.sale));
            }
            return sales;
        }
        std::vector<SaleNo> in_order(wanted.begin(), wanted.end());
        std::ranges::sort(in_order);
        for (const SaleNo no : in_order) {
            const Integer number = no.get();
            if (session.run(text::raise_epoch, soci::use(number, "no")) == 0) {
                return fail(Errc::not_found, "sale " + std::to_string(number));
            }
        }
        for (const SaleNo no : wanted) {
            auto row = select_sale(session, no, RowLock::none);
            if (!row) return fail(Errc::not_found, "sale " + std::to_string(no.get()));
            sales.push_back(std::move(row->sale));
        }
        return sales;
    };
    return transact(*pool_, "opening the next epoch", Kind::write, write);
}

} // namespace doorbuster::sql
