// The scripts decide as domain/stock.cc does: the same attempts, releases, terms, withdrawals and
// rebuilds go to both, and every answer and every count is compared.
#include <gtest/gtest.h>
#include <map>
#include <rapidcheck.h>
#include <string>
#include <vector>

#include "adapters/redis/inventory_fixture.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;

struct Op {
    enum class Kind { buy, ask_again, find_key, release, terms, withdraw, settle, rebuild };
    Kind kind = Kind::buy;
    int user = 0;
    int key = 0; // 0: none
    Units quantity = 1;
    std::size_t pick = 0; // of what was there before
    Units stock = 0;
    Units limit = 1;
    int mood = 0; // of the sale
    int version_step = 1;
};

rc::Gen<Op> op() {
    using Kind = Op::Kind;
    const auto kind = rc::gen::weightedElement<Kind>({{12, Kind::buy},
                                                      {1, Kind::ask_again},
                                                      {2, Kind::find_key},
                                                      {8, Kind::release},
                                                      {2, Kind::terms},
                                                      {1, Kind::withdraw},
                                                      {2, Kind::settle},
                                                      {1, Kind::rebuild}});
    return rc::gen::build<Op>(rc::gen::set(&Op::kind, kind),
                              rc::gen::set(&Op::user, rc::gen::inRange(0, 3)),
                              rc::gen::set(&Op::key, rc::gen::inRange(0, 4)),
                              rc::gen::set(&Op::quantity, rc::gen::inRange<Units>(1, 4)),
                              rc::gen::set(&Op::pick, rc::gen::inRange<std::size_t>(0, 1'000)),
                              rc::gen::set(&Op::stock, rc::gen::inRange<Units>(0, 100)),
                              rc::gen::set(&Op::limit, rc::gen::inRange<Units>(1, 40)),
                              rc::gen::set(&Op::mood, rc::gen::inRange(0, 12)),
                              rc::gen::set(&Op::version_step, rc::gen::inRange(-1, 3)));
}

// Both sides of one sale.
class Pair {
public:
    Pair(Node& node, SaleNo sale) : node_(node), sale_(sale), terms_(first_terms(sale)) {
        install();
    }

    // Attempts of one turn, then what else there is; the answers must be the same.
    void run(const std::vector<Op>& ops) {
        for (std::size_t i = 0; i < ops.size();) {
            std::size_t end = i;
            while (end < ops.size() && ops[end].kind == Op::Kind::buy) ++end;
            if (end > i) {
                buy({ops.begin() + static_cast<std::ptrdiff_t>(i),
                     ops.begin() + static_cast<std::ptrdiff_t>(end)});
            } else {
                step(ops[i]);
                ++end;
            }
            compare_counts();
            i = end;
        }
    }

private:
    struct Live {
        OrderId order;
        Fingerprint user;
        std::optional<Fingerprint> key;
        Units quantity = 0;
    };

    static SaleTerms first_terms(SaleNo sale) {
        SaleTerms terms = terms_of(40, 20);
        terms.no = sale;
        return terms;
    }
    OrderId next_order() { return {sale_, kNoon, 1, ++orders_}; }
    Core& core() { return node_.cores().at(0); }
    RedisInventory& inventory() { return node_.inventory(); }
    static std::string key_of(const Op& op) {
        return op.key == 0 ? "" : "key " + std::to_string(op.key);
    }

    void install() {
        SaleImage image;
        epoch_ = epoch_.next();
        image.terms = terms_;
        image.epoch = epoch_;
        image.given_back = given_back_;
        image.units_elsewhere = 1;
        stock_.emplace(terms_);
        stock_->hold_elsewhere(1);
        for (const Live& live : live_) {
            image.live.push_back({live.order, live.user, live.key, live.quantity});
            stock_->apply(image.live.back());
        }
        for (const Live& ended : ended_) {
            if (!ended.key) continue;
            image.keys_of_finished.push_back({*ended.key, ended.order, ended.quantity});
            stock_->bind_key(*ended.key, ended.order, ended.quantity);
        }
        withdrawn_.clear();
        RC_ASSERT(node_.install(std::move(image)) != nullptr);
    }

    using Expected = tl::expected<StockDecision, Refusal>;
    Expected decide(const PurchaseRequest& request) {
        auto decision = stock_->decide(request, node_.now());
        if (decision) {
            if (const auto* placed = std::get_if<OrderPlaced>(&*decision)) {
                stock_->apply(*placed);
                live_.push_back({placed->order, placed->user, placed->key, placed->quantity});
            }
        }
        return decision;
    }
    static void compare(const Step<Reservation>& answer, const Expected& expected) {
        if (!expected) {
            RC_ASSERT(!answer);
            const auto* refusal = std::get_if<Refusal>(&answer.error());
            RC_ASSERT(refusal != nullptr);
            RC_ASSERT(refusal->reason == expected.error().reason);
            RC_ASSERT(refusal->remaining == expected.error().remaining);
            RC_ASSERT(refusal->order_id == expected.error().order_id);
            RC_ASSERT(refusal->retry_after.has_value() == expected.error().retry_after.has_value());
            return;
        }
        RC_ASSERT(answer.has_value());
        if (const auto* placed = std::get_if<OrderPlaced>(&*expected)) {
            RC_ASSERT(!answer->replayed);
            RC_ASSERT(answer->order == placed->order);
            RC_ASSERT(answer->quantity == placed->quantity);
        } else {
            const auto& replayed = std::get<OrderReplayed>(*expected);
            RC_ASSERT(answer->replayed);
            RC_ASSERT(answer->order == replayed.order);
            RC_ASSERT(answer->quantity == replayed.quantity);
        }
    }

    void buy(const std::vector<Op>& ops) {
        std::vector<std::unique_ptr<Buyer>> buyers;
        std::vector<Expected> expected;
        std::vector<std::future<Step<Reservation>>> answers;
        for (const Op& op : ops) {
            buyers.push_back(std::make_unique<Buyer>("user " + std::to_string(op.user),
                                                     next_order(), op.quantity, key_of(op)));
            expected.push_back(decide(buyers.back()->request));
            answers.push_back(
                start_on(core(), inventory().reserve(buyers.back()->request, node_.log())));
        }
        for (std::size_t i = 0; i < ops.size(); ++i) compare(finish(answers[i]), expected[i]);
    }

    void step(const Op& op) {
        switch (op.kind) {
        case Op::Kind::buy: break;
        case Op::Kind::ask_again: return ask_again(op);
        case Op::Kind::find_key: return find_key(op);
        case Op::Kind::release: return release(op);
        case Op::Kind::terms: return change_terms(op);
        case Op::Kind::withdraw: return withdraw(op);
        case Op::Kind::settle:
            if (!live_.empty()) {
                node_.inventory().settled(sale_, live_[op.pick % live_.size()].order);
            }
            return;
        case Op::Kind::rebuild:
            if (op.version_step > 0) { // the store's terms, which Redis was not told of
                terms_.stock = op.stock;
                ++terms_.version;
            }
            return install();
        }
    }
    // What was held before, under its own id: nothing changes.
    void ask_again(const Op& op) {
        if (live_.empty()) return;
        const Live& live = live_[op.pick % live_.size()];
        Buyer buyer("anybody", live.order, live.quantity, "");
        buyer.request.user_print = live.user;
        const auto answer = run_on(core(), inventory().reserve(buyer.request, node_.log()));
        RC_ASSERT(answer.has_value());
        RC_ASSERT(answer->order == live.order);
        RC_ASSERT(!answer->replayed);
    }
    void find_key(const Op& op) {
        if (op.key == 0) return;
        const Buyer buyer("user " + std::to_string(op.user), next_order(), op.quantity, key_of(op));
        const auto expected = stock_->decide_bound_key(buyer.request);
        const auto found = run_on(core(), inventory().find_key(buyer.request, node_.log()));
        if (!expected) {
            RC_ASSERT(found.has_value());
            RC_ASSERT(!found->has_value());
        } else if (!*expected) {
            compare(tl::make_unexpected(found.error()), *expected);
        } else {
            RC_ASSERT(found.has_value() && found->has_value());
            compare(**found, *expected);
        }
    }
    void release(const Op& op) {
        std::vector<OrderId> orders(1, OrderId(sale_, kNoon, 9, op.pick)); // nobody's
        for (std::size_t i = 0; i < op.pick % 4 && !live_.empty(); ++i) {
            const std::size_t at = (op.pick / 4 + i) % live_.size();
            orders.push_back(live_[at].order);
            ended_.push_back(live_[at]);
            live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(at));
        }
        if (op.key == 1 && !withdrawn_.empty()) {
            orders.push_back(withdrawn_.back());
            withdrawn_.pop_back();
        }
        for (const OrderId& order : orders) given_back_ += stock_->release(order);
        const auto released = run_on(core(), inventory().release(terms_, epoch_, orders));
        RC_ASSERT(released.has_value());
    }
    void change_terms(const Op& op) {
        using std::chrono::hours;
        SaleTerms terms = terms_;
        terms.stock = op.stock;
        terms.per_user_limit = op.limit;
        terms.starts_at = op.mood == 0 ? node_.now() + hours(1) : kNoon;
        terms.ends_at.reset();
        if (op.mood == 1) terms.ends_at = node_.now() - hours(1);
        if (op.mood == 2) terms.ends_at = node_.now() + hours(1);
        terms.paused = op.mood == 3;
        terms.closed_at.reset();
        if (op.mood == 4) terms.closed_at = kNoon;
        terms.version += op.version_step;
        stock_->apply(terms);
        if (terms.version > terms_.version) terms_ = terms;
        RC_ASSERT(run_on(core(), inventory().set_terms(terms)).has_value());
    }
    void withdraw(const Op& op) {
        const Withdrawal withdrawal{sale_, kOnlyPartition, next_order(), op.quantity, "ops", ""};
        const auto expected = stock_->decide_withdrawal(op.quantity);
        const auto answer = run_on(core(), inventory().withdraw(withdrawal, node_.log()));
        RC_ASSERT(answer.has_value() == expected.has_value());
        if (expected) {
            stock_->apply_withdrawal(withdrawal.id, op.quantity);
            withdrawn_.push_back(withdrawal.id);
        } else {
            RC_ASSERT(std::get<Refusal>(answer.error()).remaining == expected.error().remaining);
        }
    }
    void compare_counts() {
        const auto count = run_on(core(), inventory().count(sale_, node_.log()));
        RC_ASSERT(count.has_value());
        RC_ASSERT(count->remaining == stock_->remaining());
        RC_ASSERT(count->withdrawing == stock_->withdrawing());
        RC_ASSERT(count->given_back == given_back_);
        RC_ASSERT(count->terms_version == stock_->terms().version);
    }

    Node& node_;
    SaleNo sale_;
    Epoch epoch_{0};
    SaleTerms terms_;
    std::optional<Stock> stock_;
    Units given_back_ = 0;
    std::uint64_t orders_ = 0;
    std::vector<Live> live_;  // in the order of their holds
    std::vector<Live> ended_; // whose keys stay bound
    std::vector<OrderId> withdrawn_;
};

TEST(RedisInventoryProperty, DecidesExactlyAsTheDomainDoes) {
    DB_NEED(SomeRedis::is_here(), "Redis");
    const SomeRedis redis;
    Node node(redis.url(), fresh_prefix(), 1);
    std::uint32_t sales = 0;
    const bool holds = rc::check("Redis decides as Stock", [&] {
        const auto ops = *rc::gen::scale(2.0, rc::gen::container<std::vector<Op>>(op()));
        Pair pair(node, SaleNo(++sales));
        pair.run(ops);
    });
    EXPECT_TRUE(holds);
}

} // namespace
} // namespace doorbuster::redis
