// Running a sale: what an operator may do to it. A change commits in the store, then reaches the
// inventory and every core, and only then is answered. What takes units out of the stock goes the
// other way round, through the log (design.md section 4, rule 11): the inventory holds the units,
// so that nobody can be promised them, and the order writer lowers the stock. Any core.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/rebuild.h"
#include "engine/store_progress.h"
#include "ports/order_log.h"
#include "ports/order_store.h"
#include "runtime/blocking_pool.h"
#include "runtime/task.h"

namespace doorbuster {

// What an operator may change of a sale's terms; what is not named stays.
struct SaleEdit {
    std::optional<std::string> title;
    std::optional<Units> per_user_limit;
    std::optional<TimePoint> starts_at;
    std::optional<std::optional<TimePoint>> ends_at; // an empty inside: no end
    std::optional<bool> paused;
};

// `who` is for the journal, in every call.
class SaleService {
public:
    struct Parts { // all outlive the service
        const Clock& clock;
        Rebuild& rebuild;
        OrderStore& store;
        OrderLog& log;
        StoreProgress& progress;
        Inventory& inventory;
        BlockingPool& blocking;
        std::uint64_t random_start = 0; // of the withdrawals' ids, as OrderIdSource wants it
        std::uint32_t partitions = 1;   // of the order log: new sales are spread over them
        // Why no sale can have a payment step; null: it can.
        const char* no_payment_step = nullptr;
    };
    explicit SaleService(Parts parts) : parts_(parts), next_withdrawal_(parts.random_start) {}

    // second: true when it is new. Errc::conflict: the id is taken by another sale. Errc::invalid:
    // it has a payment time-out, and this engine's sales cannot.
    Task<Result<std::pair<SaleTerms, bool>>>
    create(const SaleTerms& terms, const std::string& created_as, const std::string& who);
    // The changes below fail with Errc::not_found, and Errc::wrong_state for a closed sale.
    Task<Result<SaleTerms>> edit(const std::string& id, const SaleEdit& edit,
                                 const std::string& who);
    Task<Result<SaleTerms>> close(const std::string& id, const std::string& who);
    // Adds units to the stock; with add < 0 takes them out, if so many are free: else a Refusal
    // sold_out with what remains. The same once more under its key gives the sale as it is.
    // Errc::conflict: the key is bound to another change. Errc::invalid: beyond kStockMax.
    // Errc::timeout: not known to be done, and it may still happen.
    Task<Step<SaleTerms>> change_stock(const std::string& id, Units add,
                                       const std::optional<std::string>& key,
                                       const std::string& who);
    Task<Result<std::vector<StoredSale>>> list(const std::string& after, std::size_t limit);
    // Oldest first, behind `after`.
    Task<Result<std::vector<JournalEntry>>> journal(SaleNo sale, std::int64_t after,
                                                    std::size_t limit);

private:
    using ChangeKey = OrderStore::ChangeKey;
    // A change of the stock under a key, before it is made.
    struct KeyLook {
        StoredSale sale;
        bool is_done = false; // it was made before
    };

    Task<Result<SaleTerms>> change(const std::string& id, const OrderStore::TermsChange& change,
                                   const std::optional<ChangeKey>& key, const JournalNote& note);
    Task<Result<SaleTerms>> raise_stock(const std::string& id, Units add,
                                        const std::optional<ChangeKey>& key,
                                        const std::string& who);
    Task<Step<SaleTerms>> lower_stock(const std::string& id, Units units,
                                      const std::optional<ChangeKey>& key, const std::string& who);
    // Waits for the withdrawal's record, then drops its hold.
    Task<Result<SaleTerms>> finish_withdrawal(const std::string& id, const OrderId& withdrawal,
                                              LogPosition position,
                                              const std::optional<ChangeKey>& key);
    [[nodiscard]] Result<KeyLook> look_up(const std::string& id,
                                          const std::optional<ChangeKey>& key);

    Parts parts_;
    std::atomic<std::uint64_t> next_withdrawal_;
};

} // namespace doorbuster
