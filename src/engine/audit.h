// The audit: do the books balance? (I1, I4 and I5 of design.md section 1.) The judgement is pure;
// Auditor collects what it needs from a running engine, the command line from the files alone.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "domain/order.h"
#include "ports/inventory.h"
#include "ports/order_log.h"
#include "ports/order_store.h"
#include "runtime/async_lock.h"
#include "runtime/blocking_pool.h"
#include "runtime/core.h"
#include "runtime/task.h"

namespace doorbuster {

// One sale's line of the audit; contract.md section 2 names the fields.
struct SaleAudit {
    std::string sale_id;
    Units stock = 0;
    Units sold = 0;      // units of queued, confirmed and paid orders
    Units remaining = 0; // stock - sold
    std::array<std::int64_t, kOrderStatuses> orders{};
    Units log_accepted_units = 0;
    std::optional<Units> inventory_remaining; // unless no live inventory was asked
    std::vector<std::string> violations;

    [[nodiscard]] bool balanced() const { return violations.empty(); }
};

// The log's records from the books on, or from before, of one partition. Those below `queued_next`
// were in the log before the books were read: what they took was free in these books.
struct AuditTail {
    LogPartition partition;
    LogPosition queued_next;
    struct Entry {
        LogPosition position;
        LogRecord record;
    };
    std::vector<Entry> entries;
};

// The orders of these tails. Those that the books hold as well are second copies, which a log that
// several write to gets when records are produced again: the store has to say.
[[nodiscard]] std::vector<OrderId> orders_of(std::span<const AuditTail> tails);

// Of a log that one process writes to, no order is ever void: an epoch is opened there only when
// nothing is held under the last one. Where several write, a void order is the fence at work: its
// buyer was not told yes.
enum class LogWriters : std::uint8_t { one, several };

// `inventory`: what the live inventory counted since, under the books' terms; a tail reaches to
// each log_end. A count without log_end holds exactly the orders of the books and of the tails.
[[nodiscard]] std::vector<SaleAudit> judge(const Books& books, std::span<const AuditTail> tails,
                                           const std::map<SaleNo, InventoryCount>& inventory,
                                           LogWriters writers = LogWriters::one);

// What an audit needs of the log. Blocking; audits take turns.
class LogBooks {
public:
    virtual ~LogBooks() = default;
    [[nodiscard]] virtual LogWriters writers() const = 0;
    // Keeps records from being pruned.
    [[nodiscard]] virtual std::unique_ptr<LogPin> pin() = 0;
    // The position behind the last record of every partition, now.
    [[nodiscard]] virtual Result<std::vector<LogPosition>> ends() = 0;
    // The records of one partition in [from, to).
    [[nodiscard]] virtual Result<std::vector<AuditTail::Entry>> read(LogPlace from,
                                                                     LogPosition to) = 0;
};

// Of a log with one partition.
class ReaderBooks final : public LogBooks {
public:
    explicit ReaderBooks(OrderLogReader& log) : log_(log) {}
    [[nodiscard]] LogWriters writers() const override { return LogWriters::one; }
    [[nodiscard]] std::unique_ptr<LogPin> pin() override { return log_.pin(); }
    [[nodiscard]] Result<std::vector<LogPosition>> ends() override {
        return std::vector<LogPosition>{log_.end()};
    }
    [[nodiscard]] Result<std::vector<AuditTail::Entry>> read(LogPlace from,
                                                             LogPosition to) override;

private:
    OrderLogReader& log_;
};

// Audits take turns: one may hold the records of the whole lag in memory.
class Auditor {
public:
    Auditor(Cores& cores, OrderStore& store, OrderLog& log, LogBooks& log_books,
            Inventory& inventory, BlockingPool& blocking)
        : cores_(cores),
          store_(store),
          log_(log),
          log_books_(log_books),
          inventory_(inventory),
          blocking_(blocking) {}

    // Any core. One sale, or all. Errc::not_found, Errc::unavailable.
    Task<Result<std::vector<SaleAudit>>> run(const std::optional<std::string>& sale);

private:
    static constexpr std::size_t kInLineMax = 16;
    // Counts have moved under it, or something does not add up that may be a copy of an order on
    // its way: worth another look.
    struct Judged {
        std::vector<SaleAudit> rows;
        bool is_certain = true;
    };
    using Counts = std::map<SaleNo, InventoryCount>;
    Task<Result<std::vector<SaleAudit>>> run_in_turn(std::optional<std::string> sale);
    Task<Result<Judged>> look(const std::optional<std::string>& sale);
    // Blocking: the first and the second half of what look() judges.
    [[nodiscard]] Result<Books> read_books(const std::optional<std::string>& sale,
                                           std::vector<AuditTail>& tails);
    [[nodiscard]] Result<void> read_on(const LogPositions& next, std::vector<AuditTail>& tails);
    // What the inventory has of each of the books' sales, where that is of the books' terms.
    Task<Counts> count(const Books& books, bool& terms_moved);

    Cores& cores_;
    OrderStore& store_;
    OrderLog& log_;
    LogBooks& log_books_;
    Inventory& inventory_;
    BlockingPool& blocking_;
    AsyncLock turn_; // core 0's
};

} // namespace doorbuster
