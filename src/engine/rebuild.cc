#include "engine/rebuild.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <chrono>
#include <map>

#include "runtime/sleep.h"

namespace doorbuster {
namespace {

// How long a rebuild waits for the writer to reach its barrier: the whole lag may lie before it.
// Two million orders take half a minute.
constexpr Duration kWriterWaitMax{120'000};
// Keys stay bound until this long after a sale was closed (contract.md section 3).
constexpr Duration kLookEvery{10};
constexpr Duration kKeysKept = std::chrono::hours(24);

} // namespace

// Fills the images of the sales as the store reads its snapshot to us; on a blocking thread.
struct Rebuild::Snapshot final : SaleSnapshotSink {
    explicit Snapshot(const Fingerprinter& with) : fingerprints(with) {}

    void sale(const StoredSale& sale, Units dead_letter_units, Units given_back) override {
        SaleImage& image = images.emplace_back();
        image.terms = sale.terms;
        image.epoch = sale.epoch;
        image.given_back = given_back;
        held_units.push_back(sale.sold + dead_letter_units);
        tallies.emplace_back();
    }
    void order(const OrderId& id, const std::string& user, const std::string& key, Units quantity,
               OrderStatus status) override {
        SaleImage& image = images.back();
        ++tallies.back()[static_cast<std::size_t>(status)];
        const Fingerprint user_print = fingerprints.of(user);
        std::optional<Fingerprint> key_print;
        if (!key.empty()) key_print = fingerprints.of(user_print, key);
        if (is_live(status)) {
            image.live.push_back({id, user_print, key_print, quantity});
        } else if (key_print) {
            image.keys_of_finished.push_back({*key_print, id, quantity});
        }
    }
    void dead_letter(const OrderId& id, const std::string& user, const std::string& key,
                     Units quantity) override {
        const Fingerprint user_print = fingerprints.of(user);
        std::optional<Fingerprint> key_print;
        if (!key.empty()) key_print = fingerprints.of(user_print, key);
        images.back().live.push_back({id, user_print, key_print, quantity});
    }
    // A sale closed long ago comes without its orders; its units are still sold.
    void finish() {
        for (std::size_t i = 0; i < images.size(); ++i) {
            Units listed = 0;
            for (const OrderPlaced& order : images[i].live) listed += order.quantity;
            images[i].units_elsewhere = held_units[i] - listed;
        }
    }

    const Fingerprinter& fingerprints;
    std::vector<SaleImage> images;
    std::vector<Units> held_units;
    std::vector<OrderTally::Counts> tallies;
};

Task<Result<std::size_t>> Rebuild::run() {
    const std::vector<SaleNo> every_sale;
    co_return co_await rebuild(every_sale);
}

Task<Result<void>> Rebuild::run_if_cold(SaleNo sale) {
    // On core 0, where the turns are kept.
    auto task = run_in_turn(sale, Unless::it_sells);
    co_return co_await boost::asio::co_spawn(parts_.cores.at(0).executor(), std::move(task),
                                             use_task);
}

Task<Result<void>> Rebuild::run_again(SaleNo sale) {
    auto task = run_in_turn(sale, Unless::never);
    co_return co_await boost::asio::co_spawn(parts_.cores.at(0).executor(), std::move(task),
                                             use_task);
}

bool Rebuild::is_warm(SaleNo sale) const {
    const SaleView* view = parts_.directories[0]->find(sale);
    return view != nullptr && view->signals && !view->signals->is_cold.load();
}

Task<bool> Rebuild::warm(SaleNo sale, Duration wait_max) {
    auto look = [this, sale] { return is_warm(sale); };
    for (Duration waited{0}; waited < wait_max; waited += kLookEvery) {
        const bool is_there = co_await call_on(parts_.cores.at(0), look);
        if (is_there) co_return true;
        co_await sleep_for(parts_.clock, kLookEvery);
    }
    co_return false;
}

Task<Result<void>> Rebuild::run_in_turn(SaleNo sale, Unless unless) {
    if (turn_.waiting() >= kInLineMax) {
        co_return fail(Errc::unavailable, "too many sales are being created");
    }
    const auto turn = co_await turn_.take();
    if (unless == Unless::it_sells && is_warm(sale)) co_return Result<void>();
    const std::vector<SaleNo> one(1, sale);
    auto rebuilt = co_await rebuild(one);
    if (!rebuilt) co_return tl::make_unexpected(std::move(rebuilt.error()));
    co_return Result<void>();
}

Task<Result<std::size_t>> Rebuild::rebuild(std::vector<SaleNo> sales) {
    auto open_epochs = [this, &sales] { return parts_.store.next_epochs(sales); };
    const auto opened = co_await parts_.blocking.run(open_epochs);
    if (!opened) co_return tl::make_unexpected(opened.error());
    if (opened->empty()) co_return std::size_t{0};
    std::map<SaleNo, Epoch> epochs;
    for (const StoredSale& sale : *opened) epochs[sale.terms.no] = sale.epoch;

    auto fenced = co_await fence(*opened);
    if (!fenced) co_return tl::make_unexpected(std::move(fenced.error()));

    Snapshot snapshot(parts_.fingerprints);
    const TimePoint keys_since = parts_.clock.now() - kKeysKept;
    auto read = [&] { return parts_.store.read_snapshot(sales, keys_since, snapshot); };
    const auto done = co_await parts_.blocking.run(read);
    if (!done) co_return tl::make_unexpected(done.error());
    snapshot.finish();

    for (std::size_t i = 0; i < snapshot.images.size(); ++i) {
        SaleImage& image = snapshot.images[i];
        const SaleNo no = image.terms.no;
        const std::string id = image.terms.id;
        parts_.tally.set(no, snapshot.tallies[i]);
        auto installed = co_await install(std::move(image), epochs[no]);
        if (!installed) co_return tl::make_unexpected(std::move(installed.error()));
        if (sales.empty()) continue; // start-up: nobody can have changed it
        auto caught_up = co_await catch_up(id);
        if (!caught_up) co_return tl::make_unexpected(std::move(caught_up.error()));
    }
    co_return snapshot.images.size();
}

Task<Result<void>> Rebuild::install(SaleImage image, Epoch opened) {
    auto terms = std::make_shared<const SaleTerms>(image.terms);
    // Somebody opened a later epoch: its barrier may not be in the log yet, so nothing may be held
    // under it, and what is held under ours will be void.
    if (image.epoch != opened) {
        co_return fail(Errc::fenced, "sale " + terms->id + " is being rebuilt by another process");
    }
    auto signals = co_await parts_.inventory.install(std::move(image));
    if (!signals) co_return tl::make_unexpected(std::move(signals.error()));
    if (!*signals) co_return fail(Errc::fenced, "a later rebuild of sale " + terms->id + " began");
    co_await show(*terms, *signals);
    co_return Result<void>();
}

Task<void> Rebuild::show(const SaleTerms& terms, std::shared_ptr<const StockSignals> signals) {
    co_await publish(std::make_shared<const SaleTerms>(terms));
    co_await publish_signals(terms.no, std::move(signals));
}

Task<Result<void>> Rebuild::catch_up(const std::string& sale) {
    auto read = [this, &sale] { return parts_.store.find_sale(sale); };
    const auto stored = co_await parts_.blocking.run(read);
    if (!stored) co_return tl::make_unexpected(stored.error());
    auto known = co_await parts_.inventory.set_terms(stored->terms);
    if (!known) co_return tl::make_unexpected(std::move(known.error()));
    co_await publish(std::make_shared<const SaleTerms>(stored->terms));
    co_return Result<void>();
}

// Closes each sale, appends its barrier and waits until the writer has applied them all: the last
// of each partition, since a writer comes to one partition earlier than to another.
Task<Result<void>> Rebuild::fence(const std::vector<StoredSale>& sales) {
    std::map<LogPartition, LogPosition> last;
    for (const StoredSale& sale : sales) {
        LogRecordView barrier;
        barrier.kind = LogRecordKind::barrier;
        barrier.sale = sale.terms.no;
        barrier.epoch = sale.epoch;
        barrier.partition = sale.terms.partition;
        // Nothing is held any more under the epoch that the barrier closes.
        auto begun = co_await parts_.inventory.begin_rebuild(barrier.sale, barrier.epoch);
        if (!begun) co_return tl::make_unexpected(std::move(begun.error()));
        const auto position = parts_.log.enqueue(barrier);
        if (!position) co_return fail(Errc::unavailable, "the order log is full");
        last[barrier.partition] = *position;
    }
    for (const auto& [partition, position] : last) {
        auto durable = co_await parts_.log.durable(position);
        if (!durable) co_return fail(Errc::timeout, "the order log does not take the barrier");
        const bool is_stored = co_await parts_.progress.reached(position, kWriterWaitMax);
        if (!is_stored) {
            co_return fail(Errc::timeout, "the order writer does not reach the barrier");
        }
    }
    co_return Result<void>();
}

Task<void> Rebuild::publish(std::shared_ptr<const SaleTerms> terms) {
    for (std::size_t i = 0; i < parts_.cores.size(); ++i) {
        auto show = [this, i, &terms] { parts_.directories[i]->set_terms(terms); };
        co_await call_on(parts_.cores.at(i), show);
    }
}

Task<void> Rebuild::publish_signals(SaleNo sale, std::shared_ptr<const StockSignals> signals) {
    for (std::size_t i = 0; i < parts_.cores.size(); ++i) {
        auto show = [this, i, sale, &signals] {
            parts_.directories[i]->set_signals(sale, signals);
        };
        co_await call_on(parts_.cores.at(i), show);
    }
}

} // namespace doorbuster
