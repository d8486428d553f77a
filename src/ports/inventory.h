// The inventory: which units are held, a derived copy that can be rebuilt from the store at any
// time (design.md section 4). It decides; the log makes what it decided durable.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/fingerprint.h"
#include "base/result.h"
#include "domain/ids.h"
#include "domain/log_record.h"
#include "domain/purchase.h"
#include "domain/sale.h"
#include "domain/stock.h"
#include "ports/order_log.h"
#include "runtime/task.h"

namespace doorbuster {

// A compact set of fingerprints: Bloom filters (Bloom, 1970) with four probes, each four times as
// large as the one before, made when that is full. One core adds, every core asks, nobody removes.
// "No" is certain; "maybe" is wrong for less than 1 % of the others per filter, which costs a hop.
class KeyFilter {
public:
    // The first filter is for so many keys, at least kKeysMin; it is made with the first key, so
    // that a sale without keys costs nothing.
    explicit KeyFilter(std::size_t keys_expected);
    ~KeyFilter();
    KeyFilter(const KeyFilter&) = delete;
    KeyFilter& operator=(const KeyFilter&) = delete;

    void add(const Fingerprint& key); // one thread
    [[nodiscard]] bool may_contain(const Fingerprint& key) const;

private:
    static constexpr std::size_t kKeysMin = 512; // 12 bits a key: 1 KiB
    // 512 keys and twelve times the fourfold are more keys than kStockMax allows.
    static constexpr std::size_t kSegmentsMax = 13;
    struct Segment;

    std::array<std::atomic<Segment*>, kSegmentsMax> segments_{};
    std::size_t last_ = 0; // the rest is the adding thread's
    std::size_t capacity_;
    std::size_t count_ = 0;
};

// What every core may see of a sale's stock without a hop. The owner of the stock writes.
struct StockSignals {
    enum class Keys { all_known, others_add };
    // was_seen: of a stock that is only looked at, what the last look saw. It refuses nobody.
    enum class Remaining { is_counted, was_seen };
    explicit StockSignals(std::size_t keys_expected, Keys known = Keys::all_known,
                          Remaining what = Remaining::is_counted)
        : keys(keys_expected), keys_known(known), remaining_is(what) {}

    std::atomic<Units> remaining{0};
    std::atomic<bool> is_cold{false}; // lost since: to be rebuilt
    KeyFilter keys;                   // every key with a hold or an order that this process knows
    const Keys keys_known;            // others_add: other processes bind keys, too
    const Remaining remaining_is;

    [[nodiscard]] bool sold_out() const {
        return remaining.load(std::memory_order_acquire) <= 0 &&
               remaining_is == Remaining::is_counted;
    }
    // False: certainly not.
    [[nodiscard]] bool may_be_bound(const Fingerprint& key) const {
        return keys_known == Keys::others_add || keys.may_contain(key);
    }
};

// A unit held, and the hold's place in the log.
struct Reservation {
    OrderId order;
    Units quantity = 0;
    LogPosition position; // the yes may leave when the log is durable up to here
    bool replayed = false;
};

// A sale's inventory as one store snapshot says it is.
struct SaleImage {
    SaleTerms terms;
    Epoch epoch;
    Units units_elsewhere = 0; // held without an entry below: a sale closed long ago
    Units given_back = 0;      // units of all orders that ended without a buyer, ever
    std::vector<OrderPlaced> live;
    struct Key {
        Fingerprint key;
        OrderId order;
        Units quantity = 0;
    };
    std::vector<Key> keys_of_finished; // bound, though their orders hold nothing any more
};

struct InventoryCount {
    Units remaining = 0;
    // Every hold counted has its record at or below this position of the sale's partition. An
    // inventory that does not take hold and place in one turn cannot say; then the last two help:
    // nothing pending, and no move between two counts, is a moment at which the log has all holds.
    std::optional<LogPosition> log_end;
    std::int64_t terms_version = 0;
    Units given_back = 0;     // of the store's, what is released here: see SaleImage
    Units withdrawing = 0;    // held for operators' withdrawals
    std::int64_t moves = 0;   // counts what changes the sale's holds
    std::int64_t pending = 0; // holds whose record nobody has seen in the log yet
};

// Units that an operator takes out of a sale's stock (design.md section 4, rule 11). The texts are
// the caller's.
struct Withdrawal {
    SaleNo sale;
    LogPartition partition; // the sale's
    OrderId id;
    Units units = 0;
    std::string_view who; // for the journal
    std::string_view key; // Idempotency-Key; empty: none
};

class Inventory {
public:
    virtual ~Inventory() = default;

    // Any core. Decides, takes the hold and its place in the log in one turn; nothing is held when
    // the log is full (`overloaded`). Cold sales refuse with `unavailable`.
    virtual Task<Step<Reservation>> reserve(const PurchaseRequest& request, OrderLog& log) = 0;
    // Any core. The bound key's answer, or nullopt.
    virtual Task<Step<std::optional<Reservation>>> find_key(const PurchaseRequest& request,
                                                            OrderLog& log) = 0;
    // Any core. The sale as it stands in an inventory that outlives its processes: its signals;
    // null when it has to be rebuilt: it is cold, or of another epoch than the store's.
    virtual Task<Result<std::shared_ptr<const StockSignals>>> attach(const SaleTerms& terms,
                                                                     Epoch epoch) = 0;
    // Any core. A rebuild that opens `epoch` begins, before its barrier is in the log: the sale is
    // cold until that epoch or a later one is installed. Errc::fenced when a later one has begun.
    virtual Task<Result<void>> begin_rebuild(SaleNo sale, Epoch epoch) = 0;
    // Any core. Replaces what was known of the sale. The signals live as long as the inventory;
    // null when a later rebuild has begun: then nothing was changed.
    virtual Task<Result<std::shared_ptr<const StockSignals>>> install(SaleImage image) = 0;
    // Any core. Newer terms; older ones change nothing. Errc::not_found for a cold sale.
    virtual Task<Result<void>> set_terms(const SaleTerms& terms) = 0;
    // Any core. Holds the units and enqueues the withdrawal's record, in one turn. sold_out (with
    // what remains) when so many are not free; `overloaded`, `unavailable` as reserve().
    virtual Task<Step<LogPosition>> withdraw(const Withdrawal& withdrawal, OrderLog& log) = 0;
    // Any core. In one turn: takes the sale's newer terms, and drops the holds of these orders and
    // withdrawals; those that hold nothing (any more) change nothing. Errc::fenced when the sale is
    // cold or the epoch is not the one that is installed.
    virtual Task<Result<void>> release(const SaleTerms& terms, Epoch epoch,
                                       std::span<const OrderId> orders) = 0;
    virtual Task<Result<InventoryCount>> count(SaleNo sale, OrderLog& log) = 0;

    // A hold is pending from when it is taken until its record was read back. An inventory that
    // outlives its processes keeps the record meanwhile, so that whoever is alive can append it
    // again (design.md section 4, rule 8).

    // Any core; does not wait. The record of this hold was read back.
    virtual void settled(SaleNo sale, const OrderId& order) = 0;
    // Any core. Records of holds that have been pending for longer than `older_than`, the oldest
    // first, at most `records_max`.
    virtual Task<Result<std::vector<LogRecord>>> pending(SaleNo sale, Duration older_than,
                                                         std::size_t records_max) = 0;
};

} // namespace doorbuster
