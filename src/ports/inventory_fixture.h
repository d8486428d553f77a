// For tests of inventories: sales, buyers, and an inventory under test with its cores.
#pragma once

#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ports/fake_order_log.h"
#include "ports/inventory.h"
#include "runtime/core.h"
#include "runtime/task_fixture.h"

namespace doorbuster::fixture {

inline constexpr SaleNo kSale{5};
inline constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
inline constexpr Fingerprinter kPrints(1, 2);

inline SaleTerms terms_of(Units stock, Units per_user_limit) {
    SaleTerms terms;
    terms.no = kSale;
    terms.id = "demo";
    terms.stock = stock;
    terms.per_user_limit = per_user_limit;
    terms.starts_at = kNoon;
    return terms;
}

inline SaleImage image_of(Units stock, Units per_user_limit, Epoch epoch = Epoch(1)) {
    SaleImage image;
    image.terms = terms_of(stock, per_user_limit);
    image.epoch = epoch;
    return image;
}

// One attempt, with the texts that its request points to.
struct Buyer {
    std::string user;
    std::string key;
    PurchaseRequest request;

    Buyer(std::string user_id, OrderId order, Units quantity, std::string idempotency_key)
        : user(std::move(user_id)), key(std::move(idempotency_key)) {
        request.sale = order.sale();
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

inline OrderId order_no(std::uint64_t n) { return {kSale, kNoon, 0, n}; }

template <class T> Refusal refusal_of(const Step<T>& step) {
    if (step) {
        ADD_FAILURE() << "not refused";
        return {};
    }
    const auto* refusal = std::get_if<Refusal>(&step.error());
    if (refusal == nullptr) ADD_FAILURE() << "an error, not a refusal";
    return refusal == nullptr ? Refusal() : *refusal;
}

// An inventory under test, and what it needs.
class InventorySubject {
public:
    virtual ~InventorySubject() = default;

    virtual Cores& cores() = 0; // three or more that run
    virtual Inventory& inventory() = 0;
    virtual TimePoint now() = 0; // by the clock that the inventory goes by
    virtual void pass(Duration duration) = 0;
};

} // namespace doorbuster::fixture
