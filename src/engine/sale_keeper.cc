#include "engine/sale_keeper.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <spdlog/spdlog.h>
#include <utility>

#include "runtime/sleep.h"

namespace doorbuster {
namespace {

// A change made on another node is seen by its message within milliseconds, and by this poll if the
// message was lost.
constexpr Duration kLookEvery{250};
constexpr Duration kLookSoon{5}; // how often a wish to look now is noticed
constexpr std::size_t kSalesAPage = 1'000;
// A sale that ended is of no concern any more once nothing can be held for it.
constexpr Duration kClosedKept = std::chrono::hours(24);
// The first attempt comes within a tenth of a second of the loss. Each that fails doubles the wait
// before the next, so that of many nodes one gets through: a rebuild takes less than a second.
constexpr std::uint64_t kFirstWaitMsMax = 100;
constexpr int kDoublingsMax = 7;
// A read-back takes milliseconds. A hold that is pending for so long was left behind by a node that
// died, or its produce failed.
constexpr Duration kPendingMax{3'000};
constexpr Duration kAppendEvery{1'000};
constexpr std::size_t kAppendMax = 1'000;
// One that we appended and that was not read back: it is void, or its partition is away.
constexpr Duration kAppendAgain{30'000};
constexpr Duration kCountEvery{15'000};
// A rebuild takes well under a second: so long it is left to whoever began it.
constexpr Duration kLeftToOthers{2'000};
// How often a discovered sale, which is being built by its creator, is looked for again.
constexpr int kBuiltLooks = 50;
constexpr Duration kLookAgain{20};
constexpr std::size_t kInLineMax = 1'000; // who waits for a discovery; the others hear 404
// Look-ups of sales that are not known: each costs the store a query by its key.
constexpr std::int64_t kDiscoveryNs = 5'000'000;

// Of one read; a store that is slower is away.
constexpr Duration kStoreWait{2'000};
constexpr const char* kStore = "the order store";

std::int64_t ns(Duration time) { return time.count() * 1'000'000; }

bool is_over(const SaleTerms& terms, TimePoint now) {
    return terms.closed_at && *terms.closed_at + kClosedKept < now;
}

} // namespace

SaleKeeper::SaleKeeper(Parts parts) : parts_(std::move(parts)) {}

void SaleKeeper::look_soon() { must_look_.store(true, std::memory_order_release); }

std::string SaleKeeper::state() const {
    switch (waiting_.load(std::memory_order_relaxed)) {
    case Waiting::nothing: return "up";
    case Waiting::store: return "waiting for the order store";
    case Waiting::inventory: return "waiting for the inventory";
    case Waiting::rebuild: return "being rebuilt (this needs a live order writer)";
    }
    return "up";
}

Task<void> SaleKeeper::run() {
    for (;;) {
        must_look_.store(false, std::memory_order_release);
        {
            const auto turn = co_await turn_.take();
            co_await look();
        }
        const std::int64_t now = parts_.clock.steady_ns();
        if (!due_.empty()) begin(is_rebuilding_, &SaleKeeper::rebuild_due);
        if (now >= next_append_ns_) begin(is_appending_, &SaleKeeper::append_pending);
        if (now >= next_count_ns_) begin(is_counting_, &SaleKeeper::count_orders);
        const std::int64_t next_look = now + ns(kLookEvery);
        while (parts_.clock.steady_ns() < next_look &&
               !must_look_.load(std::memory_order_acquire)) {
            co_await sleep_for(parts_.clock, kLookSoon);
        }
    }
}

void SaleKeeper::begin(bool& is_under_way, Task<void> (SaleKeeper::*work)()) {
    if (is_under_way) return;
    is_under_way = true;
    auto task = [this, &is_under_way, work]() -> Task<void> {
        co_await (this->*work)();
        is_under_way = false;
    };
    boost::asio::co_spawn(parts_.cores.at(0).executor(), std::move(task), rethrow);
}

Task<Result<std::vector<StoredSale>>> SaleKeeper::read_sales() {
    std::vector<StoredSale> all;
    for (;;) {
        const std::string after = all.empty() ? "" : all.back().terms.id;
        auto read = [this, after] { return parts_.store.list_sales(after, kSalesAPage); };
        auto page = co_await parts_.blocking.run_within(kStoreWait, kStore, std::move(read));
        if (!page) co_return tl::make_unexpected(std::move(page.error()));
        const bool is_last = page->size() < kSalesAPage;
        std::ranges::move(*page, std::back_inserter(all));
        if (is_last) co_return all;
    }
}

Task<void> SaleKeeper::look() {
    ++looks_;
    auto sales = co_await read_sales();
    if (!sales) {
        waiting_ = Waiting::store;
        co_return;
    }
    // Those that sell now come first; else in an order that chance gives each node, so that nodes
    // which have everything to rebuild do not meet at every sale.
    for (std::size_t i = sales->size(); i > 1; --i) {
        std::swap((*sales)[i - 1], (*sales)[parts_.random(i)]);
    }
    const TimePoint now = parts_.clock.now();
    std::ranges::stable_partition(*sales, [now](const StoredSale& sale) {
        return state_of(sale.terms, now) == SaleState::open;
    });
    for (const StoredSale& sale : *sales) co_await show_terms(sale.terms);
    if (!is_ready_) {
        is_ready_ = true;
        parts_.on_ready(parts_.directories[0]->size());
    }
    for (const StoredSale& sale : *sales) {
        const bool is_there = co_await keep(sale);
        if (is_there) continue;
        waiting_ = Waiting::inventory; // the others would wait for it in vain, one after the other
        co_return;
    }
    waiting_ = cold_.empty() ? Waiting::nothing : Waiting::rebuild;
}

Task<void> SaleKeeper::show_terms(const SaleTerms& terms) {
    const SaleView* view = parts_.directories[0]->find(terms.no);
    if (view == nullptr || view->terms->version < terms.version) {
        co_await parts_.rebuild.publish(std::make_shared<const SaleTerms>(terms));
    }
}

// For the metrics. Adding up a sale of a million orders takes the store some tenths of a second.
Task<void> SaleKeeper::count_orders() {
    next_count_ns_ = parts_.clock.steady_ns() + ns(kCountEvery);
    const TimePoint now = parts_.clock.now();
    std::vector<std::pair<SaleNo, std::string>> sales;
    parts_.directories[0]->for_each([&](const SaleView& view) {
        if (!is_over(*view.terms, now)) sales.emplace_back(view.terms->no, view.terms->id);
    });
    for (const auto& [no, id] : sales) {
        auto read = [this, &id] { return parts_.store.books(id); };
        const auto books = co_await parts_.blocking.run(read);
        if (books && !books->sales.empty()) parts_.tally.set(no, books->sales.front().orders);
    }
}

bool SaleKeeper::is_cold(SaleNo sale) const {
    const SaleView* view = parts_.directories[0]->find(sale);
    return view == nullptr || !view->signals ||
           view->signals->is_cold.load(std::memory_order_relaxed);
}

Task<bool> SaleKeeper::keep(const StoredSale& sale) {
    const SaleTerms& terms = sale.terms;
    co_await show_terms(terms);
    // A rebuild that was not finished, or that went to a Redis which is not ours any more, leaves a
    // sale that sells under another epoch than the store's: nobody would ever miss it otherwise.
    const bool is_stale = attached_[terms.no] != sale.epoch;
    if (is_stale || is_cold(terms.no)) {
        if (!is_over(terms, parts_.clock.now())) co_return co_await revive(sale);
        cold_.erase(terms.no);
        co_return true;
    }
    cold_.erase(terms.no);
    // Whoever changed the terms may have died before the inventory knew.
    if (told_[terms.no] >= terms.version) co_return true;
    const auto known = co_await parts_.inventory.set_terms(terms);
    if (known) told_[terms.no] = terms.version;
    co_return known.has_value();
}

Task<Result<bool>> SaleKeeper::attach(const StoredSale& sale) {
    auto attached = co_await parts_.inventory.attach(sale.terms, sale.epoch);
    if (!attached) co_return tl::make_unexpected(std::move(attached.error()));
    if (!*attached) co_return false;
    co_await parts_.rebuild.show(sale.terms, *attached);
    cold_.erase(sale.terms.no);
    attached_[sale.terms.no] = sale.epoch;
    co_return true;
}

Task<bool> SaleKeeper::revive(const StoredSale& sale) {
    const SaleNo no = sale.terms.no;
    const auto attached = co_await attach(sale);
    if (!attached) co_return false;
    if (*attached) co_return true;
    const std::int64_t now = parts_.clock.steady_ns();
    const auto [at, is_new] = cold_.try_emplace(no);
    Cold& cold = at->second;
    if (cold.is_due) co_return true;
    if (is_new || cold.epoch != sale.epoch) {
        // Nobody has built it yet, or somebody has just begun to: whoever it is gets time for it,
        // and so does whoever may be creating a sale that never sold here. A sale that was lost
        // waits only for what chance says, so that one node is the first.
        const bool was_lost = is_new && is_cold(no) && attached_[no] != Epoch(0);
        const bool is_others = !was_lost;
        const std::uint64_t wait_ms = kFirstWaitMsMax << std::min(cold.attempts, kDoublingsMax);
        const Duration drawn(static_cast<std::int64_t>(parts_.random(wait_ms)));
        cold.epoch = sale.epoch;
        cold.not_before_ns = now + ns(drawn + (is_others ? kLeftToOthers : Duration(0)));
        if (!is_others) look_soon();
        co_return true;
    }
    if (now < cold.not_before_ns) co_return true;
    cold.is_due = true;
    due_.push_back(sale);
    co_return true;
}

Task<void> SaleKeeper::rebuild_due() {
    while (!due_.empty()) {
        const StoredSale sale = std::move(due_.front());
        due_.pop_front();
        co_await rebuild(sale);
        const auto at = cold_.find(sale.terms.no);
        if (at != cold_.end()) at->second.is_due = false;
    }
}

Task<void> SaleKeeper::rebuild(const StoredSale& sale) {
    const SaleNo no = sale.terms.no;
    auto read = [this, id = sale.terms.id] { return parts_.store.find_sale(id); };
    const auto latest = co_await parts_.blocking.run_within(kStoreWait, kStore, std::move(read));
    // Somebody may have been faster: seen at the next look.
    if (!latest || latest->epoch != sale.epoch) co_return;
    if (!is_cold(no) && attached_[no] == sale.epoch) co_return;
    if (const auto at = cold_.find(no); at != cold_.end()) ++at->second.attempts;
    spdlog::info("sale {}: the inventory does not have it, rebuilding", sale.terms.id);
    auto run = is_cold(no) ? parts_.rebuild.run_if_cold(no) : parts_.rebuild.run_again(no);
    const auto rebuilt = co_await std::move(run);
    if (rebuilt) {
        cold_.erase(no);
        look_soon();
    } else if (rebuilt.error().is(Errc::fenced)) {
        spdlog::info("sale {}: another node rebuilds it", sale.terms.id);
    } else {
        spdlog::warn("sale {}: not rebuilt: {}; trying again", sale.terms.id,
                     rebuilt.error().message());
    }
}

Task<void> SaleKeeper::append_pending() {
    next_append_ns_ = parts_.clock.steady_ns() + ns(kAppendEvery);
    std::vector<std::pair<SaleNo, LogPartition>> sales;
    parts_.directories[0]->for_each([&sales](const SaleView& view) {
        if (view.signals && !view.signals->is_cold.load(std::memory_order_relaxed)) {
            sales.emplace_back(view.terms->no, view.terms->partition);
        }
    });
    for (const auto& [sale, partition] : sales) co_await append_pending_of(sale, partition);
}

Task<void> SaleKeeper::append_pending_of(SaleNo sale, LogPartition partition) {
    const auto pending = co_await parts_.inventory.pending(sale, kPendingMax, kAppendMax);
    if (!pending || pending->empty()) co_return;
    const std::int64_t now = parts_.clock.steady_ns();
    std::erase_if(appended_, [now](const auto& each) { return each.second.again_at_ns <= now; });
    std::vector<std::pair<LogPosition, OrderId>> appended;
    for (const LogRecord& record : *pending) {
        // The log itself produces again what it was given: another copy would only take room.
        const auto before = appended_.find({record.order, record.epoch});
        if (before != appended_.end()) {
            const bool is_read_back = parts_.log.is_durable(before->second.position);
            if (is_read_back) parts_.inventory.settled(sale, record.order);
            continue;
        }
        const LogRecordView view{record.kind,     record.sale, record.epoch, record.order,
                                 record.quantity, record.user, record.key,   partition};
        const auto position = parts_.log.enqueue(view);
        if (!position) break; // the log is full: next time
        appended.emplace_back(*position, record.order);
        appended_[{record.order, record.epoch}] = {*position, now + ns(kAppendAgain)};
    }
    if (appended.empty()) co_return;
    spdlog::info("sale {}: {} holds stayed pending, appending them again", sale.get(),
                 appended.size());
    for (const auto& [position, order] : appended) {
        const auto durable = co_await parts_.log.durable(position);
        if (!durable) co_return;
        parts_.inventory.settled(sale, order);
    }
}

// In turn, so that a crowd for one new sale asks once.
Task<void> SaleKeeper::discover_in_turn(const std::string& id) {
    if (turn_.waiting() >= kInLineMax) co_return;
    const auto turn = co_await turn_.take();
    const std::int64_t now = parts_.clock.steady_ns();
    if (parts_.directories[0]->find(id) != nullptr || now < next_discovery_ns_) co_return;
    next_discovery_ns_ = now + kDiscoveryNs;
    const auto find = [this, id] { return parts_.store.find_sale(id); };
    for (int looks = 0; looks < kBuiltLooks; ++looks) {
        const auto sale = co_await parts_.blocking.run_within(kStoreWait, kStore, find);
        if (!sale) {
            // Those in line behind us would wait for the same store.
            if (!sale.error().is(Errc::not_found)) {
                next_discovery_ns_ = parts_.clock.steady_ns() + ns(kStoreWait);
            }
            co_return;
        }
        const auto attached = co_await attach(*sale);
        if (!attached || *attached) break;
        co_await sleep_for(parts_.clock, kLookAgain);
    }
    // Known from here on, though it may still be cold.
    const auto sale = co_await parts_.blocking.run_within(kStoreWait, kStore, find);
    if (sale) co_await keep(*sale);
}

Task<void> SaleKeeper::discover(std::string id) {
    co_await boost::asio::co_spawn(parts_.cores.at(0).executor(), discover_in_turn(id), use_task);
}

Task<void> SaleKeeper::refresh() {
    const auto look_now = [this]() -> Task<void> {
        if (turn_.waiting() >= kInLineMax) co_return;
        const std::uint64_t looks_before = looks_;
        const auto turn = co_await turn_.take();
        if (looks_ > looks_before) co_return; // somebody's look began while we waited
        co_await look();
    };
    co_await boost::asio::co_spawn(parts_.cores.at(0).executor(), look_now, use_task);
}

} // namespace doorbuster
