// The dead letters, for an operator: listing, replaying and dropping them.
#include "adapters/sql/dead_letter_row.h"
#include "adapters/sql/order_effects.h"
#include "adapters/sql/order_row.h"
#include "adapters/sql/order_store.h"
#include "adapters/sql/pool.h"
#include "adapters/sql/sale_row.h"
#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {
namespace {

using Kind = Transaction::Kind;

struct StoredLetter {
    DeadLetter letter;
    bool is_counted = false; // among the units that its sale says the log accepted
};

// `tail` is what follows FROM, with at most the parameters `after` and `rows`.
Result<std::vector<StoredLetter>> select_letters(Session& session, const std::string& tail,
                                                 const std::string& after, Integer rows) {
    std::string id;
    StoredLetter row;
    DeadLetter& letter = row.letter;
    Integer sale = 0, quantity = 0, is_counted = 0, at = 0;
    Nullable<Integer> dropped_at;
    Result<std::vector<StoredLetter>> letters;
    const auto on_row = [&] {
        const auto order = order_id_of(id);
        if (!order) letters = tl::make_unexpected(order.error());
        if (!letters) return;
        letter.order = *order;
        letter.sale = SaleNo(static_cast<std::uint32_t>(sale));
        letter.quantity = quantity;
        letter.at = from_ms(at);
        letter.dropped_at = from_ms(dropped_at.get());
        row.is_counted = is_counted != 0;
        letters->push_back(row);
    };
    session.each(session.text(text::select_letter_columns) + " " + tail, on_row, soci::into(id),
                 soci::into(sale), soci::into(letter.user), soci::into(letter.key),
                 soci::into(quantity), soci::into(letter.cause), soci::into(is_counted),
                 soci::into(letter.raw), soci::into(at),
                 soci::into(dropped_at.value, dropped_at.indicator), soci::into(letter.drop_cause),
                 soci::use(after, "after"), soci::use(rows, "rows"));
    return letters;
}

// The letter, locked after its sale.
Result<StoredLetter> lock_letter(Session& session, const OrderId& order) {
    const std::string tail =
        "WHERE order_id = :after LIMIT :rows " + session.text(text::lock_clause);
    auto found = select_letters(session, tail, order.text(), 1);
    if (!found) return tl::make_unexpected(std::move(found.error()));
    if (found->empty()) return fail(Errc::not_found, "dead letter " + order.text());
    return std::move(found->front());
}

} // namespace

Result<std::vector<DeadLetter>> SqlOrderStore::dead_letters(const std::optional<OrderId>& after,
                                                            std::size_t limit) {
    const auto read = [&](Session& session, Attempt&) -> Result<std::vector<DeadLetter>> {
        auto rows = select_letters(session, "WHERE order_id > :after ORDER BY order_id LIMIT :rows",
                                   after ? after->text() : "", static_cast<Integer>(limit));
        if (!rows) return tl::make_unexpected(std::move(rows.error()));
        std::vector<DeadLetter> letters;
        for (StoredLetter& row : *rows) letters.push_back(std::move(row.letter));
        return letters;
    };
    return transact(*pool_, "listing dead letters", Kind::none, read);
}

Result<Order> SqlOrderStore::replay_dead_letter(const OrderId& id) {
    const auto write = [&](Session& session, Attempt& attempt) -> Result<Order> {
        const auto sale = select_sale(session, id.sale(), RowLock::update);
        const auto stored = lock_letter(session, id);
        if (!stored && attempt.is_commit_unknown) return select_order(session, id);
        if (!stored) return tl::make_unexpected(stored.error());
        const DeadLetter& letter = stored->letter;
        if (letter.dropped_at) return fail(Errc::wrong_state, "the letter was dropped");
        if (!letter.raw.empty()) return fail(Errc::wrong_state, "the record is no order");
        if (!sale) return fail(Errc::wrong_state, "its sale is not there");
        if (sale->sale.sold + letter.quantity > sale->sale.terms.stock) {
            return fail(Errc::wrong_state, "its sale has no room for it: raise the stock first");
        }
        const TimePoint now = session.now(clock_);
        const Duration timeout = sale->sale.terms.payment_timeout;
        const Rows::Texts ids{id.text()}, users{letter.user}, keys{letter.key};
        const Rows::Numbers sales{letter.sale.get()}, quantities{letter.quantity},
            created_at{to_ms(id.created_at())}, expires_at{to_ms(now + timeout)};
        const Rows::Indicators has_expiry{timeout > Duration(0) ? soci::i_ok : soci::i_null};
        Rows order(1);
        order.add("id", ids).add("sale_no", sales).add("user_id", users);
        order.add("quantity", quantities).add("created_at", created_at);
        order.add("expires_at", expires_at, &has_expiry).add("idempotency_key", keys);
        order.run(session, text::insert_order);
        const Integer no = id.sale().get();
        const Integer counted = stored->is_counted ? 0 : 1; // with its units, if not yet
        const Integer accepted = counted * letter.quantity;
        session.run(text::take_units, soci::use(quantities[0], "units"),
                    soci::use(counted, "orders"), soci::use(accepted, "accepted_units"),
                    soci::use(no, "no"));
        session.run(text::delete_dead_letter, soci::use(ids[0], "id"));
        Effects effects(now, with_events_);
        effects.changed(id, OrderStatus::confirmed, 1, letter.quantity);
        auto written = effects.write(session);
        if (!written) return tl::make_unexpected(std::move(written.error()));
        return select_order(session, id);
    };
    auto order = transact(*pool_, "replaying a dead letter", Kind::write, write);
    if (!order && order.error().is(Errc::conflict)) { // a constraint: the same as before
        return fail(Errc::wrong_state, order.error().context);
    }
    return order;
}

Result<GiveBack> SqlOrderStore::drop_dead_letter(const OrderId& id, const std::string& cause) {
    const auto write = [&](Session& session, Attempt&) -> Result<GiveBack> {
        auto sale = select_sale(session, id.sale(), RowLock::update);
        const auto stored = lock_letter(session, id);
        if (!stored) return tl::make_unexpected(stored.error());
        GiveBack given_back;
        if (sale) given_back.sale = std::move(sale->sale);
        if (stored->letter.dropped_at) return given_back;
        const std::string text = id.text();
        const std::string why = storable_text(cause);
        const Integer now = to_ms(session.now(clock_));
        session.run(text::drop_dead_letter, soci::use(now, "now"), soci::use(why, "cause"),
                    soci::use(text, "id"));
        if (!sale || !stored->is_counted) return given_back; // it held nothing
        given_back.orders.push_back(id);
        const Rows::Texts ids{text};
        const Rows::Numbers numbers{id.sale().get()};
        Rows row(1);
        row.add("order_id", ids).add("sale_no", numbers).run(session, text::insert_give_back);
        return given_back;
    };
    return transact(*pool_, "dropping a dead letter", Kind::write, write);
}

} // namespace doorbuster::sql
