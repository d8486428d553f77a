#include "engine/audit.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <utility>

namespace doorbuster {
namespace {

constexpr std::size_t kTailBatch = 50'000; // records a read
constexpr int kAttemptsMax = 5; // while operators change sales; then without the inventory's side

std::size_t index_of(OrderStatus status) { return static_cast<std::size_t>(status); }

// What the valid records of one sale's tail took.
struct Tail {
    std::int64_t orders = 0; // up to queued_to, as the next two
    Units units = 0;
    std::map<std::string, Units> units_by_user;
    Units counted = 0;           // of orders up to the inventory's log_end
    bool has_withdrawal = false; // up to there
};

// By sale: the same epoch rule as the writer's.
std::map<SaleNo, Tail> sum_tail(const Books& books, std::span<const LogRecord> records,
                                LogPosition queued_to,
                                const std::map<SaleNo, InventoryCount>& inventory) {
    std::map<SaleNo, Epoch> barriers;
    for (const SaleBooks& sale : books.sales) barriers[sale.sale.terms.no] = sale.barrier;
    std::map<SaleNo, Tail> tails;
    LogPosition at = books.next.at(kOnlyPartition);
    for (const LogRecord& record : records) {
        const LogPosition position = std::exchange(at, at.next());
        const auto barrier = barriers.find(record.sale);
        if (barrier == barriers.end()) continue;
        if (record.kind == LogRecordKind::barrier) {
            barrier->second = std::max(barrier->second, record.epoch);
            continue;
        }
        if (record.epoch != barrier->second) continue;
        Tail& tail = tails[record.sale];
        const auto live = inventory.find(record.sale);
        const bool is_counted = live != inventory.end() && position <= live->second.log_end;
        if (record.kind == LogRecordKind::withdraw) {
            tail.has_withdrawal = tail.has_withdrawal || is_counted;
            continue;
        }
        if (is_counted) tail.counted += record.quantity;
        if (position <= queued_to) {
            ++tail.orders;
            tail.units += record.quantity;
            tail.units_by_user[record.user] += record.quantity;
        }
    }
    return tails;
}

std::string text(std::int64_t number) { return std::to_string(number); }

void judge_store(const SaleBooks& books, SaleAudit& row) {
    std::int64_t stored = 0;
    Units stored_units = 0;
    Units live_units = 0;
    for (std::uint8_t i = 1; i < kOrderStatuses; ++i) {
        stored += books.orders[i];
        stored_units += books.units[i];
        if (is_live(static_cast<OrderStatus>(i))) live_units += books.units[i];
    }
    if (books.sale.sold != live_units) {
        row.violations.push_back("the sale's row says " + text(books.sale.sold) +
                                 " units sold, its live orders " + text(live_units));
    }
    if (books.log_accepted_orders != stored + books.dead_letters ||
        books.log_accepted_units != stored_units + books.dead_letter_units) {
        row.violations.push_back("the log accepted " + text(books.log_accepted_orders) +
                                 " orders of " + text(books.log_accepted_units) +
                                 " units, the store has " + text(stored) + " of " +
                                 text(stored_units) + " and " + text(books.dead_letters) +
                                 " dead letters of " + text(books.dead_letter_units));
    }
    if (const auto refused = books.orders[index_of(OrderStatus::refused)]; refused > 0) {
        row.violations.push_back("the store's guard refused " + text(refused) +
                                 " orders that buyers had been promised");
    }
    // The log has one writing process, and it opens an epoch only when nothing is held under the
    // last one: no order is ever void.
    if (books.voided_orders > 0) {
        row.violations.push_back(text(books.voided_orders) +
                                 " orders of the log were void: a second process had taken over");
    }
    for (const auto& user : books.over_limit) {
        row.violations.push_back("user '" + user.user + "' holds " + text(user.units) +
                                 " units, the limit is " + text(books.per_user_limit_ever));
    }
}

// The inventory counted a moment after the books were read. What it sold since is in the tail; what
// it released since, or has not released yet, is the difference of the two sums of given back
// units. Units on their way out of the stock have their record in the tail, or their row in the
// books.
void judge_inventory(const SaleBooks& books, const Tail& tail, const InventoryCount& inventory,
                     SaleAudit& row) {
    if (inventory.withdrawing > 0 && !tail.has_withdrawal && books.give_backs == 0) {
        row.violations.push_back("the inventory withholds " + text(inventory.withdrawing) +
                                 " units for a withdrawal that is over");
    }
    const Units given_back = books.units[index_of(OrderStatus::cancelled)] +
                             books.units[index_of(OrderStatus::expired)] +
                             books.units[index_of(OrderStatus::refused)];
    const Units expected = books.sale.terms.stock - books.sale.sold - books.dead_letter_units -
                           tail.counted - inventory.withdrawing -
                           (given_back - inventory.given_back);
    if (inventory.remaining == expected) return;
    row.violations.push_back("the inventory has " + text(inventory.remaining) +
                             " units left, the books say " + text(expected));
}

} // namespace

std::vector<SaleAudit> judge(const Books& books, std::span<const LogRecord> tail,
                             LogPosition queued_to,
                             const std::map<SaleNo, InventoryCount>& inventory) {
    auto tails = sum_tail(books, tail, queued_to, inventory);
    std::vector<SaleAudit> rows;
    for (const SaleBooks& sale : books.sales) {
        const SaleTerms& terms = sale.sale.terms;
        const Tail& queued = tails[terms.no];
        SaleAudit row;
        row.sale_id = terms.id;
        row.stock = terms.stock;
        row.orders = sale.orders;
        row.orders[index_of(OrderStatus::queued)] += queued.orders;
        row.sold = queued.units + sale.units[index_of(OrderStatus::confirmed)] +
                   sale.units[index_of(OrderStatus::paid)];
        row.remaining = row.stock - row.sold;
        row.log_accepted_units = sale.log_accepted_units + queued.units;
        judge_store(sale, row);
        if (row.sold + sale.dead_letter_units > row.stock) {
            row.violations.push_back("oversold: " + text(row.sold + sale.dead_letter_units) +
                                     " units of a stock of " + text(row.stock));
        }
        for (const auto& [user, units] : queued.units_by_user) {
            if (units > sale.per_user_limit_ever) {
                row.violations.push_back("user '" + user + "' has " + text(units) +
                                         " units queued, the limit is " +
                                         text(sale.per_user_limit_ever));
            }
        }
        if (const auto live = inventory.find(terms.no); live != inventory.end()) {
            row.inventory_remaining = live->second.remaining;
            judge_inventory(sale, queued, live->second, row);
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

Result<std::vector<LogRecord>> read_tail(OrderLogReader& log, LogPosition from,
                                         std::optional<LogPosition> last) {
    std::vector<LogRecord> records;
    const LogPosition stop = last ? last->next() : log.end();
    while (from < stop) {
        auto batch = log.read_batch(from, kTailBatch, Duration(0));
        if (!batch) return tl::make_unexpected(std::move(batch.error()));
        if (batch->records.empty()) break;
        for (LogRecord& record : batch->records) {
            if (from < stop) records.push_back(std::move(record));
            from = from.next();
        }
        from = batch->next;
    }
    return records;
}

// The store's snapshot first, then, sale by sale, the inventory's count and the log's position in
// one turn: what the inventory counted is exactly the snapshot and the log's records between. What
// takes time (reading, adding up) runs on a blocking thread.
Task<Result<Auditor::Judged>> Auditor::look(const std::optional<std::string>& sale) {
    const auto pin = reader_.pin(); // nothing between the two is pruned meanwhile
    const LogPosition queued_to = log_.last_enqueued(kOnlyPartition);
    auto read_books = [this, &sale] { return store_.books(sale); };
    const auto books = co_await blocking_.run(read_books);
    if (!books) co_return tl::make_unexpected(books.error());

    Judged judged;
    std::map<SaleNo, InventoryCount> inventory;
    LogPosition last = queued_to;
    for (const SaleBooks& entry : books->sales) {
        const SaleTerms& terms = entry.sale.terms;
        const auto count = co_await inventory_.count(terms.no, log_);
        if (!count) continue;
        last = std::max(last, count->log_end);
        // An operator changed the sale between the snapshot and the count.
        if (count->terms_version != terms.version) judged.terms_moved = true;
        if (count->terms_version == terms.version) inventory[terms.no] = *count;
    }
    const auto durable = co_await log_.durable(last);
    if (!durable) co_return fail(Errc::unavailable, "the order log does not take orders");
    auto add_up = [&]() -> Result<void> {
        const auto tail = read_tail(reader_, books->next.at(kOnlyPartition), last);
        if (!tail) return tl::make_unexpected(tail.error());
        judged.rows = judge(*books, *tail, queued_to, inventory);
        return {};
    };
    const auto added = co_await blocking_.run(add_up);
    if (!added) co_return tl::make_unexpected(added.error());
    co_return judged;
}

Task<Result<std::vector<SaleAudit>>> Auditor::run_in_turn(std::optional<std::string> sale) {
    if (turn_.waiting() >= kInLineMax) co_return fail(Errc::unavailable, "too many audits wait");
    const auto turn = co_await turn_.take();
    for (int attempt = 1;; ++attempt) {
        auto judged = co_await look(sale);
        if (!judged) co_return tl::make_unexpected(std::move(judged.error()));
        if (judged->terms_moved && attempt < kAttemptsMax) continue;
        co_return std::move(judged->rows);
    }
}

Task<Result<std::vector<SaleAudit>>> Auditor::run(const std::optional<std::string>& sale) {
    auto task = run_in_turn(sale);
    co_return co_await boost::asio::co_spawn(cores_.at(0).executor(), std::move(task), use_task);
}

} // namespace doorbuster
