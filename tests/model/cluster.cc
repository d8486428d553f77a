#include "cluster.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>

#include "nodes.h"

namespace doorbuster::model {
namespace {

using std::chrono::nanoseconds;

const TimePoint kStart(Duration(1'700'000'000'000));
constexpr std::size_t kUsers = 8;
constexpr std::size_t kKeys = 3; // of a user
// A cluster that has not come to rest by then never will: the longest wait of the protocol is that
// of a rebuild for its writer, two minutes.
constexpr nanoseconds kRestMax{400'000'000'000};
constexpr nanoseconds kRestLook{200'000'000};

constexpr nanoseconds ms(std::int64_t count) { return nanoseconds(count * 1'000'000); }

} // namespace

// --- the store's troubles --------------------------------------------------------------------

Result<LogBinding> ModelStore::log_binding() {
    if (trouble() != Trouble::none) return fail(Errc::unavailable, "the store is away");
    return FakeOrderStore::log_binding();
}

Result<std::vector<StoredSale>> ModelStore::list_sales(const std::string& after,
                                                       std::size_t limit) {
    if (trouble() != Trouble::none) return fail(Errc::unavailable, "the store is away");
    return FakeOrderStore::list_sales(after, limit);
}

Result<std::vector<StoredSale>> ModelStore::next_epochs(std::span<const SaleNo> sales) {
    const Trouble met = trouble();
    if (met == Trouble::away) return fail(Errc::unavailable, "the store is away");
    auto opened = FakeOrderStore::next_epochs(sales);
    if (opened) {
        for (const StoredSale& sale : *opened) {
            trace(fmt::format("sale {}: epoch {} is taken{}", sale.terms.no.get(), sale.epoch.get(),
                              met == Trouble::none ? "" : ", answer lost"));
        }
    }
    if (met == Trouble::answer_lost) return fail(Errc::unavailable, "nobody knows");
    return opened;
}

Result<void> ModelStore::read_snapshot(std::span<const SaleNo> sales, TimePoint keys_since,
                                       SaleSnapshotSink& sink) {
    if (trouble() != Trouble::none) return fail(Errc::unavailable, "the store is away");
    return FakeOrderStore::read_snapshot(sales, keys_since, sink);
}

Result<ApplyReport> ModelStore::apply(LogPlace from, LogPosition next,
                                      std::span<const LogRecord> records, StockGuard guard) {
    const Trouble met = trouble();
    if (met == Trouble::away) return fail(Errc::unavailable, "the store is away");
    auto report = FakeOrderStore::apply(from, next, records, guard);
    has_changed = true;
    if (met == Trouble::answer_lost) return fail(Errc::unavailable, "nobody knows");
    return report;
}

Result<ChangeReport> ModelStore::change_orders(std::span<const OrderChange> changes) {
    has_changed = true;
    return FakeOrderStore::change_orders(changes);
}

Result<std::vector<GiveBack>> ModelStore::pending_give_backs(const std::optional<OrderId>& after,
                                                             std::size_t orders_max) {
    if (trouble() != Trouble::none) return fail(Errc::unavailable, "the store is away");
    return FakeOrderStore::pending_give_backs(after, orders_max);
}

Result<void> ModelStore::give_backs_done(std::span<const GiveBack> done) {
    const Trouble met = trouble();
    if (met == Trouble::away) return fail(Errc::unavailable, "the store is away");
    auto ticked_off = FakeOrderStore::give_backs_done(done);
    if (met == Trouble::answer_lost) return fail(Errc::unavailable, "nobody knows");
    return ticked_off;
}

// --- the schedule ----------------------------------------------------------------------------

Cluster::Cluster(LuaScripts& all_scripts, std::uint64_t seed, Sabotage faults)
    : time(kStart), scripts(all_scripts), sabotage(faults), random_(seed), books_(store) {
    traces_ = std::getenv("DOORBUSTER_MODEL_TRACE") != nullptr;
    store.trouble = [this] {
        using Trouble = ModelStore::Trouble;
        if (!store_up_ || trouble(10)) return Trouble::away;
        return trouble(15) ? Trouble::answer_lost : Trouble::none;
    };
    store.trace = [this](const std::string& what) { trace(what); };
    create_sales();
    new_redis({});
    rebalance();
    for (std::size_t i = 0; i < kServing; ++i) start_serving(i);
    for (std::size_t i = 0; i < kWriting; ++i) start_writing(i);
}

Cluster::~Cluster() {
    for (Serving& serving : serving_) serving.node.reset();
    for (auto& writer : writing_) writer.reset();
}

Life::Wait Cluster::between(std::int64_t us_min, std::int64_t us_max) {
    const auto span = static_cast<std::uint64_t>(us_max - us_min + 1);
    return nanoseconds((us_min + static_cast<std::int64_t>(below(span))) * 1'000);
}

Life::Wait Cluster::delay() {
    if (is_slow_) return between(1'000, 400'000);
    return trouble(20) ? between(5'000, 300'000) : between(50, 3'000);
}

void Cluster::trace(const std::string& what) const {
    if (!traces_) return;
    const auto since = time.since_1970() - nanoseconds(kStart.time_since_epoch());
    std::fprintf(stderr, "%10.3f ms  %s\n", static_cast<double>(since.count()) / 1e6, what.c_str());
}

void Cluster::create_sales() {
    for (std::uint32_t i = 0; i < 2; ++i) {
        SaleTerms terms;
        terms.id = fmt::format("sale-{}", i + 1);
        terms.title = terms.id;
        terms.stock = static_cast<Units>(3 + below(10));
        terms.per_user_limit = static_cast<Units>(1 + below(3));
        terms.starts_at = kStart;
        terms.payment_timeout = std::chrono::hours(1); // so that orders can be cancelled
        terms.partition = LogPartition(chance(500) ? 0 : i);
        sales.push_back(store.create_sale(terms, terms.id, "operator")->first);
    }
    books_.check_store();
}

void Cluster::start_serving(std::size_t index) {
    serving_[index].node = std::make_unique<ServingNode>(*this, ++lives_);
    serving_[index].redis = servers_.size() - 1;
    if (chance(300)) serving_[index].node->transport().set_room(1 + below(3));
    serving_[index].node->transport().set_up(log_up_);
    serving_[index].node->start();
}

void Cluster::start_writing(std::size_t index) {
    writing_[index] = std::make_unique<WritingNode>(*this, index);
}

bool Cluster::step() {
    if (!time.step()) return false;
    ++steps_;
    for (Serving& serving : serving_) {
        if (serving.node) pump(*serving.node);
    }
    if (store.has_changed) {
        store.has_changed = false;
        books_.check_store();
    }
    return !books_.first_violation();
}

std::optional<std::string> Cluster::run() {
    if (chance(800)) static_cast<void>(comes_to_rest()); // else the start is part of the storm
    is_calm_ = false;
    storm(between(2'000'000, 6'000'000));
    calm_down();
    if (comes_to_rest()) books_.check_at_rest();
    return books_.first_violation();
}

void Cluster::storm(Life::Wait length) {
    is_storming_ = true;
    time.in(length, [this] { is_storming_ = false; });
    time.in(between(1'000, 200'000), [this] { buy(); });
    time.in(between(100'000, 900'000), [this] { operate(); });
    time.in(between(50'000, 600'000), [this] { fault(); });
    while (is_storming_ && step()) {
    }
}

// --- the log ---------------------------------------------------------------------------------

// What a process has produced is under way from here on, whatever becomes of the process.
void Cluster::pump(ServingNode& node) {
    for (std::uint32_t i = 0; i < kPartitions; ++i) {
        const LogPartition partition(i);
        while (auto flight = node.transport().take(partition)) {
            auto& last = last_arrival_[{&node.life(), partition}];
            last = std::max(last, time.since_1970() + delay());
            ++in_the_air_;
            time.in(last - time.since_1970(),
                    [this, life = std::weak_ptr<Life>(node.shared_life()), at = &node, partition,
                     flight = std::move(*flight)] { arrive(life, at, partition, flight); });
        }
    }
}

void Cluster::arrive(std::weak_ptr<Life> life, ServingNode* node, LogPartition partition,
                     fixture::FakeLogTransport::Flight flight) {
    const auto tell = [this, &life, node, tag = flight.tag](bool is_delivered) {
        const auto alive = life.lock();
        if (!alive || alive->is_over()) return;
        alive->in(delay(), [node, tag, is_delivered] {
            if (is_delivered) node->delivered(tag);
            else node->failed(tag);
        });
    };
    if (!log_up_ && chance(500)) { // its producer goes on trying
        time.in(between(50'000, 500'000),
                [this, life, node, partition, flight] { arrive(life, node, partition, flight); });
        return;
    }
    --in_the_air_;
    const bool is_lost = !log_up_ || trouble(25);
    if (!is_lost) append(partition, flight.bytes);
    const bool is_failed = is_lost || trouble(20);
    tell(!is_failed);
    const bool comes_late = is_lost ? trouble(400) : trouble(20); // or a second time
    if (!comes_late) return;
    ++in_the_air_;
    time.in(between(1'000, 6'000'000), [this, partition, bytes = std::move(flight.bytes)] {
        --in_the_air_;
        append(partition, bytes);
    });
}

void Cluster::append(LogPartition partition, const std::string& bytes) {
    auto record = parse_records(bytes, 1);
    std::string kept = bytes;
    const bool is_fenced = record && record->front().kind != LogRecordKind::barrier &&
                           record->front().epoch != books_.open(record->front().sale);
    if (is_fenced && sabotage.drops_barriers) { // as if nobody looked at the epoch
        LogRecord& as = record->front();
        as.epoch = books_.open(as.sale);
        kept.clear();
        append_record(
            kept, {as.kind, as.sale, as.epoch, as.order, as.quantity, as.user, as.key, partition});
    }
    log.append(partition, kept);
    if (record) books_.appended(record->front());
    if (traces_ && record) {
        const LogRecord& read = record->front();
        trace(fmt::format("log {}: {} sale {} epoch {}{} {}", partition.get(),
                          read.kind == LogRecordKind::barrier ? "barrier" : "order",
                          read.sale.get(), read.epoch.get(), is_fenced ? " (void)" : "",
                          read.user));
    }
    for (Serving& serving : serving_) {
        if (!serving.node) continue;
        ServingNode* node = serving.node.get();
        node->life().in(delay(), [node, partition] { node->transport().hand_on(partition); });
    }
}

// --- Redis -----------------------------------------------------------------------------------

void Cluster::send(ServingNode& from, RedisCall call, RedisReply reply) {
    const auto life = from.shared_life();
    const auto once = std::make_shared<RedisReply>(std::move(reply));
    life->keep(once);
    if (life->is_over()) return; // nobody answers the dead
    const std::weak_ptr<RedisReply> waiting = once;
    const auto answer = [life, waiting](nanoseconds wait, const Result<redis::Reply>& with) {
        if (life->is_over()) return;
        life->in(wait, [at = life.get(), waiting, with] {
            const auto first = waiting.lock();
            if (!first) return; // it had its answer
            at->forget(first);
            (*first)(with);
        });
    };
    std::size_t index = 0;
    while (serving_[index].node && serving_[index].node.get() != &from) ++index;
    RedisServer* server = servers_[serving_[index].redis].get();
    const nanoseconds wait_max(call.wait_max);
    const Result<redis::Reply> refused = fail(Errc::unavailable, "Redis is away");
    const Result<redis::Reply> unknown = fail(Errc::timeout, "no answer from Redis");
    if (!server->is_up || trouble(15)) return answer(delay(), refused);
    answer(wait_max, unknown);
    if (trouble(10)) return;             // the request is lost
    const bool comes_late = trouble(10); // when its caller has given up already, perhaps
    const bool is_answered = !trouble(25);
    const nanoseconds until =
        comes_late ? wait_max * static_cast<std::int64_t>(1 + below(40)) / 10 : delay();
    time.in(until, [this, server, call = std::move(call), answer, is_answered, unknown] {
        if (!server->is_up) return answer(delay(), unknown); // the connection breaks
        auto result = scripts.run(*server, call.script, call.keys, call.arguments);
        if (traces_ && result.is(redis::Reply::Kind::array) && call.arguments.size() > 2 &&
            call.arguments[2].size() < 4) { // begin, install, stage
            trace(fmt::format("Redis {}: script {} sale {} epoch {}: {}", server->number,
                              call.script, call.arguments[1], call.arguments[2],
                              result.items.empty() ? "" : result.items[0].text));
        }
        if (result.is_error()) books_.violation("a script fails: " + result.text);
        if (is_answered) answer(delay(), std::move(result));
    });
}

void Cluster::new_redis(RedisServer::Data data) {
    const std::size_t number = servers_.size();
    const auto now_us = [this] { return time.since_1970().count() / 1'000; };
    const auto publish = [this, number](const std::string& message) {
        for (Serving& serving : serving_) {
            if (!serving.node || serving.redis != number || chance(150)) continue; // lost
            ServingNode* node = serving.node.get();
            node->life().in(delay(), [node, message] { node->inventory().hear(message); });
        }
    };
    servers_.push_back(std::make_unique<RedisServer>(random_(), std::move(data), now_us, publish));
    servers_.back()->number = number;
}

void Cluster::redis_fault() {
    RedisServer& now = *servers_.back();
    switch (below(6)) {
    case 0:
        trace("Redis: restarts empty");
        new_redis({});
        break;
    case 1:
        trace("Redis: restarts with what it had on disk");
        new_redis(replica_);
        break;
    case 2: scripts.flush(); return;
    case 3: return away(now.is_up, between(50'000, 2'500'000), "Redis");
    default: {
        trace("Redis: a replica takes over");
        new_redis(replica_);
        for (Serving& serving : serving_) { // who holds on to the old one sees it for a while
            const bool holds_on = chance(500);
            const std::size_t to = servers_.size() - 1;
            const auto wait = holds_on ? between(1'000, 1'500'000) : nanoseconds(0);
            time.in(wait, [&serving, to] { serving.redis = std::max(serving.redis, to); });
        }
        RedisServer* old = &now;
        time.in(ms(1'500), [old] { old->is_up = false; });
        return;
    }
    }
    now.is_up = false;
    for (Serving& serving : serving_) serving.redis = servers_.size() - 1;
}

// --- what happens ----------------------------------------------------------------------------

void Cluster::buy() {
    if (!is_storming_) return;
    time.in(trouble(100) ? nanoseconds(0) : between(1'000, 120'000), [this] { buy(); });
    Purchase purchase;
    purchase.sale = sales[below(sales.size())].terms.no;
    purchase.user = fmt::format("user-{}", below(kUsers));
    purchase.quantity = static_cast<Units>(1 + below(2));
    if (chance(750)) purchase.key = fmt::format("key-{}-{}", below(kKeys), purchase.quantity);
    Serving& serving = serving_[below(kServing)];
    if (!serving.node) return;
    const auto told = [this, purchase](const Step<Reservation>& answer) {
        if (!answer) return;
        trace(fmt::format("yes: {} {} sale {} {}", purchase.user, purchase.key, purchase.sale.get(),
                          answer->order.text()));
        books_.told_yes(answer->order, {purchase.sale, purchase.user, purchase.key},
                        answer->quantity);
    };
    serving.node->buy(purchase, told);
}

// Operators and buyers who change their minds.
void Cluster::operate() {
    if (!is_storming_) return;
    time.in(between(50'000, 700'000), [this] { operate(); });
    const StoredSale& sale = sales[below(sales.size())];
    const auto orders = store.orders();
    Serving& serving = serving_[below(kServing)];
    if (!orders.empty() && chance(700)) {
        OrderChange cancel;
        cancel.order = orders[below(orders.size())].id;
        cancel.action = OrderAction::cancel;
        static_cast<void>(store.change_orders(std::span(&cancel, 1)));
    } else if (chance(500)) {
        const auto add = static_cast<Units>(1 + below(3));
        const auto raise = [add](StoredSale& changed) -> Result<void> {
            changed.terms.stock += add;
            return {};
        };
        static_cast<void>(
            store.change_sale(sale.terms.id, raise, std::nullopt, {"operator", "restocked"}));
        store.has_changed = true;
    } else if (serving.node) {
        serving.node->withdraw(sale.terms.no, static_cast<Units>(1 + below(2)));
    }
}

void Cluster::fault() {
    if (!is_storming_) return;
    time.in(between(20'000, 700'000), [this] { fault(); });
    if (chance(400)) replica_ = servers_.back()->data; // it has caught up
    switch (below(10)) {
    case 0:
    case 1: pause_one(); break;
    case 2:
    case 3: crash_one(); break;
    case 4:
    case 5: redis_fault(); break;
    case 6: rebalance(); break;
    case 7: away(log_up_, between(50'000, 6'000'000), "Kafka"); break;
    case 8: away(store_up_, between(50'000, 2'000'000), "the store"); break;
    default:
        is_slow_ = true;
        time.in(between(100'000, 1'500'000), [this] { is_slow_ = false; });
        break;
    }
    for (Serving& serving : serving_) {
        if (serving.node) serving.node->transport().set_up(log_up_);
    }
}

void Cluster::away(bool& is_up, Life::Wait length, const char* what) {
    trace(std::string(what) + " is away");
    is_up = false;
    time.in(length, [this, &is_up, what] {
        trace(std::string(what) + " is back");
        is_up = true;
        for (Serving& serving : serving_) {
            if (serving.node) serving.node->transport().set_up(log_up_);
        }
    });
}

// SIGSTOP, and SIGCONT later.
void Cluster::pause_one() {
    const std::size_t which = below(kServing + kWriting);
    Life* life = nullptr;
    if (which >= kServing) {
        if (writing_[which - kServing]) life = &writing_[which - kServing]->life();
    } else if (serving_[which].node) {
        life = &serving_[which].node->life();
    }
    if (life == nullptr || life->is_paused()) return;
    trace(fmt::format("process {} is stopped", which));
    life->pause();
    time.in(between(10'000, 8'000'000), [this, which, kept = life->weak_from_this()] {
        if (const auto still = kept.lock(); still && !still->is_over()) {
            trace(fmt::format("process {} goes on", which));
            still->go_on();
        }
    });
}

void Cluster::crash_one() {
    const std::size_t which = below(kServing + kWriting);
    trace(fmt::format("process {} dies", which));
    const auto wait = between(10'000, 1'500'000);
    if (which >= kServing) {
        const std::size_t index = which - kServing;
        writing_[index].reset();
        time.in(wait, [this, index] {
            if (!writing_[index]) start_writing(index);
        });
        return;
    }
    serving_[which].node.reset();
    time.in(wait, [this, which] {
        if (!serving_[which].node) start_serving(which);
    });
}

void Cluster::rebalance() {
    for (auto& partitions : assigned) partitions.clear();
    for (std::uint32_t i = 0; i < kPartitions; ++i) {
        assigned[below(kWriting)].emplace_back(i);
    }
}

// --- coming to rest --------------------------------------------------------------------------

void Cluster::calm_down() {
    trace("calm");
    is_calm_ = true;
    is_slow_ = false;
    log_up_ = store_up_ = servers_.back()->is_up = true;
    for (std::size_t i = 0; i < kServing; ++i) {
        if (!serving_[i].node) start_serving(i);
        serving_[i].redis = servers_.size() - 1;
        serving_[i].node->transport().set_up(true);
        serving_[i].node->life().go_on();
    }
    for (std::size_t i = 0; i < kWriting; ++i) {
        if (!writing_[i]) start_writing(i);
        writing_[i]->life().go_on();
    }
}

bool Cluster::comes_to_rest() {
    const auto until = time.since_1970() + kRestMax;
    int rests = 0; // twice in a row: what is shown follows what is
    while (rests < 2) {
        bool is_due = false;
        time.in(kRestLook, [&is_due] { is_due = true; });
        while (!is_due) {
            if (!step()) return false;
        }
        const std::string why = unrest();
        rests = why.empty() ? rests + 1 : 0;
        if (time.since_1970() < until) continue;
        books_.violation("I5: it does not come to rest: " + why);
        return false;
    }
    return true;
}

// What is not as it must be once nothing moves; empty: all is well.
std::string Cluster::unrest() {
    if (in_the_air_ > 0) return "records are under way";
    const auto books = store.books(std::nullopt);
    for (std::uint32_t i = 0; i < kPartitions; ++i) {
        if (books->next.at(LogPartition(i)) < log.end(LogPartition(i))) return "a writer is behind";
    }
    for (std::size_t i = 0; i < kServing; ++i) {
        const std::string state = serving_[i].node->state();
        if (state != "up") return fmt::format("process {} is {}", i, state);
    }
    for (const SaleBooks& sale : books->sales) {
        const SaleNo no = sale.sale.terms.no;
        if (sale.give_backs > 0) {
            return fmt::format("units of sale {} are not given back under epoch {}", no.get(),
                               sale.sale.epoch.get());
        }
        for (Serving& serving : serving_) {
            std::optional<Result<InventoryCount>> count;
            const auto told = [&count](const Result<InventoryCount>& told) { count = told; };
            serving.node->count(no, told);
            for (int i = 0; i < 100'000 && !count; ++i) {
                if (!step()) return "violated";
            }
            if (!count || !*count) return fmt::format("sale {} is cold", no.get());
            const Units left = sale.sale.terms.stock - sale.sale.sold;
            if ((*count)->pending > 0)
                return fmt::format("{} holds are pending", (*count)->pending);
            if ((*count)->remaining != left || (*count)->withdrawing != 0) {
                return fmt::format(
                    "{} units of sale {} remain in Redis ({} being withdrawn), {} in the store",
                    (*count)->remaining, no.get(), (*count)->withdrawing, left);
            }
            const SaleView* view = serving.node->view(no);
            if (view == nullptr) return "a process does not show a sale";
            if (view->remaining() != left) return "a process shows other units than remain";
        }
    }
    return "";
}

} // namespace doorbuster::model
