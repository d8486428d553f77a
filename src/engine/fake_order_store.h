// For tests: an order store in memory that keeps the port's promises (one transaction a call, the
// position by compare-and-set, the epoch rule, the guard) and fails when the test says so. Any
// thread.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ports/order_store.h"

namespace doorbuster::fixture {

class FakeOrderStore final : public OrderStore {
public:
    struct Sale {
        StoredSale row;
        std::string created_as;
        Epoch barrier;
        Units units_accepted = 0;
        std::int64_t orders_accepted = 0;
        std::int64_t orders_voided = 0;
    };

    // The test's side: the next `times` calls of apply() fail with `error`.
    void fail_applies(const Error& error, int times) {
        const std::lock_guard lock(mutex_);
        failure_ = error;
        failures_left_ = times;
    }
    [[nodiscard]] int applies() const { // calls of apply(), failed ones too
        const std::lock_guard lock(mutex_);
        return applies_;
    }
    [[nodiscard]] std::vector<Order> orders() const {
        const std::lock_guard lock(mutex_);
        std::vector<Order> all;
        for (const auto& [id, order] : orders_) all.push_back(order);
        return all;
    }
    void set_status(const OrderId& id, OrderStatus status) { // as the lifecycle would
        const std::lock_guard lock(mutex_);
        Order& order = orders_.at(id);
        StoredSale& row = sales_.at(id.sale()).row;
        if (is_live(order.status)) row.sold -= order.quantity;
        if (is_live(status)) row.sold += order.quantity;
        order.status = status;
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
        for (const auto& [no, sale] : sales_) {
            if (sale.row.terms.id != terms.id) continue;
            if (sale.created_as != created_as) return fail(Errc::conflict);
            return std::pair(sale.row, false);
        }
        Sale sale;
        sale.row.terms = terms;
        sale.row.terms.no = SaleNo(static_cast<std::uint32_t>(sales_.size() + 1));
        sale.created_as = created_as;
        sales_[sale.row.terms.no] = sale;
        return std::pair(sale.row, true);
    }
    Result<StoredSale> find_sale(std::string_view id) override {
        const std::lock_guard lock(mutex_);
        for (const auto& [no, sale] : sales_) {
            if (sale.row.terms.id == id) return sale.row;
        }
        return fail(Errc::not_found);
    }
    Result<std::vector<StoredSale>> list_sales(const std::string& after,
                                               std::size_t limit) override {
        const std::lock_guard lock(mutex_);
        std::vector<StoredSale> rows;
        for (const auto& [no, sale] : sales_) {
            if (sale.row.terms.id > after) rows.push_back(sale.row);
        }
        std::ranges::sort(rows, {}, [](const StoredSale& row) { return row.terms.id; });
        if (rows.size() > limit) rows.resize(limit);
        return rows;
    }
    Result<StoredSale> change_sale(const std::string& id, const TermsChange& change,
                                   const std::optional<ChangeKey>&) override {
        const std::lock_guard lock(mutex_);
        for (auto& [no, sale] : sales_) {
            if (sale.row.terms.id != id) continue;
            StoredSale changed = sale.row;
            if (auto done = change(changed); !done) return tl::make_unexpected(done.error());
            ++changed.terms.version;
            sale.row = changed;
            return changed;
        }
        return fail(Errc::not_found);
    }

    Result<std::vector<StoredSale>> next_epochs(std::span<const SaleNo> sales) override {
        const std::lock_guard lock(mutex_);
        std::vector<StoredSale> opened;
        for (auto& [no, sale] : sales_) {
            if (!is_one_of(sales, no)) continue;
            sale.row.epoch = sale.row.epoch.next();
            opened.push_back(sale.row);
        }
        return opened;
    }
    Result<LogPosition> read_snapshot(std::span<const SaleNo> sales, TimePoint keys_since,
                                      SaleSnapshotSink& sink) override {
        const std::lock_guard lock(mutex_);
        for (const auto& [no, sale] : sales_) {
            if (!is_one_of(sales, no)) continue;
            sink.sale(sale.row, 0);
            const auto& closed_at = sale.row.terms.closed_at;
            if (closed_at && *closed_at < keys_since) continue;
            for (const auto& [id, order] : orders_) {
                if (id.sale() != no) continue;
                sink.order(id, order.user, order.key, order.quantity, order.status);
            }
        }
        return next_;
    }

    Result<ApplyReport> apply(LogPosition from, LogPosition next,
                              std::span<const LogRecord> records, StockGuard guard) override {
        const std::lock_guard lock(mutex_);
        ++applies_;
        if (failures_left_ > 0) {
            --failures_left_;
            return tl::make_unexpected(failure_);
        }
        if (from != next_) return fail(Errc::fenced);
        next_ = next;
        ApplyReport report;
        for (const LogRecord& record : records) apply_one(record, guard, report);
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
            if (filter.user && *filter.user != order.user) continue;
            if (filter.status && *filter.status != order.status) continue;
            if (page.size() < limit) page.push_back(order);
        }
        return page;
    }
    Result<Books> books(const std::optional<std::string>& sale_id) override {
        const std::lock_guard lock(mutex_);
        Books books;
        books.next = next_;
        for (const auto& [no, sale] : sales_) {
            if (sale_id && sale.row.terms.id != *sale_id) continue;
            SaleBooks& row = books.sales.emplace_back();
            row.sale = sale.row;
            row.log_accepted_units = sale.units_accepted;
            row.log_accepted_orders = sale.orders_accepted;
            row.voided_orders = sale.orders_voided;
            row.per_user_limit_ever = sale.row.terms.per_user_limit;
            row.barrier = sale.barrier;
            for (const auto& [id, order] : orders_) {
                if (id.sale() != no) continue;
                ++row.orders[static_cast<std::size_t>(order.status)];
                row.units[static_cast<std::size_t>(order.status)] += order.quantity;
            }
        }
        if (sale_id && books.sales.empty()) return fail(Errc::not_found);
        return books;
    }
    [[nodiscard]] Connections connections() const override { return {}; }
    Result<void> ping() override { return {}; }

private:
    static bool is_one_of(std::span<const SaleNo> sales, SaleNo no) {
        return sales.empty() || std::ranges::find(sales, no) != sales.end();
    }
    void apply_one(const LogRecord& record, StockGuard guard, ApplyReport& report) {
        Sale& sale = sales_.at(record.sale);
        if (record.kind == LogRecordKind::barrier) {
            sale.barrier = std::max(sale.barrier, record.epoch);
            return;
        }
        if (record.epoch != sale.barrier) {
            ++report.voided;
            ++sale.orders_voided;
            return;
        }
        Order order;
        order.id = record.order;
        order.user = record.user;
        order.key = record.key;
        order.quantity = record.quantity;
        order.version = 1;
        switch (guard) {
        case StockGuard::version_and_stock:
            order.status = sale.row.sold + record.quantity <= sale.row.terms.stock
                               ? OrderStatus::confirmed
                               : OrderStatus::refused;
            break;
        }
        if (!orders_.emplace(order.id, order).second) {
            ++report.duplicates;
            return;
        }
        sale.units_accepted += record.quantity;
        ++sale.orders_accepted;
        if (is_live(order.status)) sale.row.sold += record.quantity;
        const auto listed =
            std::ranges::find(report.sales, record.sale, [](const auto& one) { return one.no; });
        auto& of_sale = listed != report.sales.end() ? *listed : report.sales.emplace_back();
        of_sale.no = record.sale;
        ++(is_live(order.status) ? of_sale.confirmed : of_sale.refused);
        ++(is_live(order.status) ? report.confirmed : report.refused);
    }

    mutable std::mutex mutex_; // guards everything below
    std::string log_id_;
    LogPosition next_{1};
    std::map<SaleNo, Sale> sales_;
    std::map<OrderId, Order> orders_;
    Error failure_;
    int failures_left_ = 0;
    int applies_ = 0;
};

} // namespace doorbuster::fixture
