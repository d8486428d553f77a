// For tests: an order store in memory that keeps every rule of the port (one transaction a call,
// the position by compare-and-set, the epoch rule, the guard, decide() for every change of an
// order) and fails when the test says so. Any thread.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ports/order_store.h"
#include "runtime/clock.h"

namespace doorbuster::fixture {

class FakeOrderStore : public OrderStore {
public:
    // The store's time; the system's without a clock.
    explicit FakeOrderStore(const Clock* clock = nullptr) : clock_(clock) {}

    // The test's side.
    void set_clock(const Clock* clock) {
        const std::lock_guard lock(mutex_);
        clock_ = clock;
    }
    // The next `times` calls of apply() fail with `error`.
    void fail_applies(const Error& error, int times) {
        const std::lock_guard lock(mutex_);
        failing_applies_ = {error, times};
    }
    // The same for the lifecycle's calls: change_orders, expire_due and those about give-backs.
    void fail_changes(const Error& error, int times) {
        const std::lock_guard lock(mutex_);
        failing_changes_ = {error, times};
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
    // A sale whose first epoch is open already, as after its rebuild.
    [[nodiscard]] StoredSale add_open_sale(const SaleTerms& terms) {
        auto made = create_sale(terms, terms.id, "test");
        const std::lock_guard lock(mutex_);
        Row& row = sales_.at(made->first.terms.no);
        row.sale.epoch = row.barrier = Epoch(1);
        return row.sale;
    }
    // Forgets sales and orders; the log's position stays.
    void clear() {
        const std::lock_guard lock(mutex_);
        sales_.clear();
        orders_.clear();
        due_.clear();
        give_backs_.clear();
        withdrawn_.clear();
        dead_.clear();
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
                                                    const std::string& created_as,
                                                    const std::string& who) override {
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
        note(row, nullptr, {who, "created"});
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
        std::vector<StoredSale> page;
        for (const auto& [no, row] : sales_) {
            if (row.sale.terms.id > after) page.push_back(row.sale);
        }
        std::ranges::sort(page, {}, [](const StoredSale& sale) { return sale.terms.id; });
        if (page.size() > limit) page.resize(limit);
        return page;
    }
    Result<StoredSale> change_sale(const std::string& id, const TermsChange& change,
                                   const std::optional<ChangeKey>& key,
                                   const JournalNote& said) override {
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
        if (changed.terms != row->sale.terms) {
            ++changed.terms.version;
            const SaleTerms before = std::exchange(row->sale, changed).terms;
            row->limit_ever = std::max(row->limit_ever, changed.terms.per_user_limit);
            note(*row, &before, said);
        }
        if (key) row->changes[key->key] = key->request;
        return row->sale;
    }
    Result<std::string> find_change(SaleNo sale, const std::string& key) override {
        const std::lock_guard lock(mutex_);
        const auto row = sales_.find(sale);
        if (row == sales_.end()) return fail(Errc::not_found);
        const auto made = row->second.changes.find(key);
        if (made == row->second.changes.end()) return fail(Errc::not_found);
        return made->second;
    }
    Result<bool> is_withdrawn(const OrderId& withdrawal) override {
        const std::lock_guard lock(mutex_);
        return withdrawn_.contains(withdrawal);
    }
    Result<std::vector<JournalEntry>> journal(SaleNo sale, std::int64_t after,
                                              std::size_t limit) override {
        const std::lock_guard lock(mutex_);
        std::vector<JournalEntry> page;
        const auto row = sales_.find(sale);
        if (row == sales_.end()) return page;
        for (const JournalEntry& entry : row->second.journal) {
            if (entry.seq > after && page.size() < limit) page.push_back(entry);
        }
        return page;
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
    Result<void> read_snapshot(std::span<const SaleNo> wanted, TimePoint keys_since,
                               SaleSnapshotSink& sink) override {
        const std::lock_guard lock(mutex_);
        for (const auto& [no, row] : sales_) {
            if (!is_wanted(wanted, no)) continue;
            Units given_back = 0;
            for (const auto& [id, order] : orders_) {
                if (id.sale() == no && !is_live(order.status)) given_back += order.quantity;
            }
            sink.sale(row.sale, 0, given_back);
            const auto& closed_at = row.sale.terms.closed_at;
            if (closed_at && *closed_at < keys_since) continue;
            for (const auto& [id, order] : orders_) {
                if (id.sale() != no) continue;
                sink.order(id, order.user, order.key, order.quantity, order.status);
            }
        }
        return {};
    }

    Result<ApplyReport> apply(LogPlace from, LogPosition next, std::span<const LogRecord> records,
                              StockGuard guard) override {
        const std::lock_guard lock(mutex_);
        ++applies_;
        if (failing_applies_.is_due()) return tl::make_unexpected(failing_applies_.error);
        ApplyReport report;
        const bool is_in_log = next != from.position;
        if (is_in_log && from.position != next_.at(from.partition)) return fail(Errc::fenced);
        if (is_in_log) next_.set(from.partition, next);
        if (!is_in_log && is_stopped(records.front(), guard)) {
            report.refused = 1;
            return report;
        }
        for (const LogRecord& record : records) apply_one(record, guard, report);
        return report;
    }
    Result<StockSighting> look_at_stock(SaleNo sale) override {
        const std::lock_guard lock(mutex_);
        const auto at = sales_.find(sale);
        if (at == sales_.end()) return fail(Errc::not_found);
        const Row& row = at->second;
        return StockSighting{row.sale.terms.stock, row.sale.sold, row.version};
    }

    Result<ChangeReport> change_orders(std::span<const OrderChange> changes) override {
        const std::lock_guard lock(mutex_);
        if (failing_changes_.is_due()) return tl::make_unexpected(failing_changes_.error);
        ChangeReport report;
        std::vector<OrderId> ended;
        for (const OrderChange& change : changes) {
            ChangeReport::Change& done = report.changes.emplace_back();
            const auto at = orders_.find(change.order);
            if (at == orders_.end()) continue;
            done.before = at->second.status;
            const OrderDecision decision = decide(at->second, change, now());
            done.verdict = decision.verdict;
            if (become(at->second, decision.order)) ended.push_back(change.order);
            done.order = at->second;
        }
        report.given_back = by_sale(ended);
        return report;
    }
    Result<ExpiryReport> expire_due(std::size_t orders_max) override {
        const std::lock_guard lock(mutex_);
        if (failing_changes_.is_due()) return tl::make_unexpected(failing_changes_.error);
        std::vector<OrderId> ended;
        while (ended.size() < orders_max && !due_.empty() && due_.begin()->first <= now()) {
            Order& order = orders_.at(due_.begin()->second);
            OrderChange change;
            change.order = order.id;
            become(order, decide(order, change, now()).order);
            ended.push_back(order.id);
        }
        ExpiryReport report;
        report.given_back = by_sale(ended);
        if (!due_.empty()) report.next_due = due_.begin()->first;
        return report;
    }
    Result<std::vector<GiveBack>> pending_give_backs(const std::optional<OrderId>& after,
                                                     std::size_t orders_max) override {
        const std::lock_guard lock(mutex_);
        if (failing_changes_.is_due()) return tl::make_unexpected(failing_changes_.error);
        std::vector<OrderId> page;
        for (const OrderId& id : give_backs_) {
            if ((!after || id > *after) && page.size() < orders_max) page.push_back(id);
        }
        return by_sale(page);
    }
    Result<void> give_backs_done(std::span<const GiveBack> done) override {
        const std::lock_guard lock(mutex_);
        if (failing_changes_.is_due()) return tl::make_unexpected(failing_changes_.error);
        for (const GiveBack& of_sale : done) {
            if (sales_.at(of_sale.sale.terms.no).sale.epoch != of_sale.sale.epoch) continue;
            for (const OrderId& id : of_sale.orders) give_backs_.erase(id);
        }
        return {};
    }

    Result<Order> find_order(const OrderId& id) override {
        const std::lock_guard lock(mutex_);
        const auto at = orders_.find(id);
        if (at == orders_.end()) return fail(Errc::not_found);
        return at->second;
    }
    Result<OrderPage> list_orders(SaleNo sale, const OrderFilter& filter,
                                  const std::optional<OrderId>& after, std::size_t limit) override {
        const std::lock_guard lock(mutex_);
        OrderPage page;
        for (const auto& [id, order] : orders_) {
            if (id.sale() != sale || (after && id <= *after)) continue;
            if (filter.user && *filter.user != order.user) continue;
            if (filter.status && *filter.status != order.status) continue;
            if (page.orders.size() == limit) {
                page.next = page.orders.back().id;
                break;
            }
            page.orders.push_back(order);
        }
        return page;
    }
    Result<Books> books(const std::optional<std::string>& wanted,
                        std::span<const OrderId> asked = {}) override {
        const std::lock_guard lock(mutex_);
        Books books;
        books.next = next_;
        for (const OrderId& id : asked) {
            if (orders_.contains(id)) books.stored.insert(id);
        }
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
        std::int64_t version = 0;                   // counts orders
        std::map<std::string, std::string> changes; // key to request
        std::vector<JournalEntry> journal;
    };
    struct Failing {
        Error error;
        int times = 0;

        [[nodiscard]] bool is_due() { return times > 0 && times-- > 0; }
    };

    // With the mutex, all of them.
    [[nodiscard]] static bool is_wanted(std::span<const SaleNo> wanted, SaleNo no) {
        return wanted.empty() || std::ranges::find(wanted, no) != wanted.end();
    }
    [[nodiscard]] TimePoint now() const {
        return clock_ != nullptr ? clock_->now() : SystemClock().now();
    }
    [[nodiscard]] Row* find(std::string_view id) {
        for (auto& [no, row] : sales_) {
            if (row.sale.terms.id == id) return &row;
        }
        return nullptr;
    }
    void note(Row& row, const SaleTerms* before, const JournalNote& said) {
        auto [was, is] = changed_terms(before, row.sale.terms);
        row.journal.push_back(
            {++journal_seq_, now(), said.who, said.what, std::move(was), std::move(is)});
    }
    // Grouped as the port does: an id leads with its sale, and these are in order.
    [[nodiscard]] std::vector<GiveBack> by_sale(std::vector<OrderId> ids) const {
        std::ranges::sort(ids);
        std::vector<GiveBack> groups;
        for (const OrderId& id : ids) {
            if (groups.empty() || groups.back().sale.terms.no != id.sale()) {
                groups.push_back({sales_.at(id.sale()).sale, {}});
            }
            groups.back().orders.push_back(id);
        }
        return groups;
    }
    // True when the order has ended without a buyer by that.
    bool become(Order& order, const Order& decided) {
        const bool was_live = is_live(order.status);
        if (is_payment_due(order) && !is_payment_due(decided)) {
            due_.erase({*order.expires_at, order.id});
        }
        order = decided;
        if (!was_live || is_live(order.status)) return false;
        sales_.at(order.id.sale()).sale.sold -= order.quantity;
        give_backs_.insert(order.id);
        return true;
    }

    [[nodiscard]] bool is_stopped(const LogRecord& record, StockGuard guard) const {
        const auto at = sales_.find(record.sale);
        if (at == sales_.end() || record.kind != LogRecordKind::order) return false;
        const Row& row = at->second;
        switch (guard) {
        case StockGuard::overwrite: return false;
        case StockGuard::version: return record.sighting && record.sighting->version != row.version;
        case StockGuard::version_and_stock: break;
        }
        return row.sale.sold + record.quantity > row.sale.terms.stock;
    }
    void apply_one(const LogRecord& record, StockGuard guard, ApplyReport& report) {
        const auto at = sales_.find(record.sale);
        if (at == sales_.end()) {
            if (record.kind == LogRecordKind::unreadable) ++report.dead_letters;
            if (record.kind != LogRecordKind::order) return;
            ++(dead_.insert(record.order).second ? report.dead_letters : report.duplicates);
            return;
        }
        Row& row = at->second;
        if (record.kind == LogRecordKind::barrier) {
            row.barrier = std::max(row.barrier, record.epoch);
            return;
        }
        const bool is_void = record.epoch != row.barrier;
        if (record.kind == LogRecordKind::withdraw) {
            if (!is_void) apply_withdrawal(row, record, report);
        } else if (is_void) {
            ++report.voided;
            ++row.voided;
        } else {
            apply_order(row, record, guard, report);
        }
    }
    void apply_order(Row& row, const LogRecord& record, StockGuard guard, ApplyReport& report) {
        const auto [at, is_new] = orders_.try_emplace(record.order);
        if (!is_new) {
            ++report.duplicates;
            // Held once more after it had been given back: this hold ends, too.
            if (!is_live(at->second.status)) give_backs_.insert(record.order);
            return;
        }
        const StockSighting seen = record.sighting.value_or(StockSighting());
        const bool fits = !is_stopped(record, guard);
        if (fits) ++row.version;
        Order& order = at->second;
        order.id = record.order;
        order.user = record.user;
        order.key = record.key;
        order.quantity = record.quantity;
        order.status = fits ? OrderStatus::confirmed : OrderStatus::refused;
        order.version = fits ? 1 : 2;
        if (row.sale.terms.payment_timeout > Duration(0)) {
            order.expires_at = now() + row.sale.terms.payment_timeout;
        }
        if (!fits) give_backs_.insert(order.id);
        else if (guard == StockGuard::overwrite) row.sale.sold = seen.sold + record.quantity;
        else row.sale.sold = std::min(row.sale.sold + record.quantity, row.sale.terms.stock);
        if (is_payment_due(order)) due_.insert({*order.expires_at, order.id});
        row.accepted_units += record.quantity;
        ++row.accepted_orders;
        auto listed = std::ranges::find(report.sales, record.sale, &ApplyReport::Sale::no);
        if (listed == report.sales.end()) {
            report.sales.emplace_back().no = record.sale;
            listed = std::prev(report.sales.end());
        }
        ++(fits ? listed->confirmed : listed->refused);
        ++(fits ? report.confirmed : report.refused);
    }
    void apply_withdrawal(Row& row, const LogRecord& record, ApplyReport& report) {
        give_backs_.insert(record.order); // the inventory's hold ends, whatever becomes of it
        if (withdrawn_.contains(record.order)) {
            ++report.duplicates;
            return;
        }
        // Under its key once, and never units that are sold.
        const bool is_again = !record.key.empty() && row.changes.contains(record.key);
        const SaleTerms before = row.sale.terms;
        if (!is_again) {
            if (row.sale.sold + record.quantity > before.stock) return;
            row.sale.terms.stock -= record.quantity;
            ++row.sale.terms.version;
            note(row, &before, {record.user, "restocked"});
            if (!record.key.empty()) row.changes[record.key] = restock_text(-record.quantity);
        }
        withdrawn_.insert(record.order);
        ++report.withdrawals;
    }

    [[nodiscard]] SaleBooks books_of(const Row& row) const {
        SaleBooks books;
        books.sale = row.sale;
        books.log_accepted_orders = row.accepted_orders;
        books.log_accepted_units = row.accepted_units;
        books.voided_orders = row.voided;
        books.per_user_limit_ever = row.limit_ever;
        books.barrier = row.barrier;
        books.give_backs = std::ranges::count(give_backs_, row.sale.terms.no, &OrderId::sale);
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

    mutable std::mutex mutex_; // guards everything below
    const Clock* clock_;
    std::string log_id_;
    LogPositions next_;
    std::map<SaleNo, Row> sales_;
    std::map<OrderId, Order> orders_;
    std::set<std::pair<TimePoint, OrderId>> due_; // orders that wait for their payment
    std::set<OrderId> give_backs_;
    std::set<OrderId> withdrawn_;
    std::set<OrderId> dead_;
    std::int64_t journal_seq_ = 0;
    Failing failing_applies_;
    Failing failing_changes_;
    int applies_ = 0;
};

} // namespace doorbuster::fixture
