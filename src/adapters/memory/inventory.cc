#include "adapters/memory/inventory.h"

#include <algorithm>

namespace doorbuster::memory {
namespace {

// Room that is made at once for a sale's holders: a map that grows later stalls its core for as
// long as it takes to move its entries, some 30 ms a million. Beyond this it may grow.
constexpr Units kRoomMax = 1'000'000;

Stop unavailable() {
    Refusal refusal;
    refusal.reason = PurchaseOutcome::unavailable;
    return refusal;
}

// Why the log takes no record.
Stop log_refuses(const OrderLog& log, LogPartition partition) {
    Refusal refusal;
    refusal.reason =
        log.is_stalled(partition) ? PurchaseOutcome::unavailable : PurchaseOutcome::overloaded;
    return refusal;
}

// An answer that tells of an earlier hold leaves when everything enqueued so far is durable.
LogPosition gate_of(const OrderLog& log, const Stock& stock) {
    return log.last_enqueued(stock.terms().partition);
}

} // namespace

MemoryInventory::MemoryInventory(Cores& cores, const Clock& clock)
    : cores_(cores), clock_(clock), shelves_(cores.size()) {}

void MemoryInventory::Entry::publish() const {
    signals->remaining.store(stock.remaining(), std::memory_order_release);
}

MemoryInventory::Entry* MemoryInventory::find(SaleNo sale) {
    Shelf& shelf = shelves_[owner(sale).index()];
    const auto at = shelf.find(sale);
    if (at == shelf.end()) return nullptr;
    const Slot& slot = at->second;
    return slot.entry && slot.entry->epoch == slot.opened ? slot.entry.get() : nullptr;
}

Step<Reservation> MemoryInventory::reserve_here(const PurchaseRequest& request, OrderLog& log) {
    Entry* entry = find(request.sale);
    if (entry == nullptr) return tl::make_unexpected(unavailable());
    auto decision = entry->stock.decide(request, clock_.now());
    if (!decision) {
        Refusal& refusal = decision.error();
        if (refusal.order_id) refusal.leaves_at = gate_of(log, entry->stock);
        return tl::make_unexpected(Stop(refusal));
    }
    if (const auto* replayed = std::get_if<OrderReplayed>(&*decision)) {
        return Reservation{replayed->order, replayed->quantity, gate_of(log, entry->stock), true};
    }
    const auto& placed = std::get<OrderPlaced>(*decision);
    const LogRecordView record{
        LogRecordKind::order, request.sale, entry->epoch, placed.order,
        placed.quantity,      request.user, request.key,  entry->stock.terms().partition};
    const auto position = log.enqueue(record);
    if (!position) return tl::make_unexpected(log_refuses(log, record.partition));
    // The key is in the filter before the sale can be seen as sold out.
    if (placed.key) entry->signals->keys.add(*placed.key);
    entry->stock.apply(placed);
    entry->publish();
    return Reservation{placed.order, placed.quantity, *position, false};
}

Task<Step<Reservation>> MemoryInventory::reserve(const PurchaseRequest& request, OrderLog& log) {
    auto turn = [this, &request, &log] { return reserve_here(request, log); };
    co_return co_await call_on(owner(request.sale), turn);
}

Task<Step<std::optional<Reservation>>> MemoryInventory::find_key(const PurchaseRequest& request,
                                                                 OrderLog& log) {
    using Found = Step<std::optional<Reservation>>;
    auto turn = [this, &request, &log]() -> Found {
        const Entry* entry = find(request.sale);
        if (entry == nullptr) return tl::make_unexpected(unavailable());
        auto decision = entry->stock.decide_bound_key(request);
        if (!decision) return std::optional<Reservation>();
        if (!*decision) return tl::make_unexpected(Stop(decision->error()));
        const auto& replayed = std::get<OrderReplayed>(**decision);
        return Reservation{replayed.order, replayed.quantity, gate_of(log, entry->stock), true};
    };
    co_return co_await call_on(owner(request.sale), turn);
}

std::unique_ptr<MemoryInventory::Entry> MemoryInventory::build(SaleImage image) {
    const Units stock = image.terms.stock;
    auto entry = std::make_unique<Entry>(
        Entry{Stock(std::move(image.terms)), image.epoch, image.given_back, nullptr});
    entry->stock.hold_elsewhere(image.units_elsewhere);
    const std::size_t keys_bound =
        image.keys_of_finished.size() +
        static_cast<std::size_t>(std::ranges::count_if(
            image.live, [](const OrderPlaced& order) { return order.key.has_value(); }));
    const Units to_sell = std::max<Units>(stock - static_cast<Units>(image.live.size()), 0);
    const auto growth = static_cast<std::size_t>(std::min(to_sell, kRoomMax));
    entry->signals = std::make_shared<StockSignals>(keys_bound);
    // Room for what is there and as much to come; a sale that nobody has bought from costs nothing.
    if (!image.live.empty()) {
        entry->stock.reserve_room(image.live.size() + growth, keys_bound);
    }
    for (const OrderPlaced& order : image.live) {
        entry->stock.apply(order);
        if (order.key) entry->signals->keys.add(*order.key);
    }
    for (const SaleImage::Key& bound : image.keys_of_finished) {
        entry->stock.bind_key(bound.key, bound.order, bound.quantity);
        entry->signals->keys.add(bound.key);
    }
    entry->publish();
    return entry;
}

// Whatever another process has installed is in its own memory.
Task<Result<std::shared_ptr<const StockSignals>>> MemoryInventory::attach(const SaleTerms&, Epoch) {
    co_return std::shared_ptr<const StockSignals>();
}

Task<Result<void>> MemoryInventory::begin_rebuild(SaleNo sale, Epoch epoch) {
    auto turn = [this, sale, epoch]() -> Result<void> {
        Slot& slot = slot_of(sale);
        if (slot.opened > epoch) return fail(Errc::fenced, "a later rebuild of the sale has begun");
        slot.opened = epoch;
        return {};
    };
    co_return co_await call_on(owner(sale), turn);
}

Task<Result<std::shared_ptr<const StockSignals>>> MemoryInventory::install(SaleImage image) {
    const SaleNo no = image.terms.no;
    // Staged here, on the caller's core; the owner only swaps it in.
    std::unique_ptr<Entry> staged = build(std::move(image));
    auto turn = [this, no, &staged]() -> std::shared_ptr<const StockSignals> {
        Slot& slot = slot_of(no);
        if (staged->epoch < slot.opened) return nullptr; // overtaken by a later rebuild
        slot.opened = staged->epoch;
        // Terms may have changed since the snapshot.
        if (slot.entry) staged->stock.apply(slot.entry->stock.terms());
        staged->publish();
        std::swap(slot.entry, staged);
        return slot.entry->signals;
    };
    co_return co_await call_on(owner(no), turn);
}

Task<Result<void>> MemoryInventory::set_terms(const SaleTerms& terms) {
    auto turn = [this, &terms]() -> Result<void> {
        // An entry that is being rebuilt takes them too: the rebuild looks here for newer ones.
        Entry* entry = slot_of(terms.no).entry.get();
        if (entry == nullptr) return fail(Errc::not_found, "sale " + terms.id + " is cold");
        entry->stock.apply(terms);
        entry->publish();
        return {};
    };
    co_return co_await call_on(owner(terms.no), turn);
}

Step<LogPosition> MemoryInventory::withdraw_here(const Withdrawal& withdrawal, OrderLog& log) {
    Entry* entry = find(withdrawal.sale);
    if (entry == nullptr) return tl::make_unexpected(unavailable());
    if (auto decision = entry->stock.decide_withdrawal(withdrawal.units); !decision) {
        return tl::make_unexpected(Stop(decision.error()));
    }
    const LogRecordView record{
        LogRecordKind::withdraw, withdrawal.sale, entry->epoch,   withdrawal.id,
        withdrawal.units,        withdrawal.who,  withdrawal.key, entry->stock.terms().partition};
    const auto position = log.enqueue(record);
    if (!position) return tl::make_unexpected(log_refuses(log, record.partition));
    entry->stock.apply_withdrawal(withdrawal.id, withdrawal.units);
    entry->publish();
    return *position;
}

Task<Step<LogPosition>> MemoryInventory::withdraw(const Withdrawal& withdrawal, OrderLog& log) {
    auto turn = [this, &withdrawal, &log] { return withdraw_here(withdrawal, log); };
    co_return co_await call_on(owner(withdrawal.sale), turn);
}

Task<Result<void>> MemoryInventory::release(const SaleTerms& terms, Epoch epoch,
                                            std::span<const OrderId> orders) {
    auto turn = [this, &terms, epoch, orders]() -> Result<void> {
        Entry* entry = find(terms.no);
        if (entry == nullptr || entry->epoch != epoch) {
            return fail(Errc::fenced, "sale " + terms.id + " is being rebuilt");
        }
        entry->stock.apply(terms);
        for (const OrderId& order : orders) entry->given_back += entry->stock.release(order);
        entry->publish();
        return {};
    };
    co_return co_await call_on(owner(terms.no), turn);
}

Task<Result<InventoryCount>> MemoryInventory::count(SaleNo sale, OrderLog& log) {
    auto turn = [this, sale, &log]() -> Result<InventoryCount> {
        const Entry* entry = find(sale);
        if (entry == nullptr) return fail(Errc::not_found, "the sale is cold");
        InventoryCount count;
        count.remaining = entry->stock.remaining();
        count.log_end = log.last_enqueued(entry->stock.terms().partition);
        count.terms_version = entry->stock.terms().version;
        count.given_back = entry->given_back;
        count.withdrawing = entry->stock.withdrawing();
        return count;
    };
    co_return co_await call_on(owner(sale), turn);
}

// Nobody outlives this process who could append them.
Task<Result<std::vector<LogRecord>>> MemoryInventory::pending(SaleNo, Duration, std::size_t) {
    co_return std::vector<LogRecord>();
}

} // namespace doorbuster::memory
