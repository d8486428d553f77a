// Stock: the units of one sale and who holds them. Pure; one core owns it. Live requests and the
// replay after a crash run the same two functions: decide() says what may happen and changes
// nothing, apply() makes it so.
//
// A held order costs one entry of 80 bytes in orders_, one of 40 bytes in holders_ and, with a key,
// one of 40 bytes in keys_; in flat maps that are at most 7/8 and just after a growth 7/16 full, at
// most 370 bytes together.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <map>
#include <optional>
#include <tl/expected.hpp>
#include <variant>

#include "base/fingerprint.h"
#include "domain/ids.h"
#include "domain/purchase.h"
#include "domain/sale.h"

namespace doorbuster {

// An order takes its units.
struct OrderPlaced {
    OrderId order;
    Fingerprint user;
    std::optional<Fingerprint> key;
    Units quantity = 0;
};

// The key was bound before: the same answer again, no stock taken.
struct OrderReplayed {
    OrderId order;
    Units quantity = 0;
};

using StockDecision = std::variant<OrderPlaced, OrderReplayed>;

// closed, not_started or paused; nullopt: the sale is open.
[[nodiscard]] std::optional<Refusal> refuse_by_state(const SaleTerms& terms, TimePoint now);

class Stock {
public:
    explicit Stock(SaleTerms terms) : terms_(std::move(terms)) {}

    // In the contract's order: a bound key, the sale's state, nothing left, the user's limit, fewer
    // left than asked.
    [[nodiscard]] tl::expected<StockDecision, Refusal> decide(const PurchaseRequest& request,
                                                              TimePoint now) const;
    // The answer of decide() to a bound key, nullopt when it is not bound.
    [[nodiscard]] std::optional<tl::expected<StockDecision, Refusal>>
    decide_bound_key(const PurchaseRequest& request) const;

    void apply(const OrderPlaced& order);
    // Ends the hold of an order or of a withdrawal; what holds nothing changes nothing. The key
    // stays bound. Returns the units that an order gave back: a withdrawal's left the stock.
    Units release(const OrderId& order);
    // Takes free units out of the sale until the store has taken them out of the stock: sold_out
    // when there are not so many.
    [[nodiscard]] tl::expected<void, Refusal> decide_withdrawal(Units units) const;
    void apply_withdrawal(const OrderId& id, Units units);
    // Units that no order here holds (rebuild only).
    void hold_elsewhere(Units units) { held_ += units; }
    // A finished order whose key is still bound (rebuild only).
    void bind_key(const Fingerprint& key, const OrderId& order, Units quantity);
    // Newer terms replace older ones; an older version changes nothing.
    void apply(const SaleTerms& terms);

    // Makes room for `orders` at once, so that growing does not stall the owning core.
    void reserve_room(std::size_t orders, std::size_t keys);

    [[nodiscard]] const SaleTerms& terms() const { return terms_; }
    [[nodiscard]] Units held() const { return held_; }
    // Of these: operators' withdrawals, until release().
    [[nodiscard]] Units withdrawing() const { return withdrawing_; }
    // May be negative for a moment where an operator's terms and holds cross.
    [[nodiscard]] Units remaining() const { return terms_.stock - held_; }

private:
    struct Holder {
        OrderId latest; // of the orders that hold units
        std::uint32_t units = 0;
    };
    struct Hold {
        Fingerprint user;
        OrderId before; // the user's neighbours among his orders that hold units, or none
        OrderId after;
        std::uint32_t units = 0;
    };
    struct BoundKey {
        OrderId order;
        std::uint32_t quantity = 0;
    };
    static_assert(kPerUserLimitMax <= UINT32_MAX && kQuantityMax <= UINT32_MAX);

    template <class Value>
    using Map = boost::unordered_flat_map<Fingerprint, Value, FingerprintHash>;

    SaleTerms terms_;
    Units held_ = 0;
    boost::unordered_flat_map<OrderId, Hold, OrderIdHash> orders_;
    Map<Holder> holders_;
    Map<BoundKey> keys_;
    std::map<OrderId, Units> withdrawals_; // on their way through the log
    Units withdrawing_ = 0;                // their sum
};

} // namespace doorbuster
