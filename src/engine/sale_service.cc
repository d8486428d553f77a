#include "engine/sale_service.h"

#include <array>
#include <functional>
#include <memory>
#include <string_view>

namespace doorbuster {
namespace {

const std::optional<OrderStore::ChangeKey> kNoKey;

// Beside the sources of the cores' order ids, which are numbered from 0.
constexpr std::uint16_t kWithdrawalSource = 0xffff;
// How long a withdrawal waits for the order writer, which is milliseconds behind unless the store
// is down.
constexpr Duration kWriterWaitMax{5'000};
constexpr const char* kMayStillHappen =
    "The change waits to be written and may still happen. Look at the sale, or try again with the "
    "same Idempotency-Key.";

Stop sale_is_closed() { return Error{make_error_code(Errc::wrong_state), "The sale is closed."}; }

const char* name_of(const SaleEdit& edit) {
    const bool is_more = edit.title || edit.per_user_limit || edit.starts_at || edit.ends_at;
    if (is_more || !edit.paused) return "edited";
    return *edit.paused ? "paused" : "resumed";
}

} // namespace

Task<Result<std::pair<SaleTerms, bool>>>
SaleService::create(const SaleTerms& terms, const std::string& created_as, const std::string& who) {
    if (parts_.no_payment_step != nullptr && terms.payment_timeout > Duration(0)) {
        co_return fail(Errc::invalid, parts_.no_payment_step);
    }
    SaleTerms placed = terms;
    const auto spread = static_cast<std::uint32_t>(std::hash<std::string>{}(terms.id));
    placed.partition = LogPartition(spread % parts_.partitions);
    auto insert = [this, &placed, &created_as, &who] {
        return parts_.store.create_sale(placed, created_as, who);
    };
    auto created = co_await parts_.blocking.run(insert);
    if (!created) co_return tl::make_unexpected(std::move(created.error()));
    const auto& [sale, is_new] = *created;
    // Known from here on, and cold: purchases hear 503 until it is built, not 404.
    co_await parts_.rebuild.publish(std::make_shared<const SaleTerms>(sale.terms));
    auto built = co_await parts_.rebuild.run_if_cold(sale.terms.no);
    if (!built && built.error().is(Errc::fenced)) {
        // Another node was at it, too, and later.
        const bool is_warm = co_await parts_.rebuild.warm(sale.terms.no, kWriterWaitMax);
        if (is_warm) built = Result<void>();
    }
    if (!built) co_return tl::make_unexpected(std::move(built.error()));
    co_return std::pair(sale.terms, is_new);
}

Task<Result<SaleTerms>> SaleService::change(const std::string& id,
                                            const OrderStore::TermsChange& change,
                                            const std::optional<ChangeKey>& key,
                                            const JournalNote& note) {
    auto commit = [&] { return parts_.store.change_sale(id, change, key, note); };
    const auto changed = co_await parts_.blocking.run(commit);
    if (!changed) co_return tl::make_unexpected(changed.error());
    // A cold sale does not know yet; its rebuild reads the terms once more when it is done.
    auto known = co_await parts_.inventory.set_terms(changed->terms);
    if (!known && !known.error().is(Errc::not_found)) {
        co_return tl::make_unexpected(std::move(known.error()));
    }
    co_await parts_.rebuild.publish(std::make_shared<const SaleTerms>(changed->terms));
    co_return changed->terms;
}

Task<Result<SaleTerms>> SaleService::edit(const std::string& id, const SaleEdit& edit,
                                          const std::string& who) {
    const TimePoint now = parts_.clock.now();
    const OrderStore::TermsChange apply = [&edit, now](StoredSale& sale) -> Result<void> {
        SaleTerms& terms = sale.terms;
        // A sale that merely ended opens again when its end moves.
        if (terms.closed_at || (state_of(terms, now) == SaleState::closed && !edit.ends_at)) {
            return fail(Errc::wrong_state, "The sale is closed.");
        }
        if (edit.title) terms.title = *edit.title;
        if (edit.per_user_limit) terms.per_user_limit = *edit.per_user_limit;
        if (edit.starts_at) terms.starts_at = *edit.starts_at;
        if (edit.ends_at) terms.ends_at = *edit.ends_at;
        if (edit.paused) terms.paused = *edit.paused;
        if (terms.ends_at && *terms.ends_at <= terms.starts_at) {
            return fail(Errc::invalid, edit.ends_at ? "must be later than starts_at"
                                                    : "must be earlier than ends_at");
        }
        return {};
    };
    const JournalNote note{who, name_of(edit)};
    co_return co_await change(id, apply, kNoKey, note);
}

Task<Result<SaleTerms>> SaleService::close(const std::string& id, const std::string& who) {
    const TimePoint now = parts_.clock.now();
    const OrderStore::TermsChange close = [now](StoredSale& sale) -> Result<void> {
        if (!sale.terms.closed_at) sale.terms.closed_at = now;
        return {};
    };
    const JournalNote note{who, "closed"};
    co_return co_await change(id, close, kNoKey, note);
}

Task<Step<SaleTerms>> SaleService::change_stock(const std::string& id, Units add,
                                                const std::optional<std::string>& key,
                                                const std::string& who) {
    std::optional<ChangeKey> once;
    if (key) once = ChangeKey{*key, restock_text(add)};
    if (add < 0) co_return co_await lower_stock(id, -add, once, who);
    auto raised = co_await raise_stock(id, add, once, who);
    if (!raised) co_return tl::make_unexpected(Stop(std::move(raised.error())));
    co_return std::move(*raised);
}

Task<Result<SaleTerms>> SaleService::raise_stock(const std::string& id, Units add,
                                                 const std::optional<ChangeKey>& key,
                                                 const std::string& who) {
    const TimePoint now = parts_.clock.now();
    const OrderStore::TermsChange raise = [add, now](StoredSale& sale) -> Result<void> {
        if (state_of(sale.terms, now) == SaleState::closed) {
            return fail(Errc::wrong_state, "The sale is closed.");
        }
        if (sale.terms.stock + add > kStockMax) {
            return fail(Errc::invalid, "would raise the stock above " + std::to_string(kStockMax));
        }
        sale.terms.stock += add;
        return {};
    };
    const JournalNote note{who, "restocked"};
    co_return co_await change(id, raise, key, note);
}

Result<SaleService::KeyLook> SaleService::look_up(const std::string& id,
                                                  const std::optional<ChangeKey>& key) {
    auto sale = parts_.store.find_sale(id);
    if (!sale) return tl::make_unexpected(std::move(sale.error()));
    KeyLook look{std::move(*sale), false};
    if (!key) return look;
    const auto request = parts_.store.find_change(look.sale.terms.no, key->key);
    if (!request && request.error().is(Errc::not_found)) return look;
    if (!request) return tl::make_unexpected(request.error());
    if (*request != key->request) return fail(Errc::conflict, "the key is bound to another change");
    // The change may have been made between the two reads: its answer is the sale behind it.
    sale = parts_.store.find_sale(id);
    if (!sale) return tl::make_unexpected(std::move(sale.error()));
    return KeyLook{std::move(*sale), true};
}

Task<Step<SaleTerms>> SaleService::lower_stock(const std::string& id, Units units,
                                               const std::optional<ChangeKey>& key,
                                               const std::string& who) {
    auto look = [&] { return look_up(id, key); };
    auto found = co_await parts_.blocking.run(look);
    if (!found) co_return tl::make_unexpected(Stop(std::move(found.error())));
    if (found->is_done) {
        // Whoever made it may have given up waiting before every core was told.
        co_await parts_.rebuild.publish(std::make_shared<const SaleTerms>(found->sale.terms));
        co_return std::move(found->sale.terms);
    }
    const SaleTerms& terms = found->sale.terms;
    const TimePoint now = parts_.clock.now();
    if (state_of(terms, now) == SaleState::closed) {
        co_return tl::make_unexpected(sale_is_closed());
    }
    Withdrawal withdrawal;
    withdrawal.sale = terms.no;
    withdrawal.partition = terms.partition;
    withdrawal.id = OrderId(terms.no, now, kWithdrawalSource, next_withdrawal_.fetch_add(1));
    withdrawal.units = units;
    withdrawal.who = who;
    if (key) withdrawal.key = key->key;
    const auto position = co_await parts_.inventory.withdraw(withdrawal, parts_.log);
    if (position) {
        auto lowered = co_await finish_withdrawal(id, withdrawal.id, *position, key);
        if (!lowered) co_return tl::make_unexpected(Stop(std::move(lowered.error())));
        co_return std::move(*lowered);
    }
    const auto* refusal = std::get_if<Refusal>(&position.error());
    if (key && refusal != nullptr && refusal->reason == PurchaseOutcome::sold_out) {
        // The units may be gone because the same request, sent before, is on its way to the store.
        const LogPosition last = parts_.log.last_enqueued(withdrawal.partition);
        static_cast<void>(co_await parts_.progress.reached(last, kWriterWaitMax));
        found = co_await parts_.blocking.run(look);
        if (!found) co_return tl::make_unexpected(Stop(std::move(found.error())));
        if (found->is_done) co_return std::move(found->sale.terms);
    }
    co_return tl::make_unexpected(position.error());
}

Task<Result<SaleTerms>> SaleService::finish_withdrawal(const std::string& id,
                                                       const OrderId& withdrawal,
                                                       LogPosition position,
                                                       const std::optional<ChangeKey>& key) {
    const auto durable = co_await parts_.log.durable(position);
    if (!durable) co_return fail(Errc::timeout, kMayStillHappen);
    parts_.inventory.settled(withdrawal.sale(), withdrawal);
    const bool is_written = co_await parts_.progress.reached(position, kWriterWaitMax);
    if (!is_written) co_return fail(Errc::timeout, kMayStillHappen);
    bool is_withdrawn = false;
    auto look = [&]() -> Result<KeyLook> {
        auto done = parts_.store.is_withdrawn(withdrawal);
        if (!done) return tl::make_unexpected(std::move(done.error()));
        is_withdrawn = *done;
        // Another request may have been faster with the key: then ours took nothing.
        return look_up(id, key);
    };
    auto found = co_await parts_.blocking.run(look);
    if (!found && !found.error().is(Errc::conflict)) {
        co_return tl::make_unexpected(std::move(found.error()));
    }
    std::optional<Error> conflict;
    if (!found) {
        conflict = std::move(found.error());
        auto read_again = [&]() -> Result<KeyLook> { return look_up(id, kNoKey); };
        found = co_await parts_.blocking.run(read_again);
        if (!found) co_return tl::make_unexpected(std::move(found.error()));
    }
    // Written or not, the hold has done its work: the store's stock says what is so. A sale that is
    // being rebuilt reads it there.
    const SaleTerms& terms = found->sale.terms;
    const std::array<OrderId, 1> hold = {withdrawal};
    auto released = co_await parts_.inventory.release(terms, found->sale.epoch, hold);
    if (!released && !released.error().is(Errc::fenced)) {
        co_return tl::make_unexpected(std::move(released.error()));
    }
    co_await parts_.rebuild.publish(std::make_shared<const SaleTerms>(terms));
    if (conflict) co_return tl::make_unexpected(std::move(*conflict));
    if (!is_withdrawn) {
        co_return fail(Errc::unavailable, "sale " + id + " was rebuilt while stock was lowered");
    }
    co_return terms;
}

Task<Result<std::vector<StoredSale>>> SaleService::list(const std::string& after,
                                                        std::size_t limit) {
    auto read = [this, &after, limit] { return parts_.store.list_sales(after, limit); };
    co_return co_await parts_.blocking.run(read);
}

Task<Result<std::vector<JournalEntry>>> SaleService::journal(SaleNo sale, std::int64_t after,
                                                             std::size_t limit) {
    auto read = [this, sale, after, limit] { return parts_.store.journal(sale, after, limit); };
    co_return co_await parts_.blocking.run(read);
}

} // namespace doorbuster
