// A row of the table `orders`, and reading one.
#pragma once

#include <set>
#include <string>

#include "adapters/sql/rows.h"
#include "adapters/sql/session.h"
#include "base/result.h"
#include "domain/order.h"

namespace doorbuster::sql {

// Errc::corrupt for a text that is none.
[[nodiscard]] Result<OrderId> order_id_of(const std::string& text);

// A row of select_order_columns.
struct OrderRow {
    std::string id, user, key;
    Integer quantity = 0, status = 0, version = 0;
    Nullable<Integer> expires_at, paid_at;
    Nullable<std::string> payment_ref;

    template <class Statement> void bind(Statement& statement) {
        statement.exchange(soci::into(id));
        statement.exchange(soci::into(user));
        statement.exchange(soci::into(quantity));
        statement.exchange(soci::into(status));
        statement.exchange(soci::into(expires_at.value, expires_at.indicator));
        statement.exchange(soci::into(paid_at.value, paid_at.indicator));
        statement.exchange(soci::into(payment_ref.value, payment_ref.indicator));
        statement.exchange(soci::into(key));
        statement.exchange(soci::into(version));
    }
    [[nodiscard]] Result<Order> order() const;
};

// Which of these ids are in the store: orders, or dead letters.
[[nodiscard]] std::set<std::string> stored_among(Session& session, const Rows::Texts& ids);

// Errc::not_found.
[[nodiscard]] Result<Order> select_order(Session& session, const OrderId& id);

} // namespace doorbuster::sql
