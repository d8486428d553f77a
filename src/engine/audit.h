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

// `tail`: the log's records from books.next on. Those up to `queued_to` were in the log before the
// books were read: what they took was free in these books. `inventory`: what the live inventory
// counted since, under the books' terms; the tail reaches to each log_end.
[[nodiscard]] std::vector<SaleAudit> judge(const Books& books, std::span<const LogRecord> tail,
                                           LogPosition queued_to,
                                           const std::map<SaleNo, InventoryCount>& inventory);

// Everything in the log from `from` to its end, or to `last` if that comes first.
[[nodiscard]] Result<std::vector<LogRecord>> read_tail(OrderLogReader& log, LogPosition from,
                                                       std::optional<LogPosition> last);

// Audits take turns: one may hold the records of the whole lag in memory.
class Auditor {
public:
    Auditor(Cores& cores, OrderStore& store, OrderLog& log, OrderLogReader& reader,
            Inventory& inventory, BlockingPool& blocking)
        : cores_(cores),
          store_(store),
          log_(log),
          reader_(reader),
          inventory_(inventory),
          blocking_(blocking) {}

    // Any core. One sale, or all. Errc::not_found, Errc::unavailable.
    Task<Result<std::vector<SaleAudit>>> run(const std::optional<std::string>& sale);

private:
    static constexpr std::size_t kInLineMax = 16;
    struct Judged {
        std::vector<SaleAudit> rows;
        bool terms_moved = false;
    };
    Task<Result<std::vector<SaleAudit>>> run_in_turn(std::optional<std::string> sale);
    Task<Result<Judged>> look(const std::optional<std::string>& sale);

    Cores& cores_;
    OrderStore& store_;
    OrderLog& log_;
    OrderLogReader& reader_;
    Inventory& inventory_;
    BlockingPool& blocking_;
    AsyncLock turn_; // core 0's
};

} // namespace doorbuster
