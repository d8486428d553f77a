// What must hold at every moment (design.md section 1), looked at from outside: from what the log
// and the store have, and from what buyers were told. Knows nothing of epochs but the rule that
// every reader of the log applies (section 4, rule 4).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "domain/log_record.h"
#include "domain/purchase.h"
#include "ports/fake_order_store.h"

namespace doorbuster::model {

class Books {
public:
    using Key = std::tuple<SaleNo, std::string, std::string>; // sale, user, idempotency key

    explicit Books(fixture::FakeOrderStore& store) : store_(store) {}

    // The log has one more record. Returns the epoch that is open before it.
    void appended(const LogRecord& record);
    [[nodiscard]] Epoch open(SaleNo sale) const;
    // A buyer heard yes.
    void told_yes(const OrderId& order, const Key& key, Units quantity);
    // The store changed.
    void check_store();
    // Nothing moves any more.
    void check_at_rest();

    void violation(const std::string& what) {
        if (!violation_) violation_ = what;
    }
    [[nodiscard]] const std::optional<std::string>& first_violation() const { return violation_; }
    [[nodiscard]] std::size_t valid_orders() const { return valid_.size(); }
    [[nodiscard]] std::size_t yeses() const { return told_.size(); }
    [[nodiscard]] std::size_t voided() const { return voided_; }

private:
    struct Valid {
        std::string user;
        std::string key;
        Units quantity = 0;
    };
    void check_sale(SaleNo sale);

    fixture::FakeOrderStore& store_;
    std::map<SaleNo, Epoch> open_;
    std::map<OrderId, Valid> valid_; // the log's valid orders
    std::map<Key, OrderId> by_key_;  // of them
    std::map<Key, OrderId> told_by_key_;
    std::set<OrderId> told_;
    std::map<OrderId, OrderStatus> stored_;
    std::map<SaleNo, SaleTerms> terms_;
    std::size_t voided_ = 0;
    std::optional<std::string> violation_;
};

} // namespace doorbuster::model
