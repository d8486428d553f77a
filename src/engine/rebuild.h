// The one rebuild of a sale's inventory (design.md section 4, rule 6): at creation, at start-up and
// after a loss. It opens the next epoch, so that nothing decided before it can become an order
// behind it, and installs what one snapshot of the store says.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fingerprint.h"
#include "engine/order_tally.h"
#include "engine/sale_directory.h"
#include "engine/store_progress.h"
#include "ports/inventory.h"
#include "ports/order_log.h"
#include "ports/order_store.h"
#include "runtime/async_lock.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"
#include "runtime/core.h"
#include "runtime/task.h"

namespace doorbuster {

class Rebuild {
public:
    struct Parts { // all outlive the rebuild
        Cores& cores;
        const Clock& clock;
        BlockingPool& blocking;
        OrderStore& store;
        OrderLog& log;
        StoreProgress& progress;
        Inventory& inventory;
        OrderTally& tally;
        const Fingerprinter& fingerprints;
        std::vector<std::unique_ptr<SaleDirectory>>& directories; // by core
    };
    explicit Rebuild(Parts parts) : parts_(parts) {}

    // Any core. Every sale of the store; when it is done they sell. Returns how many. Errc::timeout
    // when the writer does not come.
    Task<Result<std::size_t>> run();
    // Any core. One sale, unless it sells already. Rebuilds take turns: at most kInLineMax wait,
    // one more is Errc::unavailable.
    Task<Result<void>> run_if_cold(SaleNo sale);
    // Any core. The same for a sale that sells here, under an epoch that is not the store's:
    // nothing of it can be given back, or nothing of it is valid any more.
    Task<Result<void>> run_again(SaleNo sale);

    // Any core. Until the sale sells here, rebuilt by whomever. False: not within the time.
    Task<bool> warm(SaleNo sale, Duration wait_max);
    // Any core. Shows the terms to every core; older terms change nothing.
    Task<void> publish(std::shared_ptr<const SaleTerms> terms);
    // Any core. Shows a sale that the inventory has to every core: from here on it sells.
    Task<void> show(const SaleTerms& terms, std::shared_ptr<const StockSignals> signals);

private:
    struct Snapshot;

    static constexpr std::size_t kInLineMax = 1'000; // a rebuild of a new sale takes milliseconds

    [[nodiscard]] bool is_warm(SaleNo sale) const; // on core 0
    enum class Unless : std::uint8_t { it_sells, never };
    Task<Result<void>> run_in_turn(SaleNo sale, Unless unless);
    Task<Result<std::size_t>> rebuild(std::vector<SaleNo> sales);
    Task<Result<void>> install(SaleImage image, Epoch opened);
    // Applies terms that changed between the snapshot and the installation.
    Task<Result<void>> catch_up(const std::string& sale);
    Task<Result<void>> fence(const std::vector<StoredSale>& sales);
    Task<void> publish_signals(SaleNo sale, std::shared_ptr<const StockSignals> signals);

    Parts parts_;
    AsyncLock turn_; // core 0's
};

} // namespace doorbuster
