#include "engine/audit.h"

#include <algorithm>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <iterator>
#include <set>
#include <utility>

namespace doorbuster {
namespace {

constexpr std::size_t kTailBatch = 50'000; // records a read
constexpr int kAttemptsMax = 5; // while operators change sales; then without the inventory's side
constexpr std::chrono::milliseconds kBetweenAttempts{20};

using Steady = std::chrono::steady_clock;
using Timer = boost::asio::basic_waitable_timer<Steady, boost::asio::wait_traits<Steady>, Executor>;

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
void sum_tail(const Books& books, const AuditTail& log_tail, std::map<SaleNo, Epoch>& barriers,
              const std::map<SaleNo, InventoryCount>& inventory, std::map<SaleNo, Tail>& tails) {
    std::set<OrderId> seen; // a hold that stayed pending was appended again
    const LogPosition next = books.next.at(log_tail.partition);
    for (const auto& [position, record] : log_tail.entries) {
        if (position < next || books.stored.contains(record.order)) continue;
        const auto barrier = barriers.find(record.sale);
        if (barrier == barriers.end()) continue;
        if (record.kind == LogRecordKind::barrier) {
            barrier->second = std::max(barrier->second, record.epoch);
            continue;
        }
        if (record.epoch != barrier->second || !seen.insert(record.order).second) continue;
        Tail& tail = tails[record.sale];
        const auto live = inventory.find(record.sale);
        const bool is_counted =
            live != inventory.end() && (!live->second.log_end || position <= *live->second.log_end);
        if (record.kind == LogRecordKind::withdraw) {
            tail.has_withdrawal = tail.has_withdrawal || is_counted;
            continue;
        }
        if (is_counted) tail.counted += record.quantity;
        if (position < log_tail.queued_next) {
            ++tail.orders;
            tail.units += record.quantity;
            tail.units_by_user[record.user] += record.quantity;
        }
    }
}

std::string text(std::int64_t number) { return std::to_string(number); }

void judge_store(const SaleBooks& books, LogWriters writers, SaleAudit& row) {
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
    const std::int64_t letters = books.dead_letters + books.dropped_letters;
    const Units letter_units = books.dead_letter_units + books.dropped_letter_units;
    if (books.log_accepted_orders != stored + letters ||
        books.log_accepted_units != stored_units + letter_units) {
        row.violations.push_back("the log accepted " + text(books.log_accepted_orders) +
                                 " orders of " + text(books.log_accepted_units) +
                                 " units, the store has " + text(stored) + " of " +
                                 text(stored_units) + " and " + text(letters) +
                                 " dead letters of " + text(letter_units));
    }
    if (const auto refused = books.orders[index_of(OrderStatus::refused)]; refused > 0) {
        row.violations.push_back("the store's guard refused " + text(refused) +
                                 " orders that buyers had been promised");
    }
    if (books.voided_orders > 0 && writers == LogWriters::one) {
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
                             books.units[index_of(OrderStatus::refused)] +
                             books.dropped_letter_units;
    const Units expected = books.sale.terms.stock - books.sale.sold - books.dead_letter_units -
                           tail.counted - inventory.withdrawing -
                           (given_back - inventory.given_back);
    if (inventory.remaining == expected) return;
    row.violations.push_back("the inventory has " + text(inventory.remaining) +
                             " units left, the books say " + text(expected));
}

} // namespace

std::vector<OrderId> orders_of(std::span<const AuditTail> tails) {
    std::vector<OrderId> orders;
    for (const AuditTail& tail : tails) {
        for (const auto& [position, record] : tail.entries) {
            if (record.kind == LogRecordKind::order) orders.push_back(record.order);
        }
    }
    return orders;
}

std::vector<SaleAudit> judge(const Books& books, std::span<const AuditTail> log_tails,
                             const std::map<SaleNo, InventoryCount>& inventory,
                             LogWriters writers) {
    std::map<SaleNo, Epoch> barriers;
    for (const SaleBooks& sale : books.sales) barriers[sale.sale.terms.no] = sale.barrier;
    std::map<SaleNo, Tail> tails;
    for (const AuditTail& tail : log_tails) sum_tail(books, tail, barriers, inventory, tails);
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
        judge_store(sale, writers, row);
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

Result<std::vector<AuditTail::Entry>> ReaderBooks::read(LogPlace from, LogPosition to) {
    std::vector<AuditTail::Entry> entries;
    for (LogPosition at = from.position; at < to;) {
        auto batch = log_.read_batch(at, kTailBatch, Duration(0));
        if (!batch) return tl::make_unexpected(std::move(batch.error()));
        if (batch->records.empty()) break;
        for (LogRecord& record : batch->records) {
            if (at < to) entries.push_back({at, std::move(record)});
            at = at.next();
        }
        at = batch->next;
    }
    return entries;
}

Task<Auditor::Counts> Auditor::count(const Books& books, bool& terms_moved) {
    Counts counts;
    for (const SaleBooks& entry : books.sales) {
        const SaleTerms& terms = entry.sale.terms;
        const auto counted = co_await inventory_.count(terms.no, log_);
        if (!counted) continue;
        // An operator changed the sale between the snapshot and the count.
        if (counted->terms_version != terms.version) terms_moved = true;
        if (counted->terms_version == terms.version) counts[terms.no] = *counted;
    }
    co_return counts;
}

// Where several write, the tail comes first, so that the snapshot can tell which of its orders are
// copies of some that it holds.
Result<Books> Auditor::read_books(const std::optional<std::string>& sale,
                                  std::vector<AuditTail>& tails) {
    const auto ends = log_books_.ends();
    if (!ends) return tl::make_unexpected(ends.error());
    for (std::uint32_t i = 0; i < ends->size(); ++i) {
        tails.push_back({LogPartition(i), (*ends)[i], {}});
    }
    if (log_books_.writers() == LogWriters::several) {
        const auto binding = store_.log_binding();
        if (!binding) return tl::make_unexpected(binding.error());
        for (AuditTail& tail : tails) {
            const LogPlace from{tail.partition, binding->next.at(tail.partition)};
            auto entries = log_books_.read(from, tail.queued_next);
            if (!entries) return tl::make_unexpected(std::move(entries.error()));
            tail.entries = std::move(*entries);
        }
    }
    return store_.books(sale, orders_of(tails));
}

// From where a tail ends, or from the books where it has not begun, to the log's end by now.
Result<void> Auditor::read_on(const LogPositions& next, std::vector<AuditTail>& tails) {
    const auto ends = log_books_.ends();
    if (!ends) return tl::make_unexpected(ends.error());
    for (std::uint32_t i = 0; i < ends->size(); ++i) {
        if (i == tails.size()) tails.push_back({LogPartition(i), LogPosition(1), {}});
        AuditTail& tail = tails[i];
        LogPosition from = next.at(tail.partition);
        if (log_books_.writers() == LogWriters::several) from = std::max(from, tail.queued_next);
        auto entries = log_books_.read({tail.partition, from}, (*ends)[i]);
        if (!entries) return tl::make_unexpected(std::move(entries.error()));
        std::ranges::move(*entries, std::back_inserter(tail.entries));
    }
    return {};
}

// The store's snapshot first, then, sale by sale, the inventory's count. Where that names the log's
// position of the same turn, it is exactly the snapshot and the log's records between. Where it
// cannot, it is judged when the snapshot and the tail lie between two equal counts. What takes time
// (reading, adding up) runs on a blocking thread.
Task<Result<Auditor::Judged>> Auditor::look(const std::optional<std::string>& sale) {
    const auto pin = log_books_.pin(); // nothing between the two is pruned meanwhile
    std::vector<AuditTail> tails;
    auto read_first = [&] { return read_books(sale, tails); };
    const auto read = co_await blocking_.run(read_first);
    if (!read) co_return tl::make_unexpected(read.error());
    const Books& books = *read;

    Judged judged;
    bool terms_moved = false;
    Counts counts = co_await count(books, terms_moved);
    for (const auto& [no, counted] : counts) {
        if (!counted.log_end) continue;
        const auto durable = co_await log_.durable(*counted.log_end);
        if (!durable) co_return fail(Errc::unavailable, "the order log does not take orders");
    }
    auto read_tails = [&] { return read_on(books.next, tails); };
    const auto added = co_await blocking_.run(read_tails);
    if (!added) co_return tl::make_unexpected(added.error());

    const Counts again = co_await count(books, terms_moved);
    bool is_shared = false;
    const auto is_inexact = [&](const Counts::value_type& entry) {
        const InventoryCount& before = entry.second;
        if (before.log_end) return false;
        is_shared = true;
        const auto after = again.find(entry.first);
        return after == again.end() || before.pending != 0 || after->second.pending != 0 ||
               after->second.moves != before.moves;
    };
    if (std::erase_if(counts, is_inexact) > 0) judged.is_certain = false;
    judged.rows = judge(books, tails, counts, log_books_.writers());
    if (terms_moved) judged.is_certain = false;
    // The copy of an order that came while the books were read looks like one order more.
    const bool is_balanced = std::ranges::all_of(judged.rows, &SaleAudit::balanced);
    if (is_shared && !is_balanced) judged.is_certain = false;
    co_return judged;
}

Task<Result<std::vector<SaleAudit>>> Auditor::run_in_turn(std::optional<std::string> sale) {
    if (turn_.waiting() >= kInLineMax) co_return fail(Errc::unavailable, "too many audits wait");
    const auto turn = co_await turn_.take();
    Timer pause(co_await boost::asio::this_coro::executor);
    for (int attempt = 1;; ++attempt) {
        auto judged = co_await look(sale);
        if (!judged) co_return tl::make_unexpected(std::move(judged.error()));
        if (judged->is_certain || attempt == kAttemptsMax) co_return std::move(judged->rows);
        pause.expires_after(kBetweenAttempts);
        co_await pause.async_wait(use_task);
    }
}

Task<Result<std::vector<SaleAudit>>> Auditor::run(const std::optional<std::string>& sale) {
    auto task = run_in_turn(sale);
    co_return co_await boost::asio::co_spawn(cores_.at(0).executor(), std::move(task), use_task);
}

} // namespace doorbuster
