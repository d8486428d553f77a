// For the property test of orders' lives: what the shop must be like, in plain maps, and whether an
// answer or the store agrees. One thread. A disagreement is a failed RC_ASSERT.
#pragma once

#include <algorithm>
#include <list>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "app/order_life_steps.h"

namespace doorbuster::fixture {

inline constexpr const char* kOperator = "operator";

struct ModelOrder {
    OrderId id;
    std::string user;
    std::string key;
    Units units = 0;
    OrderStatus status = OrderStatus::confirmed; // or queued: that makes no difference here
    std::string ref;
    TimePoint due_from; // it expires at this time or later; exactly then when it is known
    bool is_due_known = false;
    bool only_replayed = false;      // known by a replay that overtook the first answer
    std::set<std::string> refs_sent; // without an answer so far, or with one
    bool cancel_sent = false;
};

struct ModelSale {
    SaleTerms terms; // as the operators' answers say
    std::map<OrderId, ModelOrder> orders;
    std::map<std::pair<std::string, std::string>, OrderId> keys;
    std::vector<std::string> journal;        // who, in order; the creation is not in it
    std::map<std::string, Units> stock_keys; // of changes that were answered with yes
    std::set<std::string> stock_keys_done;   // of them, those that the journal shows
    Units limit_ever = 0;

    [[nodiscard]] bool has_payment_step() const { return terms.payment_timeout > Duration(0); }
    // May the store have ended it by now?
    [[nodiscard]] bool may_be_gone(const ModelOrder& order, TimePoint now) const {
        return has_payment_step() && order.status == OrderStatus::confirmed &&
               order.due_from <= now;
    }
    // Units that live orders hold: at least, at most.
    struct Range {
        Units least = 0;
        Units most = 0;
    };
    [[nodiscard]] Range held(TimePoint now, const std::string* user = nullptr) const {
        Range range;
        for (const auto& [id, order] : orders) {
            if (!is_live(order.status) || (user != nullptr && order.user != *user)) continue;
            range.most += order.units;
            if (!may_be_gone(order, now)) range.least += order.units;
        }
        return range;
    }
};

class LifeModel {
public:
    explicit LifeModel(const Clock& clock) : clock_(clock) {}

    void add(const SaleTerms& terms) {
        ModelSale& sale = sales_.emplace_back();
        sale.terms = terms;
        sale.limit_ever = terms.per_user_limit;
    }
    [[nodiscard]] const std::vector<ModelSale>& sales() const { return sales_; }
    [[nodiscard]] ModelSale& sale_of(const LifeStep& step) {
        return sales_[static_cast<std::size_t>(step.sale)];
    }

    // A step begins: from now on it may have happened.
    void begin(const Flight& flight) {
        if (flight.step.kind == Kind::rebuild) is_rebuilt_ = true;
        if (!flight.changed.valid()) return;
        ModelOrder& order = sale_of(flight.step).orders.at(flight.order);
        if (flight.step.kind == Kind::pay) order.refs_sent.insert(flight.ref);
        else order.cancel_sent = true;
    }
    // Its answer is there. Alone: nothing else was under way, so only one answer is right; else it
    // must be one that may come.
    void judge(Flight flight, bool is_alone) {
        switch (flight.step.kind) {
        case Kind::buy: return judge_purchase(flight, is_alone);
        case Kind::pay:
        case Kind::cancel: return judge_change(flight, is_alone);
        case Kind::restock:
        case Kind::lower: return judge_stock(flight, is_alone);
        case Kind::pause:
        case Kind::resume:
        case Kind::set_limit:
        case Kind::close: return judge_edit(flight, is_alone);
        case Kind::rebuild: {
            const auto rebuilt = flight.rebuilt.get();
            if (!rebuilt) RC_FAIL("the rebuild failed: " + rebuilt.error().message());
            is_unsure_ = true; // what expired meanwhile may still wait for a sweep
            return;
        }
        case Kind::pass_time:
        case Kind::audit:
        case Kind::settle:
        case Kind::restart:
        case Kind::crash: return;
        }
    }
    // Its answer was lost in a crash: what became of it, the store will say.
    void lose(Flight flight) { lost_.push_back(std::move(flight)); }

    // Did an answer leave open what happened? Then only compare() tells.
    [[nodiscard]] bool is_unsure() const { return is_unsure_; }

    // Everything is at rest: the store must be what the model says. What was unknown is known then.
    void compare(Engine& engine) {
        for (ModelSale& sale : sales_) {
            read_journal(engine, sale);
            read_orders(engine, sale);
        }
        RC_ASSERT(must_be_in_journal_.empty());
        lost_.clear();
        is_rebuilt_ = is_unsure_ = false;
        compare_counts(engine.audit());
    }

private:
    using Kind = LifeStep::Kind;

    void judge_purchase(Flight& flight, bool is_alone) {
        ModelSale& sale = sale_of(flight.step);
        const auto answer = flight.bought.get();
        const Refusal* refusal = answer ? nullptr : std::get_if<Refusal>(&answer.error());
        if (!answer && refusal == nullptr) RC_FAIL(std::get<Error>(answer.error()).message());
        if (is_alone) expect_purchase(flight, answer);
        if (refusal != nullptr) {
            const bool is_cold = refusal->reason == PurchaseOutcome::unavailable;
            RC_ASSERT(refusal->reason != PurchaseOutcome::overloaded);
            RC_ASSERT((!is_cold || is_rebuilt_));
            RC_ASSERT(!(is_cold && refusal->order_id)); // the log is never late here
            return;
        }
        RC_ASSERT(answer->quantity == flight.step.units);
        if (!flight.key.empty()) {
            const auto [bound, is_new] =
                sale.keys.try_emplace({flight.user, flight.key}, answer->order);
            RC_ASSERT(bound->second == answer->order);
        }
        if (answer->replayed) {
            RC_ASSERT(!flight.key.empty());
            if (is_alone) return;
        }
        ModelOrder order;
        order.id = answer->order;
        order.user = flight.user;
        order.key = flight.key;
        order.units = flight.step.units;
        order.due_from = answer->order.created_at() + sale.terms.payment_timeout;
        order.only_replayed = answer->replayed;
        const auto [known, is_new] = sale.orders.try_emplace(answer->order, order);
        if (answer->replayed) return;
        RC_ASSERT((is_new || known->second.only_replayed)); // else one id for two orders
        known->second.only_replayed = false;
    }

    void expect_purchase(const Flight& flight, const Step<Reservation>& answer) {
        const ModelSale& sale = sale_of(flight.step);
        const Units units = flight.step.units;
        const bool is_yes = answer.has_value();
        const Refusal refusal = is_yes ? Refusal() : std::get<Refusal>(answer.error());
        const auto is_refused = [&](PurchaseOutcome reason) {
            return !is_yes && refusal.reason == reason;
        };
        const auto bound = sale.keys.find({flight.user, flight.key});
        if (!flight.key.empty() && bound != sale.keys.end()) {
            if (sale.orders.at(bound->second).units != units) {
                RC_ASSERT(is_refused(PurchaseOutcome::idempotency_mismatch));
            } else {
                RC_ASSERT(is_yes);
                RC_ASSERT(answer->replayed);
            }
            return;
        }
        if (sale.terms.closed_at) {
            RC_ASSERT(is_refused(PurchaseOutcome::closed));
            return;
        }
        if (sale.terms.paused) {
            RC_ASSERT(is_refused(PurchaseOutcome::paused));
            return;
        }
        const auto held = sale.held(clock_.now());
        const auto user = sale.held(clock_.now(), &flight.user);
        const Units left_least = sale.terms.stock - held.most;
        const Units left_most = sale.terms.stock - held.least;
        const Units limit = sale.terms.per_user_limit;
        RC_LOG() << flight.who << ": left " << left_least << " to " << left_most << ", user has "
                 << user.least << " to " << user.most << " of " << limit << "\n";
        if (is_yes) {
            RC_ASSERT(!answer->replayed);
            RC_ASSERT(left_most >= units);
            RC_ASSERT(user.least + units <= limit);
        } else if (refusal.reason == PurchaseOutcome::limit_reached) {
            RC_ASSERT(left_most > 0);
            RC_ASSERT(user.most + units > limit);
            RC_ASSERT((refusal.order_id.has_value() || user.least == 0));
            if (!refusal.order_id) return;
            const ModelOrder& latest = sale.orders.at(*refusal.order_id);
            RC_ASSERT(latest.user == flight.user);
            RC_ASSERT(is_live(latest.status));
        } else {
            RC_ASSERT(refusal.reason == PurchaseOutcome::sold_out);
            RC_ASSERT((left_least <= 0 || left_least < units));
            RC_ASSERT(refusal.remaining <= std::max<Units>(left_most, 0));
            RC_ASSERT(refusal.remaining < units);
            RC_ASSERT((refusal.remaining == 0 || user.least + units <= limit));
        }
    }

    void judge_change(Flight& flight, bool is_alone) {
        const auto answer = flight.changed.get();
        if (!answer && answer.error().is(Errc::unavailable)) { // the disk was slow: who knows
            is_unsure_ = true;
            return;
        }
        if (!answer) RC_FAIL(flight.who + ": " + answer.error().message());
        ModelSale& sale = sale_of(flight.step);
        ModelOrder& order = sale.orders.at(flight.order);
        const bool is_pay = flight.step.kind == Kind::pay;
        const Order& stored = answer->order;
        RC_ASSERT(answer->verdict != ChangeVerdict::unknown);
        RC_ASSERT(stored.id == order.id);
        learn_due(sale, order, stored);
        const OrderStatus before = order.status;
        // What a yes says is so.
        if (answer->verdict != ChangeVerdict::refused) {
            RC_ASSERT(sale.has_payment_step());
            RC_ASSERT(stored.status == (is_pay ? OrderStatus::paid : OrderStatus::cancelled));
            if (is_pay) RC_ASSERT(stored.payment_ref == flight.ref);
        }
        if (is_pay && answer->verdict == ChangeVerdict::done) {
            RC_ASSERT(*stored.paid_at < *stored.expires_at);
        }
        if (is_alone) {
            const bool is_open = sale.has_payment_step() && before == OrderStatus::confirmed;
            const bool is_over = is_open && clock_.now() >= order.due_from;
            const ChangeVerdict verdict = answer->verdict;
            if (is_open && !is_over) {
                RC_ASSERT(verdict == ChangeVerdict::done);
            } else if (is_over) {
                const bool may_win = !is_pay && verdict == ChangeVerdict::done;
                RC_ASSERT((may_win || stored.status == OrderStatus::expired));
            } else {
                const bool is_same = is_pay ? before == OrderStatus::paid && order.ref == flight.ref
                                            : before == OrderStatus::cancelled;
                RC_ASSERT(verdict == (is_same ? ChangeVerdict::unchanged : ChangeVerdict::refused));
                RC_ASSERT(stored.status == before);
            }
        }
        become(sale, order, stored);
    }

    // An order's true state, from an answer or from the store: what is final stays.
    void become(const ModelSale& sale, ModelOrder& order, const Order& stored) {
        const std::string ref = stored.payment_ref.value_or("");
        if (order.status != OrderStatus::confirmed) {
            RC_ASSERT(stored.status == order.status);
            RC_ASSERT(ref == order.ref);
            return;
        }
        switch (stored.status) {
        case OrderStatus::confirmed: break;
        case OrderStatus::paid: RC_ASSERT(order.refs_sent.contains(ref)); break;
        case OrderStatus::cancelled: RC_ASSERT(order.cancel_sent); break;
        case OrderStatus::expired: RC_ASSERT(*stored.expires_at <= clock_.now()); break;
        case OrderStatus::queued:
        case OrderStatus::refused:
            RC_FAIL("an order that was promised became " + std::string(to_string(stored.status)));
        }
        RC_ASSERT((stored.status == OrderStatus::confirmed || sale.has_payment_step()));
        RC_ASSERT(stored.version == (stored.status == OrderStatus::confirmed ? 1 : 2));
        order.status = stored.status;
        order.ref = ref;
    }

    void learn_due(const ModelSale& sale, ModelOrder& order, const Order& stored) {
        RC_ASSERT(stored.expires_at.has_value() == sale.has_payment_step());
        if (!stored.expires_at) return;
        RC_ASSERT(*stored.expires_at >= order.due_from);
        RC_ASSERT(*stored.expires_at <= clock_.now() + sale.terms.payment_timeout);
        if (order.is_due_known) RC_ASSERT(*stored.expires_at == order.due_from);
        order.due_from = *stored.expires_at;
        order.is_due_known = true;
    }

    void judge_stock(Flight& flight, bool is_alone) {
        ModelSale& sale = sale_of(flight.step);
        const Units add = flight.added();
        const auto answer = flight.restocked.get();
        const Error* error = answer ? nullptr : std::get_if<Error>(&answer.error());
        const auto bound = sale.stock_keys.find(flight.key);
        const bool is_bound = !flight.key.empty() && bound != sale.stock_keys.end();
        if (error != nullptr && error->is(Errc::timeout)) { // it may still happen
            is_unsure_ = true;
            return lost_.push_back(std::move(flight));
        }
        if (error != nullptr) {
            const bool is_known = error->is(Errc::wrong_state) || error->is(Errc::conflict) ||
                                  (error->is(Errc::unavailable) && is_rebuilt_);
            if (!is_known) RC_FAIL(flight.who + ": " + error->message());
        }
        if (!is_alone) {
            if (!answer) return lost_.push_back(std::move(flight)); // the journal says what is so
            if (!flight.key.empty()) {
                const Units first = sale.stock_keys.try_emplace(flight.key, add).first->second;
                RC_ASSERT(first == add);
                return lost_.push_back(std::move(flight));
            }
            must_be_in_journal_.push_back(flight.who);
            return lost_.push_back(std::move(flight));
        }
        if (is_bound) {
            if (bound->second == add) {
                RC_ASSERT(answer.has_value());
                RC_ASSERT(answer->stock == sale.terms.stock);
            } else {
                RC_ASSERT(error != nullptr);
                RC_ASSERT(error->is(Errc::conflict));
            }
            return;
        }
        if (sale.terms.closed_at) {
            RC_ASSERT(error != nullptr);
            RC_ASSERT(error->is(Errc::wrong_state));
            return;
        }
        const auto held = sale.held(clock_.now());
        if (!answer) {
            RC_ASSERT(error == nullptr);
            const Refusal& refusal = std::get<Refusal>(answer.error());
            RC_ASSERT(refusal.reason == PurchaseOutcome::sold_out);
            RC_ASSERT(sale.terms.stock + add < held.most);
            RC_ASSERT(refusal.remaining >= std::max<Units>(sale.terms.stock - held.most, 0));
            RC_ASSERT(refusal.remaining <= sale.terms.stock - held.least);
            return;
        }
        RC_ASSERT(sale.terms.stock + add >= held.least);
        sale.terms.stock += add;
        ++sale.terms.version;
        RC_ASSERT(*answer == sale.terms);
        sale.journal.push_back(flight.who);
        if (flight.key.empty()) return;
        sale.stock_keys[flight.key] = add;
        sale.stock_keys_done.insert(flight.key);
    }

    // What the step makes of the terms; false: nothing changed.
    [[nodiscard]] static bool apply(const Flight& flight, SaleTerms& terms, TimePoint at) {
        const SaleTerms before = terms;
        switch (flight.step.kind) {
        case Kind::pause: terms.paused = true; break;
        case Kind::resume: terms.paused = false; break;
        case Kind::set_limit: terms.per_user_limit = flight.step.units; break;
        case Kind::close:
            if (!terms.closed_at) terms.closed_at = at;
            break;
        case Kind::restock:
        case Kind::lower: terms.stock += flight.added(); break;
        case Kind::buy:
        case Kind::pay:
        case Kind::cancel:
        case Kind::pass_time:
        case Kind::rebuild:
        case Kind::audit:
        case Kind::settle:
        case Kind::restart:
        case Kind::crash: break;
        }
        if (terms == before) return false;
        ++terms.version;
        return true;
    }

    void judge_edit(Flight& flight, bool is_alone) {
        ModelSale& sale = sale_of(flight.step);
        const auto answer = flight.edited.get();
        const bool is_refused = !answer && answer.error().is(Errc::wrong_state);
        if (!answer && !is_refused) RC_FAIL(flight.who + ": " + answer.error().message());
        if (!is_alone) {
            if (answer) lost_.push_back(std::move(flight)); // it may have found nothing to change
            return;
        }
        if (sale.terms.closed_at && flight.step.kind != Kind::close) {
            RC_ASSERT(is_refused);
            return;
        }
        RC_ASSERT(!is_refused);
        if (apply(flight, sale.terms, clock_.now())) sale.journal.push_back(flight.who);
        RC_ASSERT(*answer == sale.terms);
        sale.limit_ever = std::max(sale.limit_ever, sale.terms.per_user_limit);
    }

    // Nothing twice, nothing that nobody asked for; what was unknown is known now.
    void read_journal(Engine& engine, ModelSale& sale) {
        const auto entries =
            need(engine.store->journal(sale.terms.no, 0, 100'000), "reading the journal");
        RC_ASSERT(entries.size() >= sale.journal.size() + 1);
        RC_ASSERT(entries.front().who == kOperator);
        RC_ASSERT(entries.front().what == "created");
        for (std::size_t i = 0; i + 1 < entries.size(); ++i) {
            RC_ASSERT(entries[i].seq < entries[i + 1].seq);
            RC_ASSERT(entries[i].at <= entries[i + 1].at);
            if (i < sale.journal.size()) RC_ASSERT(entries[i + 1].who == sale.journal[i]);
        }
        const auto stored = need(engine.store->find_sale(sale.terms.id), "reading a sale");
        for (std::size_t i = sale.journal.size() + 1; i < entries.size(); ++i) {
            const std::string& who = entries[i].who;
            const auto asked = std::ranges::find(lost_, who, &Flight::who);
            RC_ASSERT(asked != lost_.end());
            RC_ASSERT(&sale_of(asked->step) == &sale);
            RC_ASSERT(std::ranges::count(sale.journal, who) == 0);
            RC_ASSERT(apply(*asked, sale.terms, stored.terms.closed_at.value_or(clock_.now())));
            sale.limit_ever = std::max(sale.limit_ever, sale.terms.per_user_limit);
            sale.journal.push_back(who);
            std::erase(must_be_in_journal_, who);
            const bool is_stock =
                asked->step.kind == Kind::restock || asked->step.kind == Kind::lower;
            if (!is_stock || asked->key.empty()) continue;
            const Units add = asked->added();
            RC_ASSERT(sale.stock_keys.try_emplace(asked->key, add).first->second == add);
            RC_ASSERT(sale.stock_keys_done.insert(asked->key).second);
        }
        RC_ASSERT(stored.terms == sale.terms);
        RC_ASSERT(sale.stock_keys.size() == sale.stock_keys_done.size()); // a yes is a change
    }

    void read_orders(Engine& engine, ModelSale& sale) {
        Units live = 0;
        std::map<std::string, Units> by_user;
        std::size_t found = 0;
        for (const Order& stored : engine.orders_of(sale.terms.no)) {
            auto at = sale.orders.find(stored.id);
            if (at == sale.orders.end()) at = adopt(sale, stored);
            ModelOrder& order = at->second;
            ++found;
            RC_ASSERT(stored.user == order.user);
            RC_ASSERT(stored.key == order.key);
            RC_ASSERT(stored.quantity == order.units);
            learn_due(sale, order, stored);
            become(sale, order, stored);
            RC_ASSERT((!sale.has_payment_step() || order.status != OrderStatus::confirmed ||
                       order.due_from > clock_.now()));
            if (!is_live(order.status)) continue;
            live += order.units;
            by_user[order.user] += order.units;
        }
        RC_ASSERT(found == sale.orders.size()); // every promise is there
        RC_ASSERT(live <= sale.terms.stock);
        for (const auto& [user, units] : by_user) RC_ASSERT(units <= sale.limit_ever);
    }

    // An order of a purchase that never had its answer.
    std::map<OrderId, ModelOrder>::iterator adopt(ModelSale& sale, const Order& stored) {
        const auto asked = std::ranges::find_if(lost_, [&](const Flight& flight) {
            return flight.step.kind == Kind::buy && &sale_of(flight.step) == &sale &&
                   flight.user == stored.user && flight.key == stored.key &&
                   flight.step.units == stored.quantity;
        });
        if (asked == lost_.end()) RC_FAIL("nobody asked for order " + stored.id.text());
        lost_.erase(asked);
        ModelOrder order;
        order.id = stored.id;
        order.user = stored.user;
        order.key = stored.key;
        order.units = stored.quantity;
        order.due_from = stored.id.created_at() + sale.terms.payment_timeout;
        if (!order.key.empty()) {
            RC_ASSERT(sale.keys.try_emplace({order.user, order.key}, order.id).second);
        }
        return sale.orders.emplace(order.id, order).first;
    }

    // Beyond balanced: the numbers themselves.
    void compare_counts(const std::vector<SaleAudit>& rows) {
        for (const SaleAudit& row : rows) {
            const auto sale = std::ranges::find_if(
                sales_, [&](const ModelSale& one) { return one.terms.id == row.sale_id; });
            const Units held = sale->held(clock_.now()).most;
            std::array<std::int64_t, kOrderStatuses> orders{};
            for (const auto& [id, order] : sale->orders) {
                ++orders[static_cast<std::size_t>(order.status)];
            }
            RC_ASSERT(row.orders == orders);
            RC_ASSERT(row.stock == sale->terms.stock);
            RC_ASSERT(row.sold == held);
            RC_ASSERT(row.inventory_remaining.has_value());
            RC_ASSERT(*row.inventory_remaining == sale->terms.stock - held);
        }
    }

    const Clock& clock_;
    std::vector<ModelSale> sales_;
    std::list<Flight> lost_; // without an answer, or with one that only the journal explains
    std::vector<std::string> must_be_in_journal_;
    bool is_rebuilt_ = false; // since everything was at rest, as the next
    bool is_unsure_ = false;
};

} // namespace doorbuster::fixture
