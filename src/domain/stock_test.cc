#include "domain/stock.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <ostream>
#include <rapidcheck/gtest.h>
#include <string>
#include <utility>
#include <vector>

namespace doorbuster {

// One step of a random history: the operator may do something, an order may end without a buyer,
// then a buyer tries.
struct Attempt {
    enum class Change { none, pause, resume, close, raise, lower_limit, withdraw, withdrawn };
    Change change = Change::none;
    int gives_back = 0; // 0: none; else which of the orders so far
    int seconds = 0;    // that pass before it
    int user = 0;
    int key = 0; // 0: none
    Units quantity = 1;
};

std::ostream& operator<<(std::ostream& out, const Attempt& a) {
    return out << "{change " << static_cast<int>(a.change) << ", gives back " << a.gives_back
               << ", after " << a.seconds << " s, user " << a.user << ", key " << a.key << ", "
               << a.quantity << " units}";
}

namespace {

using Decision = tl::expected<StockDecision, Refusal>;
using Change = Attempt::Change;

constexpr SaleNo kSale{7};
constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr Fingerprinter kPrints(1, 2);

SaleTerms terms_of(Units stock, Units per_user_limit) {
    SaleTerms terms;
    terms.no = kSale;
    terms.stock = stock;
    terms.per_user_limit = per_user_limit;
    terms.starts_at = kNoon;
    return terms;
}

// A request that owns its texts.
struct Buyer {
    std::string user;
    std::string key;
    PurchaseRequest request;

    Buyer(std::string user_id, std::string idempotency_key, Units quantity, OrderId order)
        : user(std::move(user_id)), key(std::move(idempotency_key)) {
        request.sale = kSale;
        request.order_id = order;
        request.user = user;
        request.user_print = kPrints.of(user);
        request.key = key;
        request.key_print = kPrints.of(request.user_print, key);
        request.quantity = quantity;
    }
    Buyer(const Buyer&) = delete; // the request points into it
    Buyer& operator=(const Buyer&) = delete;
};

OrderId order_no(std::uint64_t n) { return {kSale, kNoon, 0, n}; }

Buyer buyer(const std::string& user, Units quantity = 1, const std::string& key = "",
            std::uint64_t n = 1) {
    return {user, key, quantity, order_no(n)};
}

// The contract's section 3, word by word, over plain lists.
class Model {
public:
    explicit Model(SaleTerms terms) : terms_(std::move(terms)) {}

    struct Held {
        std::string user;
        std::string key;
        Units quantity = 0;
        OrderId order;
        bool is_live = true;
    };
    struct Answer {
        PurchaseOutcome outcome = PurchaseOutcome::accepted;
        OrderId order;       // accepted, replayed, limit_reached (if any)
        Units remaining = 0; // sold_out
    };

    [[nodiscard]] Answer answer(const Buyer& b, TimePoint now) const {
        for (const Held& held : held_) {
            if (b.key.empty() || held.key != b.key || held.user != b.user) continue;
            if (held.quantity != b.request.quantity) {
                return {PurchaseOutcome::idempotency_mismatch, {}, 0};
            }
            return {PurchaseOutcome::replayed, held.order, 0};
        }
        if (terms_.closed_at || (terms_.ends_at && now >= *terms_.ends_at)) {
            return {PurchaseOutcome::closed, {}, 0};
        }
        if (now < terms_.starts_at) return {PurchaseOutcome::not_started, {}, 0};
        if (terms_.paused) return {PurchaseOutcome::paused, {}, 0};
        const Units left = terms_.stock - sold();
        if (left <= 0) return {PurchaseOutcome::sold_out, {}, 0};
        if (units_of(b.user) + b.request.quantity > terms_.per_user_limit) {
            return {PurchaseOutcome::limit_reached, latest_of(b.user), 0};
        }
        if (left < b.request.quantity) return {PurchaseOutcome::sold_out, {}, left};
        return {PurchaseOutcome::accepted, b.request.order_id, 0};
    }
    void hold(const Buyer& b) {
        held_.push_back({b.user, b.key, b.request.quantity, b.request.order_id, true});
    }
    // The order's units, if it has not given them back before.
    Units give_back(std::size_t at) {
        return std::exchange(held_[at].is_live, false) ? held_[at].quantity : 0;
    }

    [[nodiscard]] Units sold() const {
        Units sum = 0;
        for (const Held& held : held_) sum += held.is_live ? held.quantity : 0;
        for (const auto& [id, units] : withdrawals) sum += units;
        return sum;
    }
    [[nodiscard]] Units units_of(const std::string& user) const {
        Units sum = 0;
        for (const Held& held : held_) {
            if (held.is_live && held.user == user) sum += held.quantity;
        }
        return sum;
    }
    [[nodiscard]] OrderId latest_of(const std::string& user) const {
        OrderId latest;
        for (const Held& held : held_) {
            if (held.is_live && held.user == user) latest = held.order;
        }
        return latest;
    }
    SaleTerms& terms() { return terms_; }
    [[nodiscard]] const std::vector<Held>& orders() const { return held_; }

    std::map<OrderId, Units> withdrawals; // that the store has not taken out of the stock yet

private:
    SaleTerms terms_;
    std::vector<Held> held_;
};

Model::Answer told(const Decision& decision) {
    if (!decision) {
        const Refusal& refusal = decision.error();
        return {refusal.reason, refusal.order_id.value_or(OrderId()), refusal.remaining};
    }
    if (const auto* replayed = std::get_if<OrderReplayed>(&*decision)) {
        return {PurchaseOutcome::replayed, replayed->order, 0};
    }
    return {PurchaseOutcome::accepted, std::get<OrderPlaced>(*decision).order, 0};
}

bool same(const Model::Answer& a, const Model::Answer& b) {
    return a.outcome == b.outcome && a.order == b.order && a.remaining == b.remaining;
}

rc::Gen<Attempt> any_attempt() {
    const auto change = rc::gen::weightedElement<Change>({{30, Change::none},
                                                          {2, Change::pause},
                                                          {4, Change::resume},
                                                          {1, Change::close},
                                                          {2, Change::raise},
                                                          {1, Change::lower_limit},
                                                          {3, Change::withdraw},
                                                          {2, Change::withdrawn}});
    const auto gives_back =
        rc::gen::weightedOneOf<int>({{3, rc::gen::just(0)}, {1, rc::gen::inRange(1, 30)}});
    return rc::gen::build<Attempt>(rc::gen::set(&Attempt::change, change),
                                   rc::gen::set(&Attempt::gives_back, gives_back),
                                   rc::gen::set(&Attempt::seconds, rc::gen::inRange(0, 3)),
                                   rc::gen::set(&Attempt::user, rc::gen::inRange(0, 4)),
                                   rc::gen::set(&Attempt::key, rc::gen::inRange(0, 4)),
                                   rc::gen::set(&Attempt::quantity, rc::gen::inRange<Units>(1, 5)));
}

rc::Gen<std::vector<Attempt>> any_history() { // up to 400 attempts
    return rc::gen::scale(4.0, rc::gen::container<std::vector<Attempt>>(any_attempt()));
}

void change_terms(SaleTerms& terms, Change change, TimePoint now) {
    switch (change) {
    case Change::none: return;
    case Change::pause: terms.paused = true; break;
    case Change::resume: terms.paused = false; break;
    case Change::close: terms.closed_at = now; break;
    case Change::raise: terms.stock += 3; break;
    case Change::lower_limit:
        terms.per_user_limit = std::max<Units>(terms.per_user_limit - 1, 1);
        break;
    case Change::withdraw:
    case Change::withdrawn: return; // see below
    }
    ++terms.version;
}

Buyer buyer_of(const Attempt& a, std::uint64_t n) {
    return buyer("user " + std::to_string(a.user), a.quantity,
                 a.key == 0 ? "" : "key " + std::to_string(a.key), n);
}

// Holds units for a withdrawal if the model says that so many are free.
void withdraw(Stock& stock, Model& model, const OrderId& id, Units units) {
    const Units free = model.terms().stock - model.sold();
    const auto decision = stock.decide_withdrawal(units);
    RC_ASSERT(decision.has_value() == (units <= free));
    if (!decision) {
        RC_ASSERT(decision.error().reason == PurchaseOutcome::sold_out);
        RC_ASSERT(decision.error().remaining == std::max<Units>(free, 0));
        return;
    }
    stock.apply_withdrawal(id, units);
    model.withdrawals[id] = units;
}

// The store has taken the oldest withdrawal out of the stock: terms and release in one turn.
void end_withdrawal(Stock& stock, Model& model) {
    if (model.withdrawals.empty()) return;
    const auto [id, units] = *model.withdrawals.begin();
    const Units remaining = stock.remaining();
    model.withdrawals.erase(id);
    model.terms().stock -= units;
    ++model.terms().version;
    stock.apply(model.terms());
    RC_ASSERT(stock.release(id) == 0); // the units are gone
    RC_ASSERT(stock.remaining() == remaining);
    RC_ASSERT(stock.release(id) == 0);
    RC_ASSERT(stock.remaining() == remaining);
}

// An order that ended without a buyer; it may have been given back before.
void give_back(Stock& stock, Model& model, int which) {
    if (which == 0 || model.orders().empty()) return;
    const std::size_t at = static_cast<std::size_t>(which) % model.orders().size();
    const OrderId order = model.orders()[at].order;
    RC_ASSERT(stock.release(order) == model.give_back(at));
    RC_ASSERT(stock.release(order) == 0);
}

// Decides a random history side by side with the model. Gives the orders that were placed.
std::vector<OrderPlaced> live(const std::vector<Attempt>& history, Stock& stock, Model& model) {
    std::vector<OrderPlaced> events;
    TimePoint now = kNoon - Duration(2'000);
    std::uint64_t n = 0;
    for (const Attempt& attempt : history) {
        now += Duration(attempt.seconds * 1'000);
        change_terms(model.terms(), attempt.change, now);
        stock.apply(model.terms());
        if (attempt.change == Change::withdraw) {
            withdraw(stock, model, order_no(1'000'000 + ++n), attempt.quantity);
        }
        if (attempt.change == Change::withdrawn) end_withdrawal(stock, model);
        give_back(stock, model, attempt.gives_back);
        RC_ASSERT(stock.held() == model.sold());
        const Buyer b = buyer_of(attempt, ++n);
        const Decision decision = stock.decide(b.request, now);
        RC_ASSERT(same(told(decision), model.answer(b, now)));
        RC_ASSERT(same(told(decision), told(stock.decide(b.request, now)))); // nothing changed yet
        if (!decision || !std::holds_alternative<OrderPlaced>(*decision)) continue;
        events.push_back(std::get<OrderPlaced>(*decision));
        stock.apply(events.back());
        model.hold(b);
        RC_ASSERT(stock.held() == model.sold());
        RC_ASSERT(stock.held() <= stock.terms().stock);
        RC_ASSERT(model.units_of(b.user) <= stock.terms().per_user_limit);
    }
    return events;
}

// What a rebuild makes of it: the orders that hold units, the keys of the others, the withdrawals
// on their way.
void replay(const std::vector<OrderPlaced>& events, const Model& model, Stock& rebuilt) {
    std::map<OrderId, bool> is_live;
    for (const Model::Held& held : model.orders()) is_live[held.order] = held.is_live;
    rebuilt.reserve_room(events.size(), events.size());
    for (const OrderPlaced& event : events) {
        if (is_live.at(event.order)) rebuilt.apply(event);
        else if (event.key) rebuilt.bind_key(*event.key, event.order, event.quantity);
    }
    for (const auto& [id, units] : model.withdrawals) rebuilt.apply_withdrawal(id, units);
}

// Both decide alike, whoever asks for whatever.
void expect_alike(const Stock& one, const Stock& other, bool also_latest) {
    RC_ASSERT(one.held() == other.held());
    Attempt probe;
    for (const int seconds : {-5, 5, 60}) {
        const TimePoint now = kNoon + Duration(seconds * 1'000);
        for (probe.user = 0; probe.user < 5; ++probe.user) {
            for (probe.key = 0; probe.key < 4; ++probe.key) {
                for (probe.quantity = 1; probe.quantity < 6; ++probe.quantity) {
                    const Buyer b = buyer_of(probe, 1'000'000);
                    auto here = told(one.decide(b.request, now));
                    auto there = told(other.decide(b.request, now));
                    if (!also_latest && here.outcome == PurchaseOutcome::limit_reached) {
                        here.order = there.order;
                    }
                    RC_ASSERT(same(here, there));
                }
            }
        }
    }
}

SaleTerms any_terms() {
    SaleTerms terms = terms_of(*rc::gen::inRange<Units>(0, 25), *rc::gen::inRange<Units>(1, 8));
    if (*rc::gen::arbitrary<bool>()) terms.ends_at = kNoon + Duration(40'000);
    return terms;
}

RC_GTEST_PROP(Stock, AnswersEveryHistoryAsTheContractSaysAndNeverOversells, ()) {
    const SaleTerms terms = any_terms();
    const auto history = *any_history();
    Stock stock(terms);
    Model model(terms);
    live(history, stock, model);
}

// The store gives a sale's orders in the order of their ids, dead letters first: which of a user's
// orders is the latest may differ then, nothing else.
RC_GTEST_PROP(Stock, DecidesAfterAReplayInAnyOrderAsItDidBefore, ()) {
    const SaleTerms terms = any_terms();
    const auto history = *any_history();
    Stock stock(terms);
    Model model(terms);
    auto events = live(history, stock, model);
    Stock in_order(stock.terms());
    replay(events, model, in_order);
    expect_alike(in_order, stock, true);
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    std::ranges::sort(events, {}, [seed](const OrderPlaced& event) {
        return kPrints.of(event.order.text()).low ^ seed; // some order
    });
    Stock shuffled(stock.terms());
    replay(events, model, shuffled);
    expect_alike(shuffled, stock, false);
}

// Whatever is given back, in whatever order, nothing is left behind.
RC_GTEST_PROP(Stock, IsAsNewWhenEverythingWasGivenBack, ()) {
    const SaleTerms terms = any_terms();
    const auto history = *any_history();
    Stock stock(terms);
    Model model(terms);
    auto events = live(history, stock, model);
    while (!model.withdrawals.empty()) end_withdrawal(stock, model);
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    std::ranges::sort(events, {}, [seed](const OrderPlaced& event) {
        return kPrints.of(event.order.text()).low ^ seed;
    });
    for (const OrderPlaced& event : events) stock.release(event.order);
    RC_ASSERT(stock.held() == 0);
    SaleTerms open = stock.terms();
    open.paused = false;
    open.closed_at = open.ends_at = std::nullopt;
    open.stock = 5;
    ++open.version;
    stock.apply(open);
    for (int user = 0; user < 4; ++user) {
        const Buyer b = buyer("user " + std::to_string(user), open.per_user_limit, "", 2'000'000);
        const auto expected =
            open.per_user_limit <= 5 ? PurchaseOutcome::accepted : PurchaseOutcome::sold_out;
        RC_ASSERT(told(stock.decide(b.request, kNoon)).outcome == expected);
    }
}

void hold(Stock& stock, const Buyer& b) {
    const Decision decision = stock.decide(b.request, kNoon);
    ASSERT_TRUE(decision);
    ASSERT_TRUE(std::holds_alternative<OrderPlaced>(*decision));
    stock.apply(std::get<OrderPlaced>(*decision));
}

PurchaseOutcome outcome(const Stock& stock, const Buyer& b, TimePoint now = kNoon) {
    return told(stock.decide(b.request, now)).outcome;
}

TEST(Stock, RefusesTheUnitAfterTheLast) {
    Stock stock(terms_of(2, 1));
    hold(stock, buyer("a", 1, "", 1));
    hold(stock, buyer("b", 1, "", 2));
    EXPECT_EQ(outcome(stock, buyer("c")), PurchaseOutcome::sold_out);
    EXPECT_EQ(stock.remaining(), 0);
}

TEST(Stock, SaysNothingLeftBeforeTheLimitAndFewerLeftBehindIt) {
    Stock stock(terms_of(3, 2));
    hold(stock, buyer("a", 2, "", 1));
    const auto over = stock.decide(buyer("a", 2).request, kNoon);
    ASSERT_FALSE(over);
    EXPECT_EQ(over.error().reason, PurchaseOutcome::limit_reached); // though only one is left
    EXPECT_EQ(over.error().order_id, order_no(1));
    const auto fewer = stock.decide(buyer("b", 2).request, kNoon);
    ASSERT_FALSE(fewer);
    EXPECT_EQ(fewer.error().reason, PurchaseOutcome::sold_out);
    EXPECT_EQ(fewer.error().remaining, 1);
    hold(stock, buyer("b", 1, "", 2));
    EXPECT_EQ(outcome(stock, buyer("a")), PurchaseOutcome::sold_out);
}

TEST(Stock, SaysWhenASaleStarts) {
    const Stock stock(terms_of(1, 1));
    const auto early = stock.decide(buyer("a").request, kNoon - Duration(1'500));
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().reason, PurchaseOutcome::not_started);
    EXPECT_EQ(early.error().retry_after, Duration(1'500));
}

TEST(Stock, AnswersABoundKeyWhateverBecameOfTheSale) {
    Stock stock(terms_of(1, 1));
    hold(stock, buyer("a", 1, "k", 1));
    SaleTerms closed = stock.terms();
    closed.closed_at = kNoon;
    ++closed.version;
    stock.apply(closed);
    const auto again = stock.decide(buyer("a", 1, "k", 2).request, kNoon);
    ASSERT_TRUE(again);
    EXPECT_EQ(std::get<OrderReplayed>(*again).order, order_no(1));
    EXPECT_EQ(outcome(stock, buyer("a", 2, "k")), PurchaseOutcome::idempotency_mismatch);
    EXPECT_EQ(outcome(stock, buyer("b", 1, "k")), PurchaseOutcome::closed); // another user's key
}

TEST(Stock, KeepsTheKeyOfAFinishedOrderWithoutItsUnits) {
    Stock stock(terms_of(1, 1));
    const Buyer cancelled = buyer("a", 1, "k", 1);
    stock.bind_key(cancelled.request.key_print, cancelled.request.order_id, 1);
    EXPECT_EQ(stock.remaining(), 1);
    EXPECT_EQ(outcome(stock, buyer("a", 1, "k")), PurchaseOutcome::replayed);
    EXPECT_EQ(outcome(stock, buyer("a", 1, "other")), PurchaseOutcome::accepted);
}

TEST(Stock, IgnoresOlderTerms) {
    Stock stock(terms_of(1, 1));
    SaleTerms newer = terms_of(5, 1);
    newer.version = 3;
    stock.apply(newer);
    SaleTerms older = terms_of(100, 1);
    older.version = 2;
    stock.apply(older);
    EXPECT_EQ(stock.terms().stock, 5);
}

TEST(Stock, SellsNothingWhileItHoldsMoreThanItsTermsSay) {
    Stock stock(terms_of(5, 5));
    hold(stock, buyer("a", 4));
    SaleTerms lowered = terms_of(3, 5);
    lowered.version = 2;
    stock.apply(lowered);
    EXPECT_EQ(stock.remaining(), -1);
    const auto refused = stock.decide(buyer("b").request, kNoon);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, PurchaseOutcome::sold_out);
    EXPECT_EQ(refused.error().remaining, 0);
}

TEST(Stock, SellsAgainWhatAnOrderGaveBack) {
    Stock stock(terms_of(1, 1));
    hold(stock, buyer("a", 1, "k", 1));
    EXPECT_EQ(outcome(stock, buyer("b")), PurchaseOutcome::sold_out);
    EXPECT_EQ(stock.release(order_no(1)), 1);
    EXPECT_EQ(stock.remaining(), 1);
    EXPECT_EQ(outcome(stock, buyer("a", 1, "k", 2)), PurchaseOutcome::replayed) << "bound for good";
    EXPECT_EQ(outcome(stock, buyer("a", 1, "", 2)), PurchaseOutcome::accepted)
        << "the limit is free";
    hold(stock, buyer("b", 1, "", 3));
    EXPECT_EQ(stock.release(order_no(1)), 0) << "b's unit is not a's";
    EXPECT_EQ(stock.remaining(), 0);
    EXPECT_EQ(outcome(stock, buyer("c")), PurchaseOutcome::sold_out);
}

TEST(Stock, ReleasesNothingThatItDoesNotHold) {
    Stock stock(terms_of(3, 3));
    hold(stock, buyer("a", 2, "", 1));
    EXPECT_EQ(stock.release(order_no(9)), 0);
    EXPECT_EQ(stock.release(OrderId()), 0);
    EXPECT_EQ(stock.held(), 2);
}

// The order that limit_reached names is the latest that still holds units, whichever goes first.
TEST(Stock, NamesTheLatestOrderThatIsLeft) {
    const std::vector<std::vector<std::uint64_t>> ways = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                                          {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
    for (const auto& way : ways) {
        Stock stock(terms_of(10, 3));
        std::vector<std::uint64_t> left = {1, 2, 3};
        for (const std::uint64_t n : left) hold(stock, buyer("a", 1, "", n));
        hold(stock, buyer("b", 1, "", 4)); // another line
        for (const std::uint64_t n : way) {
            EXPECT_EQ(stock.release(order_no(n)), 1);
            std::erase(left, n);
            const auto over = stock.decide(buyer("a", 4, "", 9).request, kNoon);
            ASSERT_FALSE(over);
            EXPECT_EQ(over.error().reason, PurchaseOutcome::limit_reached);
            if (left.empty()) EXPECT_FALSE(over.error().order_id);
            else EXPECT_EQ(over.error().order_id, order_no(left.back()));
        }
        EXPECT_EQ(stock.held(), 1);
    }
}

TEST(Stock, LowersOnlyWhatIsFree) {
    Stock stock(terms_of(5, 5));
    hold(stock, buyer("a", 3, "", 1));
    const auto too_many = stock.decide_withdrawal(3);
    ASSERT_FALSE(too_many);
    EXPECT_EQ(too_many.error().reason, PurchaseOutcome::sold_out);
    EXPECT_EQ(too_many.error().remaining, 2);
    ASSERT_TRUE(stock.decide_withdrawal(2));
    EXPECT_EQ(stock.remaining(), 2) << "asking takes nothing";
    stock.apply_withdrawal(order_no(50), 2);
    EXPECT_EQ(stock.remaining(), 0);
    EXPECT_EQ(outcome(stock, buyer("b")), PurchaseOutcome::sold_out);
    EXPECT_FALSE(stock.decide_withdrawal(1));
    // What a gives back meanwhile is not the withdrawal's.
    EXPECT_EQ(stock.release(order_no(1)), 3);
    EXPECT_EQ(stock.remaining(), 3);
    SaleTerms lowered = terms_of(3, 5);
    lowered.version = 2;
    stock.apply(lowered);
    EXPECT_EQ(stock.remaining(), 1) << "for this moment the units are counted twice, never sold";
    EXPECT_EQ(stock.release(order_no(50)), 0);
    EXPECT_EQ(stock.remaining(), 3);
    EXPECT_EQ(stock.release(order_no(50)), 0);
    EXPECT_EQ(stock.remaining(), 3);
}

} // namespace
} // namespace doorbuster
