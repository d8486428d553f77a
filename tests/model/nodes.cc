#include "nodes.h"

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <utility>

namespace doorbuster::model {
namespace {

constexpr Life::Wait kTick{20'000'000};
constexpr Life::Wait kLookAtStore{20'000'000};
constexpr Life::Wait kGiveBackEvery{200'000'000};
constexpr Duration kAnswerMax{5'000};
constexpr std::size_t kInFlightMax = 1'000;
constexpr std::size_t kAtOnce = 100;

void rethrow(std::exception_ptr exception) {
    if (exception) std::rethrow_exception(exception);
}

} // namespace

// What a Client would do: the simulation has the network.
class ServingNode::Commands final : public redis::Commands {
public:
    explicit Commands(ServingNode& node) : node_(node) {}

    Task<Result<redis::Reply>> run(const redis::Script& script, Arguments keys, Arguments arguments,
                                   std::string_view, Duration wait_max) override {
        Cluster::RedisCall call;
        call.script = node_.cluster_.scripts.load(script);
        call.keys.assign(keys.begin(), keys.end());
        call.arguments.assign(arguments.begin(), arguments.end());
        call.wait_max = wait_max;
        auto keep = [this, &call](Cluster::RedisReply reply) {
            node_.cluster_.send(node_, std::move(call), std::move(reply));
        };
        co_return co_await suspend<Result<redis::Reply>>(std::move(keep));
    }
    Task<void> pause(Duration duration) override {
        co_await sleep_for(*node_.life_, duration); // poll: the scheduler makes up this time
    }

private:
    ServingNode& node_;
};

// The log as a purchase sees it in a sabotaged cluster.
class ServingNode::DeliveryLog final : public OrderLog {
public:
    struct Hold {
        SaleNo sale;
        Epoch epoch;
        OrderId order;
    };

    explicit DeliveryLog(ServingNode& node) : node_(node), log_(*node.log_) {}

    void delivered(std::uint64_t tag) { delivered_.insert(LogPosition(tag)); }
    [[nodiscard]] const Hold* hold_at(std::uint64_t tag) const {
        const auto at = holds_.find(LogPosition(tag));
        return at == holds_.end() ? nullptr : &at->second;
    }

    bool take_room(LogPartition partition) override { return log_.take_room(partition); }
    void return_room(LogPartition partition) override { log_.return_room(partition); }
    LogPosition append(const LogRecordView& record) override {
        const LogPosition position = log_.append(record);
        holds_[position] = {record.sale, record.epoch, record.order};
        return position;
    }
    std::optional<LogPosition> enqueue(const LogRecordView& record) override {
        return log_.enqueue(record);
    }
    Task<Step<void>> durable(LogPosition position) override {
        if (!node_.cluster_.sabotage.answers_on_delivery) co_return co_await log_.durable(position);
        const std::int64_t until =
            node_.life_->steady_ns() + std::chrono::nanoseconds(kAnswerMax).count();
        while (!delivered_.contains(position) && !log_.is_durable(position)) {
            if (node_.life_->steady_ns() >= until) co_return co_await log_.durable(position);
            co_await sleep_for(*node_.life_, Duration(1)); // poll: made-up time
        }
        co_return Step<void>();
    }
    [[nodiscard]] bool is_durable(LogPosition position) const override {
        return log_.is_durable(position);
    }
    [[nodiscard]] LogPosition last_enqueued(LogPartition partition) const override {
        return log_.last_enqueued(partition);
    }
    [[nodiscard]] std::uint64_t lag_records() const override { return log_.lag_records(); }
    [[nodiscard]] Result<std::optional<LogRecord>> find(const OrderId& order) override {
        return log_.find(order);
    }

private:
    ServingNode& node_;
    ReadBackLog& log_;
    std::set<LogPosition> delivered_;
    std::map<LogPosition, Hold> holds_;
};

ServingNode::ServingNode(Cluster& cluster, std::uint64_t number)
    : cluster_(cluster),
      life_(std::make_shared<Life>(cluster.time)),
      transport_(cluster.log),
      blocking_(*life_, kAtOnce),
      withdrawals_(0xffff, number << 32U) {
    ReadBackLog::Options logged;
    logged.window_max = 64;
    logged.lag_max = 1'000;
    logged.ticks = ReadBackLog::Ticks::when_told;
    logged.on_barrier = [this](SaleNo, Epoch) { keeper_->look_soon(); };
    log_ = std::make_unique<ReadBackLog>(transport_, life_->cores(), *life_, std::move(logged));
    delivery_log_ = std::make_unique<DeliveryLog>(*this);
    directories_.push_back(std::make_unique<SaleDirectory>());
    commands_ = std::make_unique<Commands>(*this);
    redis::InventoryOptions stocked;
    stocked.process = static_cast<std::uint32_t>(number);
    stocked.pending_max = 40;
    stocked.callbacks.on_terms = [this](SaleNo, std::int64_t) { keeper_->look_soon(); };
    stocked.callbacks.on_cold = [this](SaleNo) { keeper_->look_soon(); };
    stocked.callbacks.on_installed = [this](SaleNo, Epoch) { keeper_->look_soon(); };
    stocked.tell = [this](const std::string& text) { cluster_.trace("tells: " + text); };
    inventory_ = std::make_unique<redis::RedisInventory>(
        life_->cores(), std::vector<redis::Commands*>{commands_.get()}, *life_, std::move(stocked));
    const bool is_sabotaged =
        cluster.sabotage.answers_on_delivery || cluster.sabotage.releases_on_failure;
    OrderLog& log = is_sabotaged ? static_cast<OrderLog&>(*delivery_log_) : *log_;
    purchases_ = std::make_unique<PurchaseService>(
        PurchaseService::Parts{*life_, *inventory_, log, limiter_},
        OrderIdSource(static_cast<std::uint16_t>(number), number << 32U), kInFlightMax);
    rebuild_ = std::make_unique<Rebuild>(Rebuild::Parts{life_->cores(), *life_, blocking_,
                                                        cluster.store, *log_, *log_, *inventory_,
                                                        tally_, prints_, directories_});
    const auto draw = [this](std::uint64_t bound) { return cluster_.below(bound); };
    keeper_ = std::make_unique<SaleKeeper>(
        SaleKeeper::Parts{life_->cores(), *life_, blocking_, cluster.store, *log_, *inventory_,
                          *rebuild_, tally_, directories_, draw, [](std::size_t) {}});
}

// It dies where it stands. What waits for something that will not come any more is told that its
// deadline is over, so that nothing of it is left when its objects go; nobody hears of it.
ServingNode::~ServingNode() {
    life_->go_on();
    life_->end();
    transport_.stop(Duration(0));
    bool is_moving = true;
    while (is_moving) {
        is_moving = life_->drop();
        log_->tick();
        is_moving = life_->core().context().poll() > 0 || is_moving;
    }
    inventory_.reset(); // with the attempts that wait in it
    while (life_->drop() || life_->core().context().poll() > 0) {
    }
}

void ServingNode::start() {
    const auto books = cluster_.store.books(std::nullopt);
    if (!books) return;
    std::map<SaleNo, Epoch> open;
    for (const SaleBooks& sale : books->sales) open[sale.sale.terms.no] = sale.barrier;
    if (!log_->start(books->next, std::move(open))) {
        cluster_.checks().violation("a process does not find its place in the log");
        return;
    }
    for (std::uint32_t i = 0; i < Cluster::kPartitions; ++i) transport_.hand_on(LogPartition(i));
    inventory_->start();
    spawn(keeper_->run());
    life_->every(kTick, [this] { log_->tick(); });
    watch_store();
    life_->every(kGiveBackEvery, [this] {
        if (!std::exchange(is_giving_back_, true)) spawn(give_back());
    });
    life_->turn();
}

void ServingNode::spawn(Task<void> task) {
    boost::asio::co_spawn(life_->core().executor(), std::move(task), rethrow);
}

// As engine/store_watch does, whose thread is not part of the simulation.
void ServingNode::watch_store() {
    life_->every(kLookAtStore, [this] {
        const auto binding = cluster_.store.log_binding();
        log_->set_store_up(binding.has_value());
        if (binding) log_->stored(binding->next);
    });
}

void ServingNode::buy(Purchase asked, Answered told) {
    life_->in(Life::Wait(0), [this, asked = std::move(asked), told = std::move(told)] {
        spawn(purchase(asked, told));
    });
}

Task<void> ServingNode::purchase(Purchase purchase, Answered told) {
    SaleView* view = directories_[0]->find(purchase.sale);
    if (view == nullptr) co_return;
    PurchaseRequest request;
    request.sale = purchase.sale;
    request.partition = view->terms->partition;
    request.user = purchase.user;
    request.user_print = prints_.of(purchase.user);
    request.key = purchase.key;
    if (request.has_key()) request.key_print = prints_.of(request.user_print, purchase.key);
    request.quantity = purchase.quantity;
    const RateSubject nobody;
    const auto answer = co_await purchases_->purchase(*view, request, nobody);
    if (!life_->is_over()) told(answer);
}

// As engine/lifecycle sweeps, whose thread is not part of the simulation.
Task<void> ServingNode::give_back() {
    auto read = [this] { return cluster_.store.pending_give_backs(std::nullopt, kAtOnce); };
    const auto pending = co_await blocking_.run(read);
    if (pending) {
        for (const GiveBack& of_sale : *pending) {
            const auto released = co_await inventory_->release(of_sale.sale.terms,
                                                               of_sale.sale.epoch, of_sale.orders);
            if (!released) continue;
            auto tick_off = [this, &of_sale] {
                return cluster_.store.give_backs_done(std::span(&of_sale, 1));
            };
            static_cast<void>(co_await blocking_.run(tick_off));
        }
    }
    is_giving_back_ = false;
}

void ServingNode::withdraw(SaleNo sale, Units units) {
    life_->in(Life::Wait(0), [this, sale, units] { spawn(take_out(sale, units)); });
}

Task<void> ServingNode::take_out(SaleNo sale, Units units) {
    const SaleView* view = directories_[0]->find(sale);
    if (view == nullptr) co_return;
    Withdrawal withdrawal;
    withdrawal.sale = sale;
    withdrawal.partition = view->terms->partition;
    withdrawal.id = withdrawals_.make(sale, life_->now());
    withdrawal.units = units;
    withdrawal.who = "operator";
    const auto position = co_await inventory_->withdraw(withdrawal, *log_);
    if (!position) co_return;
    const auto durable = co_await log_->durable(*position);
    if (durable) inventory_->settled(sale, withdrawal.id);
}

void ServingNode::count(SaleNo sale, Counted told) {
    life_->in(Life::Wait(0), [this, sale, told = std::move(told)] { spawn(look(sale, told)); });
}

Task<void> ServingNode::look(SaleNo sale, Counted told) {
    const auto counted = co_await inventory_->count(sale, *log_);
    if (!life_->is_over()) told(counted);
}

void ServingNode::delivered(std::uint64_t tag) { delivery_log_->delivered(tag); }

void ServingNode::failed(std::uint64_t tag) {
    transport_.give_up(tag);
    if (!cluster_.sabotage.releases_on_failure) return;
    const DeliveryLog::Hold* hold = delivery_log_->hold_at(tag);
    if (hold == nullptr) return;
    StoredSale sale;
    sale.terms = *directories_[0]->find(hold->sale)->terms;
    sale.epoch = hold->epoch;
    spawn(release(std::move(sale), hold->order));
}

Task<void> ServingNode::release(StoredSale sale, OrderId order) {
    static_cast<void>(co_await inventory_->release(sale.terms, sale.epoch, std::span(&order, 1)));
}

// --- writing ---------------------------------------------------------------------------------

// A member of the consumer group. It believes to have what it was last told.
class WritingNode::Feed final : public LogFeed {
public:
    explicit Feed(Cluster& cluster) : cluster_(cluster) {}

    void assign(std::vector<LogPartition> partitions) {
        std::erase_if(next_, [&partitions](const auto& entry) {
            return std::ranges::find(partitions, entry.first) == partitions.end();
        });
        mine_ = std::move(partitions);
    }

    [[nodiscard]] const std::string& id() const override { return cluster_.log.id(); }
    [[nodiscard]] Result<LogBatch> next(std::size_t records_max, Duration) override {
        LogBatch batch;
        for (std::size_t i = 0; i < mine_.size() && batch.records.empty(); ++i) {
            const LogPartition partition = mine_[(turn_ + i) % mine_.size()];
            if (!next_.contains(partition)) {
                if (auto placed = rewind(partition); !placed) {
                    return tl::make_unexpected(placed.error());
                }
            }
            read(batch, partition, std::min<std::size_t>(records_max, 1 + cluster_.below(8)));
        }
        ++turn_;
        return batch;
    }
    void stored(LogPlace) override {}
    [[nodiscard]] Result<void> rewind(LogPartition partition) override {
        const auto binding = cluster_.store.log_binding();
        if (!binding) return tl::make_unexpected(binding.error());
        next_[partition] = binding->next.at(partition);
        return {};
    }
    void wake() override {}

private:
    void read(LogBatch& batch, LogPartition partition, std::size_t records_max) {
        LogPosition& next = next_.at(partition);
        const auto records =
            cluster_.log.read({partition, next}, cluster_.log.end(partition), records_max);
        batch.partition = partition;
        batch.first = batch.next = next;
        for (const RawRecord& raw : records) {
            auto parsed = parse_records(raw.bytes, 1);
            if (parsed) {
                batch.records.push_back(std::move(parsed->front()));
            } else {
                batch.records.emplace_back().kind = LogRecordKind::unreadable;
            }
            batch.next = raw.position.next();
        }
        next = batch.next;
    }

    Cluster& cluster_;
    std::vector<LogPartition> mine_;
    std::map<LogPartition, LogPosition> next_;
    std::size_t turn_ = 0;
};

WritingNode::WritingNode(Cluster& cluster, std::size_t index)
    : cluster_(cluster),
      life_(std::make_shared<Life>(cluster.time)),
      feed_(std::make_unique<Feed>(cluster)) {
    OrderWriter::Options options;
    options.on_fatal = [this](const Error& error) {
        cluster_.checks().violation("an order writer ends: " + error.message());
    };
    writer_ = std::make_unique<OrderWriter>(*feed_, cluster.store, *life_, std::move(options));
    // It hears late which partitions are its own.
    life_->every(Life::Wait(100'000'000),
                 [this, index] { feed_->assign(cluster_.assigned[index]); });
    life_->in(cluster.delay(), [this] { read(); });
}

WritingNode::~WritingNode() {
    life_->end();
    life_->drop();
}

void WritingNode::read() {
    constexpr std::size_t kBatchMax = 100;
    auto batch = feed_->next(kBatchMax, Duration(0));
    if (!batch || batch->records.empty()) {
        life_->in(cluster_.between(2'000, 30'000), [this] { read(); });
        return;
    }
    const bool sleeps = cluster_.trouble(30);
    const auto wait = sleeps ? cluster_.between(100'000, 3'000'000) : cluster_.delay();
    const auto kept = std::make_shared<LogBatch>(std::move(*batch));
    life_->in(wait, [this, kept] { write(kept); });
}

void WritingNode::write(const std::shared_ptr<LogBatch>& batch) {
    switch (writer_->try_write(*batch)) {
    case OrderWriter::Written::yes:
    case OrderWriter::Written::elsewhere: life_->in(cluster_.delay(), [this] { read(); }); break;
    case OrderWriter::Written::not_now:
        life_->in(cluster_.between(50'000, 500'000), [this, batch] { write(batch); });
        break;
    case OrderWriter::Written::ended: break;
    }
}

} // namespace doorbuster::model
