#include "engine/looking_inventory.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace doorbuster {
namespace {

// A replayed answer rests on an order that was durable before its key was bound.
const LogPosition kDurableAlready{0};

constexpr Duration kMayHelpAfter{1'000}; // as PurchaseService says

// One of the 503s.
Stop refused(PurchaseOutcome reason) {
    Refusal refusal;
    refusal.reason = reason;
    refusal.retry_after = kMayHelpAfter;
    return refusal;
}

SaleTerms without_end(SaleTerms terms) {
    terms.stock = kStockMax;
    return terms;
}

} // namespace

LookingInventory::LookingInventory(Parts parts) : parts_(parts), shelves_(parts.cores.size()) {
    if (parts.attempts_max) turns_.emplace(*parts.attempts_max);
}

LookingInventory::Entry* LookingInventory::find(SaleNo sale) {
    Shelf& shelf = shelves_[owner(sale).index()];
    const auto at = shelf.find(sale);
    if (at == shelf.end()) return nullptr;
    const Slot& slot = at->second;
    return slot.entry && slot.entry->epoch == slot.opened ? slot.entry.get() : nullptr;
}

// The user's units and the key are taken before the look, so that no two attempts of one buyer get
// through together; what comes to nothing is given back.
Step<LookingInventory::Claim> LookingInventory::claim(const PurchaseRequest& request) {
    Entry* entry = find(request.sale);
    if (entry == nullptr) return tl::make_unexpected(refused(PurchaseOutcome::unavailable));
    Claim claim;
    claim.epoch = entry->epoch;
    claim.partition = entry->buyers.terms().partition;
    claim.signals = entry->signals;
    if (request.has_key()) {
        const auto first = entry->keys_under_way.find(request.key_print);
        if (first != entry->keys_under_way.end()) {
            claim.wait = first->second.places;
            return claim;
        }
    }
    for (const Unsettled& order : unsettled_for(request)) {
        Refusal refusal = std::get<Refusal>(refused(PurchaseOutcome::unavailable));
        refusal.order_id = order.order;
        return tl::make_unexpected(Stop(refusal));
    }
    auto decision = entry->buyers.decide(request, parts_.clock.now());
    if (!decision && decision.error().reason == PurchaseOutcome::limit_reached) {
        // What is under way may come to nothing yet.
        const bool may_change = entry->users_under_way.contains(request.user_print);
        claim.unless_sold_out =
            may_change ? std::get<Refusal>(refused(PurchaseOutcome::overloaded)) : decision.error();
        return claim;
    }
    if (!decision) return tl::make_unexpected(Stop(decision.error()));
    if (const auto* replayed = std::get_if<OrderReplayed>(&*decision)) {
        claim.replay = Reservation{replayed->order, replayed->quantity, kDurableAlready, true};
        return claim;
    }
    OrderPlaced placed = std::get<OrderPlaced>(*decision);
    placed.key.reset(); // only a yes binds it
    entry->buyers.apply(placed);
    ++entry->users_under_way[request.user_print];
    if (request.has_key()) entry->keys_under_way.try_emplace(request.key_print);
    return claim;
}

void LookingInventory::settle(const PurchaseRequest& request, Ending ending) {
    Entry* entry = find(request.sale);
    if (entry == nullptr) return; // rebuilt meanwhile: from what the store knows
    const auto user = entry->users_under_way.find(request.user_print);
    if (user != entry->users_under_way.end() && --user->second == 0) {
        entry->users_under_way.erase(user);
    }
    if (ending == Ending::nothing) {
        entry->buyers.release(request.order_id);
    } else if (ending == Ending::unknown) {
        Unsettled order{request.order_id, std::nullopt, request.quantity, parts_.clock.now()};
        if (request.has_key()) order.key = request.key_print;
        entry->unsettled[request.user_print].push_back(order);
    } else if (request.has_key()) {
        entry->buyers.bind_key(request.key_print, request.order_id, request.quantity);
    }
    if (!request.has_key()) return;
    if (ending != Ending::nothing) entry->signals->keys.add(request.key_print);
    entry->keys_under_way.erase(request.key_print); // lets the next one have it
}

std::vector<LookingInventory::Unsettled>
LookingInventory::unsettled_for(const PurchaseRequest& request) {
    Entry* entry = find(request.sale);
    if (entry == nullptr) return {};
    const auto of_user = entry->unsettled.find(request.user_print);
    if (of_user == entry->unsettled.end()) return {};
    const auto has_key = [&request](const Unsettled& order) {
        return request.has_key() && order.key == request.key_print;
    };
    if (std::ranges::any_of(of_user->second, has_key)) return of_user->second;
    const auto decision = entry->buyers.decide(request, parts_.clock.now());
    const bool is_limit = !decision && decision.error().reason == PurchaseOutcome::limit_reached;
    return is_limit ? of_user->second : std::vector<Unsettled>();
}

void LookingInventory::settle(const PurchaseRequest& request, const OrderId& order,
                              Whereabouts where) {
    Entry* entry = find(request.sale);
    if (entry == nullptr) return;
    const auto of_user = entry->unsettled.find(request.user_print);
    if (of_user == entry->unsettled.end()) return;
    std::vector<Unsettled>& all = of_user->second;
    const auto at = std::ranges::find(all, order, &Unsettled::order);
    if (at == all.end()) return;
    // A log brings what it has taken, or is closed by a rebuild. What the store has not got by now
    // it will never have.
    const bool is_given_up =
        where == Whereabouts::nowhere && turns_ && parts_.clock.now() - at->since > kGivenUpAfter;
    if (where != Whereabouts::found && !is_given_up) return;
    if (is_given_up) {
        entry->buyers.release(order);
    } else if (at->key) {
        entry->buyers.bind_key(*at->key, order, at->quantity);
    }
    all.erase(at);
    if (all.empty()) entry->unsettled.erase(of_user);
}

LookingInventory::Whereabouts LookingInventory::look_for(const OrderId& order, OrderLog& log) {
    const auto logged = log.find(order);
    if (!logged) return Whereabouts::not_known;
    if (*logged) return Whereabouts::found;
    const auto stored = parts_.store.find_order(order);
    if (stored) return Whereabouts::found;
    return stored.error().is(Errc::not_found) ? Whereabouts::nowhere : Whereabouts::not_known;
}

Task<void> LookingInventory::ask_for_unsettled(const PurchaseRequest& request, OrderLog& log) {
    auto which = [this, &request] { return unsettled_for(request); };
    const std::vector<Unsettled> all = co_await call_on(owner(request.sale), which);
    for (const Unsettled& unsettled : all) {
        const OrderId order = unsettled.order;
        auto ask = [this, order, &log]() -> Result<Whereabouts> { return look_for(order, log); };
        const auto where = co_await parts_.blocking.run(ask);
        if (!where) co_return; // it stays as it is
        auto tell = [this, &request, order, &where] { settle(request, order, *where); };
        co_await call_on(owner(request.sale), tell);
    }
}

Task<Step<LookingInventory::Claim>> LookingInventory::claim_in_line(const PurchaseRequest& request,
                                                                    OrderLog& log) {
    const std::int64_t start_ns = parts_.clock.steady_ns();
    for (;;) {
        co_await ask_for_unsettled(request, log);
        auto turn = [this, &request] { return claim(request); };
        auto claimed = co_await call_on(owner(request.sale), turn);
        if (!claimed || !claimed->wait) co_return claimed;
        const auto waited = std::chrono::nanoseconds(parts_.clock.steady_ns() - start_ns);
        const Duration left = parts_.turn_wait_max - std::chrono::floor<Duration>(waited);
        if (left <= Duration(0)) break;
        const auto first_has_ended = co_await claimed->wait->take(left);
        if (!first_has_ended) break;
    }
    co_return tl::make_unexpected(refused(PurchaseOutcome::overloaded));
}

Task<Step<Reservation>> LookingInventory::refuse_unless_sold_out(const PurchaseRequest& request,
                                                                 const Claim& claim) {
    Refusal refusal = *claim.unless_sold_out;
    std::optional<AsyncPlaces::Held> turn;
    if (turns_) {
        auto taken = co_await turns_->take(parts_.turn_wait_max);
        if (!taken) co_return tl::make_unexpected(refused(PurchaseOutcome::overloaded));
        turn.emplace(std::move(*taken));
    }
    auto seen = co_await parts_.look.look_at_units(request.sale);
    if (!seen) co_return tl::make_unexpected(Stop(std::move(seen.error())));
    if (seen->stock == seen->sold) {
        refusal = Refusal();
        refusal.reason = PurchaseOutcome::sold_out;
        refusal.remaining = 0;
    }
    co_return tl::make_unexpected(Stop(refusal));
}

Task<Step<Reservation>> LookingInventory::reserve(const PurchaseRequest& request, OrderLog& log) {
    const auto claimed = co_await claim_in_line(request, log);
    if (!claimed) co_return tl::make_unexpected(claimed.error());
    if (claimed->replay) co_return *claimed->replay;
    if (claimed->unless_sold_out) co_return co_await refuse_unless_sold_out(request, *claimed);
    auto ordered = co_await attempt(request, *claimed, log);
    Ending ending = Ending::ordered;
    if (!ordered) {
        const auto* refusal = std::get_if<Refusal>(&ordered.error());
        ending = refusal != nullptr && refusal->order_id ? Ending::unknown : Ending::nothing;
    }
    auto end = [this, &request, ending] { settle(request, ending); };
    co_await call_on(owner(request.sale), end);
    co_return ordered;
}

// The published purchase is one transaction on one pooled connection, from its look to its write.
// Whoever waited for a connection with an old look in hand would lose a race that was not there.
Task<Step<Reservation>> LookingInventory::attempt(const PurchaseRequest& request,
                                                  const Claim& claim, OrderLog& log) {
    if (!turns_) co_return co_await look_and_order(request, claim, log);
    const auto turn = co_await turns_->take(parts_.turn_wait_max);
    if (!turn) co_return tl::make_unexpected(refused(PurchaseOutcome::overloaded));
    co_return co_await look_and_order(request, claim, log);
}

Task<Step<Reservation>> LookingInventory::look_and_order(const PurchaseRequest& request,
                                                         const Claim& claim, OrderLog& log) {
    auto seen = co_await parts_.look.look_at_units(request.sale);
    if (!seen) co_return tl::make_unexpected(Stop(std::move(seen.error())));
    const Units left = seen->stock - seen->sold;
    claim.signals->remaining.store(left, std::memory_order_release);
    // The published test, count == sale, for more than one unit: once more are sold than there are,
    // it never fires again.
    if (left >= 0 && left < request.quantity) {
        Refusal refusal;
        refusal.reason = PurchaseOutcome::sold_out;
        refusal.remaining = left;
        co_return tl::make_unexpected(Stop(refusal));
    }
    auto versioned = co_await parts_.look.look_at_version(request.sale, *seen);
    if (!versioned) co_return tl::make_unexpected(Stop(std::move(versioned.error())));
    LogRecordView record;
    record.sale = request.sale;
    record.epoch = claim.epoch;
    record.order = request.order_id;
    record.quantity = request.quantity;
    record.user = request.user;
    record.key = request.key;
    record.partition = claim.partition;
    record.sighting = *seen;
    const auto position = log.enqueue(record);
    if (!position) {
        co_return tl::make_unexpected(refused(log.is_stalled(claim.partition)
                                                  ? PurchaseOutcome::unavailable
                                                  : PurchaseOutcome::overloaded));
    }
    auto durable = co_await log.durable(*position);
    if (durable) {
        claim.signals->remaining.store(left - request.quantity, std::memory_order_release);
        co_return Reservation{request.order_id, request.quantity, *position, false};
    }
    auto* refusal = std::get_if<Refusal>(&durable.error());
    // Any other no of a log is that the record may still become durable.
    if (refusal != nullptr && refusal->reason != PurchaseOutcome::lost_race) {
        refusal->order_id = request.order_id;
        refusal->retry_after = kMayHelpAfter;
    }
    co_return tl::make_unexpected(std::move(durable.error()));
}

Task<Step<std::optional<Reservation>>> LookingInventory::find_key(const PurchaseRequest& request,
                                                                  OrderLog& log) {
    using Found = Step<std::optional<Reservation>>;
    co_await ask_for_unsettled(request, log);
    auto turn = [this, &request]() -> Found {
        const Entry* entry = find(request.sale);
        if (entry == nullptr) return tl::make_unexpected(refused(PurchaseOutcome::unavailable));
        auto decision = entry->buyers.decide_bound_key(request);
        if (!decision) return std::optional<Reservation>();
        if (!*decision) return tl::make_unexpected(Stop(decision->error()));
        const auto& replayed = std::get<OrderReplayed>(**decision);
        return Reservation{replayed.order, replayed.quantity, kDurableAlready, true};
    };
    co_return co_await call_on(owner(request.sale), turn);
}

Task<Result<std::shared_ptr<const StockSignals>>> LookingInventory::attach(const SaleTerms&,
                                                                           Epoch) {
    co_return std::shared_ptr<const StockSignals>();
}

Task<Result<void>> LookingInventory::begin_rebuild(SaleNo sale, Epoch epoch) {
    auto turn = [this, sale, epoch]() -> Result<void> {
        Slot& slot = slot_of(sale);
        if (slot.opened > epoch) return fail(Errc::fenced, "a later rebuild of the sale has begun");
        slot.opened = epoch;
        return {};
    };
    co_return co_await call_on(owner(sale), turn);
}

std::unique_ptr<LookingInventory::Entry> LookingInventory::build(SaleImage image) {
    auto entry = std::make_unique<Entry>(
        Entry{Stock(without_end(std::move(image.terms))), image.epoch, nullptr});
    entry->signals = std::make_shared<StockSignals>(
        image.live.size(), StockSignals::Keys::all_known, StockSignals::Remaining::was_seen);
    for (const OrderPlaced& order : image.live) {
        entry->buyers.apply(order);
        if (order.key) entry->signals->keys.add(*order.key);
    }
    for (const SaleImage::Key& bound : image.keys_of_finished) {
        entry->buyers.bind_key(bound.key, bound.order, bound.quantity);
        entry->signals->keys.add(bound.key);
    }
    return entry;
}

// An order raises the keys before its commit. What was read before it and written behind it would
// leave a version that the store never has again: so no attempt is at work meanwhile, and orders
// that come from a log are looked for afterwards.
Task<Result<void>> LookingInventory::preheat(SaleNo sale) {
    const auto mine = co_await preheating_.take(parts_.turn_wait_max); // one after the other
    std::vector<AsyncPlaces::Held> all;
    for (std::size_t i = 0; mine && i < parts_.attempts_max.value_or(0); ++i) {
        auto turn = co_await turns_->take(parts_.turn_wait_max);
        if (!turn) break;
        all.push_back(std::move(*turn));
    }
    if (!mine || all.size() < parts_.attempts_max.value_or(0)) {
        co_return fail(Errc::unavailable, "purchases do not come to an end");
    }
    auto look = [this, sale] { return parts_.store.look_at_stock(sale); };
    for (int reads = 1;; ++reads) {
        const auto stored = co_await parts_.blocking.run(look);
        if (!stored) co_return tl::make_unexpected(stored.error());
        auto shown = co_await parts_.look.preheat(sale, *stored);
        if (!shown || reads == kPreheatReadsMax) co_return shown;
        const auto again = co_await parts_.blocking.run(look);
        if (again && again->version == stored->version) co_return shown;
    }
}

Task<Result<std::shared_ptr<const StockSignals>>> LookingInventory::install(SaleImage image) {
    using Installed = Result<std::shared_ptr<const StockSignals>>;
    const SaleNo no = image.terms.no;
    if (image.terms.payment_timeout > Duration(0)) {
        co_return fail(Errc::invalid, "sale " + image.terms.id + ": its payment time-out " +
                                          std::string(kNoPaymentStep));
    }
    const Units stock = image.terms.stock;
    std::unique_ptr<Entry> staged = build(std::move(image));
    staged->signals->remaining.store(stock, std::memory_order_release);
    auto heated = co_await preheat(no);
    if (!heated) co_return tl::make_unexpected(std::move(heated.error()));
    auto turn = [this, no, &staged]() -> Installed {
        Slot& slot = slot_of(no);
        if (staged->epoch < slot.opened) return nullptr; // overtaken by a later rebuild
        slot.opened = staged->epoch;
        if (slot.entry) staged->buyers.apply(slot.entry->buyers.terms());
        std::swap(slot.entry, staged);
        return slot.entry->signals;
    };
    co_return co_await call_on(owner(no), turn);
}

Task<Result<void>> LookingInventory::set_terms(const SaleTerms& terms) {
    auto turn = [this, &terms]() -> Result<void> {
        Entry* entry = slot_of(terms.no).entry.get();
        if (entry == nullptr) return fail(Errc::not_found, "sale " + terms.id + " is cold");
        entry->buyers.apply(without_end(terms));
        return {};
    };
    auto taken = co_await call_on(owner(terms.no), turn);
    if (!taken) co_return taken;
    // The change gave the row another version: a sale that is looked at elsewhere would stand
    // still.
    co_return co_await preheat(terms.no);
}

Task<Step<LogPosition>> LookingInventory::withdraw(const Withdrawal&, OrderLog&) {
    Error error{
        make_error_code(Errc::wrong_state),
        "This purchase.strategy only looks at the stock: no unit can be held, so none can be "
        "taken out of it. Close the sale, or sell with strategy reserve."};
    co_return tl::make_unexpected(Stop(std::move(error)));
}

Task<Result<void>> LookingInventory::release(const SaleTerms& terms, Epoch epoch,
                                             std::span<const OrderId> orders) {
    auto turn = [this, &terms, epoch, orders]() -> Result<void> {
        Entry* entry = find(terms.no);
        if (entry == nullptr || entry->epoch != epoch) {
            return fail(Errc::fenced, "sale " + terms.id + " is being rebuilt");
        }
        entry->buyers.apply(without_end(terms));
        for (const OrderId& order : orders) entry->buyers.release(order);
        return {};
    };
    co_return co_await call_on(owner(terms.no), turn);
}

Task<Result<InventoryCount>> LookingInventory::count(SaleNo, OrderLog&) {
    co_return fail(Errc::not_found, "no unit is held");
}

Task<Result<std::vector<LogRecord>>> LookingInventory::pending(SaleNo, Duration, std::size_t) {
    co_return std::vector<LogRecord>();
}

} // namespace doorbuster
