#include "books.h"

#include <fmt/format.h>

namespace doorbuster::model {

Epoch Books::open(SaleNo sale) const {
    const auto at = open_.find(sale);
    return at == open_.end() ? Epoch() : at->second;
}

void Books::appended(const LogRecord& record) {
    Epoch& open = open_[record.sale];
    if (record.kind == LogRecordKind::barrier) {
        open = std::max(open, record.epoch);
        return;
    }
    if (record.epoch != open) {
        ++voided_;
        return;
    }
    if (record.kind != LogRecordKind::order) return;
    const auto [at, is_new] =
        valid_.try_emplace(record.order, Valid{record.user, record.key, record.quantity});
    if (!is_new) return; // one hold produced twice
    if (!record.key.empty()) {
        const auto [bound, is_first] =
            by_key_.try_emplace({record.sale, record.user, record.key}, record.order);
        if (!is_first) {
            violation(fmt::format("I3: key {} of {} is bound to {} and to {} in the log",
                                  record.key, record.user, bound->second.text(),
                                  record.order.text()));
        }
    }
    check_sale(record.sale);
}

// Units ordered minus units given back, as the log alone promises them.
void Books::check_sale(SaleNo sale) {
    const auto terms = terms_.find(sale);
    if (terms == terms_.end()) return;
    Units units = 0;
    std::map<std::string, Units> by_user;
    for (auto at = valid_.lower_bound(OrderId::first_of(sale));
         at != valid_.end() && at->first.sale() == sale; ++at) {
        const auto stored = stored_.find(at->first);
        if (stored != stored_.end() && !is_live(stored->second)) continue;
        units += at->second.quantity;
        by_user[at->second.user] += at->second.quantity;
    }
    if (units > terms->second.stock) {
        violation(fmt::format("I1: {} units of sale {} are ordered, its stock is {}", units,
                              sale.get(), terms->second.stock));
    }
    for (const auto& [user, held] : by_user) {
        if (held <= terms->second.per_user_limit) continue;
        violation(fmt::format("I4: {} has {} units of sale {}, the limit is {}", user, held,
                              sale.get(), terms->second.per_user_limit));
    }
}

void Books::told_yes(const OrderId& order, const Key& key, Units quantity) {
    told_.insert(order);
    const auto at = valid_.find(order);
    if (at == valid_.end()) {
        violation("I2: a yes was told for " + order.text() + ", which is not valid in the log");
    } else if (at->second.quantity != quantity || at->second.user != std::get<1>(key)) {
        violation("I2: a yes was told for another purchase than " + order.text());
    }
    if (std::get<2>(key).empty()) return;
    const auto [told, is_first] = told_by_key_.try_emplace(key, order);
    if (!is_first && told->second != order) {
        violation(fmt::format("I3: key {} of {} was answered with {} and with {}", std::get<2>(key),
                              std::get<1>(key), told->second.text(), order.text()));
    }
}

void Books::check_store() {
    stored_.clear();
    for (const Order& order : store_.orders()) {
        stored_[order.id] = order.status;
        if (order.status == OrderStatus::refused) {
            violation("I1: the store's guard had to stop " + order.id.text());
        }
        if (!valid_.contains(order.id)) {
            violation("I2: the store has " + order.id.text() + ", which the log does not promise");
        }
    }
    const auto books = store_.books(std::nullopt);
    if (!books) return;
    for (const SaleBooks& sale : books->sales) {
        terms_[sale.sale.terms.no] = sale.sale.terms;
        if (sale.sale.sold > sale.sale.terms.stock) {
            violation(fmt::format("I1: {} units of sale {} are sold, its stock is {}",
                                  sale.sale.sold, sale.sale.terms.no.get(), sale.sale.terms.stock));
        }
        if (!sale.over_limit.empty()) {
            violation("I4: the store has too many orders of " + sale.over_limit.front().user);
        }
        check_sale(sale.sale.terms.no);
    }
}

void Books::check_at_rest() {
    check_store();
    for (const auto& [id, order] : valid_) {
        if (!stored_.contains(id)) violation("I5: " + id.text() + " never reached the store");
    }
    for (const OrderId& id : told_) {
        if (!stored_.contains(id)) violation("I2: " + id.text() + " was told and is not stored");
    }
    const auto books = store_.books(std::nullopt);
    for (const SaleBooks& sale : books->sales) {
        Units live = 0;
        for (std::size_t i = 0; i < kOrderStatuses; ++i) {
            if (is_live(static_cast<OrderStatus>(i))) live += sale.units[i];
        }
        if (live != sale.sale.sold || sale.give_backs != 0) {
            violation(fmt::format("I5: sale {} has {} units in live orders, {} sold, {} give-backs",
                                  sale.sale.terms.no.get(), live, sale.sale.sold, sale.give_backs));
        }
    }
}

} // namespace doorbuster::model
