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

// One step of a random history: the operator may change the terms, then a buyer tries.
struct Attempt {
    enum class Change { none, pause, resume, close, raise, lower_limit };
    Change change = Change::none;
    int seconds = 0; // that pass before it
    int user = 0;
    int key = 0; // 0: none
    Units quantity = 1;
};

std::ostream& operator<<(std::ostream& out, const Attempt& a) {
    return out << "{change " << static_cast<int>(a.change) << ", after " << a.seconds << " s, user "
               << a.user << ", key " << a.key << ", " << a.quantity << " units}";
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
        held_.push_back({b.user, b.key, b.request.quantity, b.request.order_id});
    }

    [[nodiscard]] Units sold() const {
        Units sum = 0;
        for (const Held& held : held_) sum += held.quantity;
        return sum;
    }
    [[nodiscard]] Units units_of(const std::string& user) const {
        Units sum = 0;
        for (const Held& held : held_) sum += held.user == user ? held.quantity : 0;
        return sum;
    }
    [[nodiscard]] OrderId latest_of(const std::string& user) const {
        OrderId latest;
        for (const Held& held : held_) {
            if (held.user == user) latest = held.order;
        }
        return latest;
    }
    SaleTerms& terms() { return terms_; }

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
                                                          {1, Change::lower_limit}});
    return rc::gen::build<Attempt>(rc::gen::set(&Attempt::change, change),
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
    }
    ++terms.version;
}

Buyer buyer_of(const Attempt& a, std::uint64_t n) {
    return buyer("user " + std::to_string(a.user), a.quantity,
                 a.key == 0 ? "" : "key " + std::to_string(a.key), n);
}

// Decides a random history side by side with the model. Gives the events that were applied.
std::vector<OrderPlaced> live(const std::vector<Attempt>& history, Stock& stock, Model& model) {
    std::vector<OrderPlaced> events;
    TimePoint now = kNoon - Duration(2'000);
    std::uint64_t n = 0;
    for (const Attempt& attempt : history) {
        now += Duration(attempt.seconds * 1'000);
        change_terms(model.terms(), attempt.change, now);
        stock.apply(model.terms());
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

RC_GTEST_PROP(Stock, DecidesAfterAReplayInAnyOrderAsItDidBefore, ()) {
    const SaleTerms terms = any_terms();
    const auto history = *any_history();
    Stock stock(terms);
    Model model(terms);
    auto events = live(history, stock, model);
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    std::ranges::sort(events, {}, [seed](const OrderPlaced& event) {
        return kPrints.of(event.order.text()).low ^ seed; // some order
    });
    Stock rebuilt(stock.terms());
    rebuilt.reserve_room(events.size(), events.size());
    for (const OrderPlaced& event : events) rebuilt.apply(event);
    RC_ASSERT(rebuilt.held() == stock.held());
    Attempt probe;
    for (const int seconds : {-5, 5, 60}) {
        const TimePoint now = kNoon + Duration(seconds * 1'000);
        for (probe.user = 0; probe.user < 5; ++probe.user) {
            for (probe.key = 0; probe.key < 4; ++probe.key) {
                for (probe.quantity = 1; probe.quantity < 6; ++probe.quantity) {
                    const Buyer b = buyer_of(probe, 1'000'000);
                    RC_ASSERT(same(told(rebuilt.decide(b.request, now)),
                                   told(stock.decide(b.request, now))));
                }
            }
        }
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
    hold(stock, buyer("a"));
    hold(stock, buyer("b"));
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

} // namespace
} // namespace doorbuster
