// The order store: says what happens to an order after the log decided that it is one, and keeps
// the sales. Blocking: never on a core. Any number of threads at once, unless a call says
// otherwise.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/ids.h"
#include "domain/journal.h"
#include "domain/log_record.h"
#include "domain/order.h"
#include "domain/order_life.h"
#include "domain/sale.h"
#include "domain/time.h"

namespace doorbuster {

// What the store's row of a sale says, beyond its terms.
struct StoredSale {
    SaleTerms terms;
    Units sold = 0; // units of live orders in the store
    Epoch epoch;
    Epoch barrier; // the last one that was applied from the log
};

// Which log the store takes its orders from, and how far it has come.
struct LogBinding {
    std::string log_id; // empty: none yet
    LogPositions next;
};

struct ApplyReport {
    struct Sale {
        SaleNo no;
        std::size_t confirmed = 0;
        std::size_t refused = 0;
    };
    std::size_t confirmed = 0;
    std::size_t refused = 0;      // stopped by the guard
    std::size_t duplicates = 0;   // were there already
    std::size_t voided = 0;       // of an epoch that had been closed
    std::size_t dead_letters = 0; // failed alone, for their own reason
    std::size_t conflicts = 0;    // times the version guard sent the batch back
    std::size_t withdrawals = 0;  // units that an operator took out of the stock
    std::vector<Sale> sales;      // confirmed and refused, sale by sale
};

// How the store decides on an order of a batch (design.md section 3). The first two are those of
// the published system, for orders with a sighting; what they let through may be more than the
// stock.
enum class StockGuard : std::uint8_t {
    overwrite,         // writes what was seen, and one more: decides nothing
    version,           // only if the sale's row still has the version that was seen
    version_and_stock, // only if the units are there
};

struct OrderFilter {
    std::optional<OrderStatus> status;
    std::optional<std::string> user;
};

// A page of a list. A store looks at a bounded number of orders in one call, so that a rare user or
// status among millions costs many short calls instead of a long one: such a page has fewer orders
// than were asked for, or none, and still a `next`.
struct OrderPage {
    std::vector<Order> orders;
    std::optional<OrderId> next; // go on behind it; nullopt: that was all
};

struct SaleBooks {
    StoredSale sale;
    std::array<std::int64_t, kOrderStatuses> orders{}; // by status
    std::array<Units, kOrderStatuses> units{};         // by status
    std::int64_t dead_letters = 0;
    Units dead_letter_units = 0;
    std::int64_t dropped_letters = 0; // dead letters that an operator gave up: they hold nothing
    Units dropped_letter_units = 0;
    Units log_accepted_units = 0; // running total of valid order records that were applied
    std::int64_t log_accepted_orders = 0;
    Units per_user_limit_ever = 0; // the highest that the limit has been
    // Users above that, at most a few, for people.
    struct UserUnits {
        std::string user;
        Units units = 0;
    };
    std::vector<UserUnits> over_limit;
    std::int64_t voided_orders = 0; // records of an epoch that was closed
    Epoch barrier;                  // the epoch that is open in the log at the snapshot's position
    std::int64_t give_backs = 0;    // rows that are not ticked off
};

struct Books {
    LogPositions next; // the snapshot holds exactly the records below these
    std::vector<SaleBooks> sales;
    std::set<OrderId>
        stored; // of the orders that were asked about: these are here, or a dead letter
};

// What the store has given back in one sale, and the inventory may not know yet (design.md section
// 4, rule 9): orders that ended without a buyer, and withdrawals, whose units left the stock.
struct GiveBack {
    StoredSale sale; // its terms, and the epoch that the release names
    std::vector<OrderId> orders;
};

// What became of the changes that were asked for, in their order.
struct ChangeReport {
    struct Change {
        ChangeVerdict verdict = ChangeVerdict::unknown;
        OrderStatus before = OrderStatus::queued;
        Order order; // as it is now; empty if it is unknown
    };
    std::vector<Change> changes;
    std::vector<GiveBack> given_back;
};

struct ExpiryReport {
    std::vector<GiveBack> given_back;  // exactly the orders that expired
    std::optional<TimePoint> next_due; // of those that were left
};

// What one sale's rebuild reads, order by order, so that a million of them need no list.
class SaleSnapshotSink {
public:
    virtual ~SaleSnapshotSink() = default;
    // `given_back`: units of all orders that ended without a buyer.
    virtual void sale(const StoredSale& sale, Units dead_letter_units, Units given_back) = 0;
    virtual void order(const OrderId& id, const std::string& user, const std::string& key,
                       Units quantity, OrderStatus status) = 0;
    // An order of this sale that could not be stored: it keeps its units, its user's and its key.
    virtual void dead_letter(const OrderId& id, const std::string& user, const std::string& key,
                             Units quantity) = 0;
};

class OrderStore {
public:
    virtual ~OrderStore() = default;

    [[nodiscard]] virtual Result<LogBinding> log_binding() = 0;
    // Names the log that this store takes its orders from. Errc::conflict when it has one already.
    [[nodiscard]] virtual Result<void> bind_log(const std::string& log_id) = 0;

    // Sales. `created_as` is the request's canonical text: the same again gives the sale that is
    // there (second: false), another one under the same id is Errc::conflict.
    [[nodiscard]] virtual Result<std::pair<StoredSale, bool>>
    create_sale(const SaleTerms& terms, const std::string& created_as, const std::string& who) = 0;
    [[nodiscard]] virtual Result<StoredSale> find_sale(std::string_view id) = 0;
    // By id, behind `after` ("" for the first page).
    [[nodiscard]] virtual Result<std::vector<StoredSale>> list_sales(const std::string& after,
                                                                     std::size_t limit) = 0;
    // Reads the terms, lets `change` alter them (or refuse), writes them with the next version and
    // the note into the journal, all in one transaction. With a `key`, a change that was made under
    // it before is not made again; another `request` under that key is Errc::conflict.
    using TermsChange = std::function<Result<void>(StoredSale&)>;
    struct ChangeKey {
        std::string key;
        std::string request;
    };
    [[nodiscard]] virtual Result<StoredSale> change_sale(const std::string& id,
                                                         const TermsChange& change,
                                                         const std::optional<ChangeKey>& key,
                                                         const JournalNote& note) = 0;
    // The request that was made under this key; Errc::not_found when none was.
    [[nodiscard]] virtual Result<std::string> find_change(SaleNo sale, const std::string& key) = 0;
    // Has the writer applied this withdrawal? (LogRecordKind::withdraw)
    [[nodiscard]] virtual Result<bool> is_withdrawn(const OrderId& withdrawal) = 0;
    // Oldest first, behind `after`.
    [[nodiscard]] virtual Result<std::vector<JournalEntry>> journal(SaleNo sale, std::int64_t after,
                                                                    std::size_t limit) = 0;

    // Opens the next epoch of these sales (all of them when empty) and returns them with it.
    [[nodiscard]] virtual Result<std::vector<StoredSale>>
    next_epochs(std::span<const SaleNo> sales) = 0;
    // One snapshot of these sales (all when empty), sale by sale. Keys of sales that were closed
    // before `keys_since` are left out with their orders.
    [[nodiscard]] virtual Result<void>
    read_snapshot(std::span<const SaleNo> sales, TimePoint keys_since, SaleSnapshotSink& sink) = 0;

    // The writer's thread only. One transaction: the position of the partition moves from `from` to
    // `next`, the records between are applied. Errc::fenced when it was not at `from`.
    //
    // Any thread, where `next` is `from`: the one record stands in no log, and no position moves.
    // An order in a log was promised, so one that the guard stops is stored as refused; one in no
    // log was not, and leaves nothing behind but the report's `refused`.
    [[nodiscard]] virtual Result<ApplyReport> apply(LogPlace from, LogPosition next,
                                                    std::span<const LogRecord> records,
                                                    StockGuard guard) = 0;

    // What the sale's row says of its stock, in one look. Errc::not_found.
    [[nodiscard]] virtual Result<StockSighting> look_at_stock(SaleNo sale) = 0;

    // The lifecycle's thread only, each in one transaction. A change is decided by domain's
    // decide() under the order's version; whatever ends without a buyer leaves a give-back row.
    [[nodiscard]] virtual Result<ChangeReport>
    change_orders(std::span<const OrderChange> changes) = 0;
    // Expires what is due, the longest overdue first, at most `orders_max`.
    [[nodiscard]] virtual Result<ExpiryReport> expire_due(std::size_t orders_max) = 0;
    // Give-back rows behind `after`, by sale; at most `orders_max`.
    [[nodiscard]] virtual Result<std::vector<GiveBack>>
    pending_give_backs(const std::optional<OrderId>& after, std::size_t orders_max) = 0;
    // Ticks them off; those of a sale that has opened another epoch meanwhile stay.
    [[nodiscard]] virtual Result<void> give_backs_done(std::span<const GiveBack> done) = 0;

    // A dead letter is `queued`, a dropped one `refused`. Errc::not_found.
    [[nodiscard]] virtual Result<Order> find_order(const OrderId& id) = 0;
    // Oldest first, behind `after`; at most `limit`.
    [[nodiscard]] virtual Result<OrderPage> list_orders(SaleNo sale, const OrderFilter& filter,
                                                        const std::optional<OrderId>& after,
                                                        std::size_t limit) = 0;
    // The books of one sale, or of all of them when nullopt, and which of the orders asked about
    // are in them, in one snapshot.
    [[nodiscard]] virtual Result<Books> books(const std::optional<std::string>& sale,
                                              std::span<const OrderId> asked = {}) = 0;

    // For metrics and readiness; cheap.
    struct Connections {
        std::size_t in_use = 0;
        std::size_t idle = 0;
    };
    [[nodiscard]] virtual Connections connections() const = 0;
    // What it has cost the database since it was opened. Any thread.
    struct Usage {
        std::uint64_t statements = 0; // sent, those that begin and end transactions too
        std::size_t in_use_max = 0;   // connections at work at a time, within the last second
        std::int64_t in_use_ns = 0;   // the time that they were, added up
    };
    [[nodiscard]] virtual Usage usage() const { return {}; }
    [[nodiscard]] virtual Result<void> ping() = 0;
};

} // namespace doorbuster
