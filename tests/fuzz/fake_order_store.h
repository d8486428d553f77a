// An order store in memory, for fuzzing: one lock around plain containers, no rule left out. Any
// thread.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ports/order_store.h"

namespace doorbuster::fuzz {

class FakeOrderStore final : public OrderStore {
public:
    // Forgets sales and orders; the log's position stays.
    void clear() {
        const std::lock_guard lock(mutex_);
        sales_.clear();
        orders_.clear();
    }
    // A sale whose first epoch is open already, as after its rebuild.
    [[nodiscard]] StoredSale add_open_sale(const SaleTerms& terms) {
        auto made = create_sale(terms, terms.id);
        const std::lock_guard lock(mutex_);
        Row& row = sales_.at(made->first.terms.no);
        row.sale.epoch = row.barrier = Epoch(1);
        return row.sale;
    }
    [[nodiscard]] std::map<OrderId, Order> orders() const {
        const std::lock_guard lock(mutex_);
        return orders_;
    }

    Result<LogBinding> log_binding() override {
        const std::lock_guard lock(mutex_);
        return LogBinding{log_id_, next_};
    }
    Result<void> bind_log(const std::string& log_id) override {
        const std::lock_guard lock(mutex_);
        if (!log_id_.empty()) return fail(Errc::conflict);
        log_id_ = log_id;
        return {};
    }

    Result<std::pair<StoredSale, bool>> create_sale(const SaleTerms& terms,
                                                    const std::string& created_as) override {
        const std::lock_guard lock(mutex_);
        if (const Row* there = find(terms.id)) {
            if (there->created_as == created_as) return std::pair(there->sale, false);
            return fail(Errc::conflict, "sale " + terms.id);
        }
        Row row;
        row.sale.terms = terms;
        row.sale.terms.no = SaleNo(static_cast<std::uint32_t>(sales_.size() + 1));
        row.created_as = created_as;
        row.limit_ever = terms.per_user_limit;
        const StoredSale made = row.sale;
        sales_.emplace(made.terms.no, std::move(row));
        return std::pair(made, true);
    }
    Result<StoredSale> find_sale(std::string_view id) override {
        const std::lock_guard lock(mutex_);
        const Row* row = find(id);
        if (row == nullptr) return fail(Errc::not_found);
        return row->sale;
    }
    Result<std::vector<StoredSale>> list_sales(const std::string& after,
                                               std::size_t limit) override {
        const std::lock_guard lock(mutex_);
        std::map<std::string, StoredSale> by_id;
        for (const auto& [no, row] : sales_) by_id.emplace(row.sale.terms.id, row.sale);
        std::vector<StoredSale> page;
        for (auto at = by_id.upper_bound(after); at != by_id.end() && page.size() < limit; ++at) {
            page.push_back(at->second);
        }
        return page;
    }
    Result<StoredSale> change_sale(const std::string& id, const TermsChange& change,
                                   const std::optional<ChangeKey>& key) override {
        const std::lock_guard lock(mutex_);
        Row* row = find(id);
        if (row == nullptr) return fail(Errc::not_found);
        if (key) {
            const auto made = row->changes.find(key->key);
            if (made != row->changes.end()) {
                if (made->second == key->request) return row->sale;
                return fail(Errc::conflict);
            }
        }
        StoredSale changed = row->sale;
        if (auto done = change(changed); !done) return tl::make_unexpected(done.error());
        if (changed.terms != row->sale.terms) ++changed.terms.version;
        row->sale = changed;
        row->limit_ever = std::max(row->limit_ever, changed.terms.per_user_limit);
        if (key) row->changes[key->key] = key->request;
        return changed;
    }

    Result<std::vector<StoredSale>> next_epochs(std::span<const SaleNo> wanted) override {
        const std::lock_guard lock(mutex_);
        std::vector<StoredSale> opened;
        for (auto& [no, row] : sales_) {
            if (!is_wanted(wanted, no)) continue;
            row.sale.epoch = row.sale.epoch.next();
            opened.push_back(row.sale);
        }
        return opened;
    }
    Result<LogPosition> read_snapshot(std::span<const SaleNo> wanted, TimePoint keys_since,
                                      SaleSnapshotSink& sink) override {
        const std::lock_guard lock(mutex_);
        for (const auto& [no, row] : sales_) {
            if (!is_wanted(wanted, no)) continue;
            sink.sale(row.sale, 0);
            const auto closed_at = row.sale.terms.closed_at;
            if (closed_at && *closed_at < keys_since) continue;
            for (const auto& [id, order] : orders_) {
                if (id.sale() != no) continue;
                sink.order(id, order.user, order.key, order.quantity, order.status);
            }
        }
        return next_;
    }

    Result<ApplyReport> apply(LogPosition from, LogPosition next,
                              std::span<const LogRecord> records, StockGuard) override {
        const std::lock_guard lock(mutex_);
        if (from != next_) return fail(Errc::fenced);
        next_ = next;
        ApplyReport report;
        for (const LogRecord& record : records) apply_one(record, report);
        return report;
    }

    Result<Order> find_order(const OrderId& id) override {
        const std::lock_guard lock(mutex_);
        const auto at = orders_.find(id);
        if (at == orders_.end()) return fail(Errc::not_found);
        return at->second;
    }
    Result<std::vector<Order>> list_orders(SaleNo sale, const OrderFilter& filter,
                                           const std::optional<OrderId>& after,
                                           std::size_t limit) override {
        const std::lock_guard lock(mutex_);
        std::vector<Order> page;
        for (const auto& [id, order] : orders_) {
            if (id.sale() != sale || (after && id <= *after)) continue;
            if (filter.status && order.status != *filter.status) continue;
            if (filter.user && order.user != *filter.user) continue;
            if (page.size() < limit) page.push_back(order);
        }
        return page;
    }
    Result<Books> books(const std::optional<std::string>& wanted) override {
        const std::lock_guard lock(mutex_);
        Books books;
        books.next = next_;
        for (const auto& [no, row] : sales_) {
            if (!wanted || row.sale.terms.id == *wanted) books.sales.push_back(books_of(row));
        }
        if (wanted && books.sales.empty()) return fail(Errc::not_found);
        return books;
    }

    [[nodiscard]] Connections connections() const override { return {}; }
    Result<void> ping() override { return {}; }

private:
    struct Row {
        StoredSale sale;
        std::string created_as;
        Units limit_ever = 0;
        Epoch barrier;
        std::int64_t accepted_orders = 0;
        Units accepted_units = 0;
        std::int64_t voided = 0;
        std::map<std::string, std::string> changes; // key to request
    };

    [[nodiscard]] static bool is_wanted(std::span<const SaleNo> wanted, SaleNo no) {
        return wanted.empty() || std::ranges::find(wanted, no) != wanted.end();
    }
    [[nodiscard]] Row* find(std::string_view id) {
        for (auto& [no, row] : sales_) {
            if (row.sale.terms.id == id) return &row;
        }
        return nullptr;
    }

    void apply_one(const LogRecord& record, ApplyReport& report) {
        const auto at = sales_.find(record.sale);
        if (at == sales_.end()) return;
        Row& row = at->second;
        if (record.kind == LogRecordKind::barrier) {
            row.barrier = std::max(row.barrier, record.epoch);
            return;
        }
        if (record.epoch != row.barrier) {
            ++report.voided;
            ++row.voided;
            return;
        }
        Order order;
        order.id = record.order;
        order.user = record.user;
        order.key = record.key;
        order.quantity = record.quantity;
        const bool fits = row.sale.sold + record.quantity <= row.sale.terms.stock;
        order.status = fits ? OrderStatus::confirmed : OrderStatus::refused;
        order.version = 1;
        if (!orders_.emplace(order.id, order).second) {
            ++report.duplicates;
            return;
        }
        ++row.accepted_orders;
        row.accepted_units += record.quantity;
        if (fits) row.sale.sold += record.quantity;
        ++(fits ? report.confirmed : report.refused);
    }

    [[nodiscard]] SaleBooks books_of(const Row& row) const {
        SaleBooks books;
        books.sale = row.sale;
        books.log_accepted_orders = row.accepted_orders;
        books.log_accepted_units = row.accepted_units;
        books.voided_orders = row.voided;
        books.per_user_limit_ever = row.limit_ever;
        books.barrier = row.barrier;
        std::map<std::string, Units> by_user;
        for (const auto& [id, order] : orders_) {
            if (id.sale() != row.sale.terms.no) continue;
            const auto status = static_cast<std::size_t>(order.status);
            ++books.orders[status];
            books.units[status] += order.quantity;
            if (is_live(order.status)) by_user[order.user] += order.quantity;
        }
        for (const auto& [user, units] : by_user) {
            if (units > row.limit_ever) books.over_limit.push_back({user, units});
        }
        return books;
    }

    mutable std::mutex mutex_; // guards the rest
    std::string log_id_;
    LogPosition next_{1};
    std::map<SaleNo, Row> sales_;
    std::map<OrderId, Order> orders_;
};

} // namespace doorbuster::fuzz
