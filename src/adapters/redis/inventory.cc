#include "adapters/redis/inventory.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <exception>

#include "adapters/redis/attempt_outcome.h"
#include "adapters/redis/image_install.h"
#include "adapters/redis/sale_keys.h"
#include "base/assert.h"

namespace doorbuster::redis {
namespace {

// How soon a sale that came back is for sale again where the message was lost, and how old what is
// shown of the others may be (design.md section 4, rule 10 needs only that it ends).
constexpr Duration kLookSoldOut{100};
constexpr int kLookAllEvery = 10; // of these
// A round looks at so many sales at most, one after the other; the others have their turn next.
constexpr std::size_t kLookMax = 256;
// Given back in one script call: 2 ms of Redis.
constexpr std::size_t kReleaseAtOnce = 500;
// Of one pending() call.
constexpr std::size_t kPendingAtOnce = 1'000;

Error cold(SaleNo sale) {
    return {make_error_code(Errc::not_found),
            "sale " + std::to_string(sale.get()) + " is cold in Redis"};
}

} // namespace

RedisInventory::RedisInventory(Cores& cores, std::vector<Commands*> commands, const Clock& clock,
                               InventoryOptions options)
    : cores_(cores),
      clock_(clock),
      options_(std::move(options)),
      channel_(channel_of(options_.prefix)),
      board_(options_.callbacks) {
    DB_ASSERT(commands.size() == cores.size());
    for (std::size_t i = 0; i < commands.size(); ++i) {
        AttemptQueue::Parts parts{cores.at(i).executor(), *commands[i], clock_, scripts_, board_,
                                  options_.tell};
        AttemptQueue::Limits limits{options_.prefix, options_.waiting_max, options_.batch_max,
                                    options_.calls_max, options_.pending_max};
        places_.push_back(std::make_unique<Place>(*commands[i], clock_, options_.prefix,
                                                  std::move(parts), std::move(limits)));
    }
}

RedisInventory::~RedisInventory() = default;

std::size_t RedisInventory::index_here() const {
    std::size_t i = 0;
    while (i < cores_.size() && !cores_.at(i).is_here()) ++i;
    return i;
}

RedisInventory::Place& RedisInventory::here() const {
    const std::size_t i = index_here();
    DB_ASSERT(i < places_.size());
    return *places_[i];
}

const AttemptCounts& RedisInventory::counts_here() const { return here().attempts.counts(); }

Task<Step<Reservation>> RedisInventory::reserve(const PurchaseRequest& request, OrderLog& log) {
    if (!log.take_room(request.partition)) {
        co_return tl::make_unexpected(log_refuses(log, request.partition));
    }
    auto answer = co_await here().attempts.ask(request.sale, purchase_attempt(request));
    AttemptOutcome outcome({log, appends_, clock_}, std::move(answer));
    co_return outcome.of_purchase(request);
}

Task<Step<std::optional<Reservation>>> RedisInventory::find_key(const PurchaseRequest& request,
                                                                OrderLog& log) {
    auto answer = co_await here().attempts.ask(request.sale, key_attempt(request));
    AttemptOutcome outcome({log, appends_, clock_}, std::move(answer));
    co_return outcome.of_key(request);
}

Task<Step<LogPosition>> RedisInventory::withdraw(const Withdrawal& withdrawal, OrderLog& log) {
    if (!log.take_room(withdrawal.partition)) {
        co_return tl::make_unexpected(log_refuses(log, withdrawal.partition));
    }
    auto answer = co_await here().attempts.ask(withdrawal.sale, withdrawal_attempt(withdrawal));
    AttemptOutcome outcome({log, appends_, clock_}, std::move(answer));
    co_return outcome.of_withdrawal(withdrawal);
}

void RedisInventory::settled(SaleNo sale, const OrderId& order) {
    appends_.forget(order);
    const std::size_t i = index_here();
    if (i < places_.size()) return places_[i]->attempts.settle(sale, order);
    boost::asio::post(cores_.at(0).executor(),
                      [this, sale, order] { places_[0]->attempts.settle(sale, order); });
}

Task<Result<SaleCalls::Answer>> RedisInventory::run(const Script& script, SaleNo sale,
                                                    std::span<const std::string> arguments) {
    const std::span<const std::string> no_keys;
    const auto asked = board_.shows(sale);
    auto answer = co_await here().calls.run(script, sale, arguments, no_keys);
    if (answer && answer->status) board_.observe(sale, *answer->status, asked);
    co_return answer;
}

Task<Result<std::shared_ptr<const StockSignals>>> RedisInventory::attach(const SaleTerms& terms,
                                                                         Epoch epoch) {
    using Attached = Result<std::shared_ptr<const StockSignals>>;
    const auto arguments = terms_arguments(terms); // the store's may be newer than what is there
    auto answer = co_await run(scripts_.terms, terms.no, arguments);
    if (!answer) co_return tl::make_unexpected(std::move(answer.error()));
    if (!answer->status || !answer->status->is_ok() || answer->status->epoch != epoch) {
        co_return Attached();
    }
    co_return Attached(board_.show(terms.no, *answer->status));
}

Task<Result<void>> RedisInventory::begin_rebuild(SaleNo sale, Epoch epoch) {
    const std::vector<std::string> arguments(1, std::to_string(epoch.get()));
    auto answer = co_await run(scripts_.begin, sale, arguments);
    if (!answer) co_return tl::make_unexpected(std::move(answer.error()));
    if (answer->word != "ok") co_return fail(Errc::fenced, "a later rebuild of the sale has begun");
    SaleStatus building;
    building.health = SaleStatus::Health::building;
    building.epoch = epoch;
    board_.observe(sale, building);
    co_return Result<void>();
}

Task<Result<std::shared_ptr<const StockSignals>>> RedisInventory::install(SaleImage image) {
    using Installed = Result<std::shared_ptr<const StockSignals>>;
    // The process in the upper half: 2^32 installs of one process are more than it lives for.
    const std::uint64_t attempt = std::uint64_t{options_.process} << 32U | installs_.fetch_add(1);
    ImageInstall installing(here().calls, scripts_, options_.prefix, image, attempt);
    auto status = co_await installing.run();
    if (!status) co_return tl::make_unexpected(std::move(status.error()));
    if (!*status) co_return Installed();
    board_.knows_terms(image.terms.no, image.terms.version);
    co_return Installed(board_.show(image.terms.no, **status));
}

Task<Result<void>> RedisInventory::set_terms(const SaleTerms& terms) {
    board_.knows_terms(terms.no, terms.version);
    const auto arguments = terms_arguments(terms);
    auto answer = co_await run(scripts_.terms, terms.no, arguments);
    if (!answer) co_return tl::make_unexpected(std::move(answer.error()));
    using Health = SaleStatus::Health;
    // A rebuild under way keeps them, if they are the newest.
    const bool is_known =
        answer->status && (answer->status->is_ok() || answer->status->health == Health::building);
    if (!is_known) co_return tl::make_unexpected(cold(terms.no));
    co_return Result<void>();
}

Task<Result<void>> RedisInventory::release(const SaleTerms& terms, Epoch epoch,
                                           std::span<const OrderId> orders) {
    board_.knows_terms(terms.no, terms.version);
    std::vector<std::string> arguments{std::to_string(epoch.get()), std::string()};
    for (std::string& term : terms_arguments(terms)) arguments.push_back(std::move(term));
    do {
        const std::size_t count = std::min(orders.size(), kReleaseAtOnce);
        arguments[1].clear();
        for (const OrderId& order : orders.first(count)) append_order(arguments[1], order);
        orders = orders.subspan(count);
        auto answer = co_await run(scripts_.release, terms.no, arguments);
        if (!answer) co_return tl::make_unexpected(std::move(answer.error()));
        const bool is_released = answer->status && answer->status->is_ok() && answer->items.empty();
        if (!is_released) {
            co_return fail(Errc::fenced, "sale " + terms.id + " is being rebuilt");
        }
    } while (!orders.empty());
    co_return Result<void>();
}

Task<Result<InventoryCount>> RedisInventory::count(SaleNo sale, OrderLog&) {
    const std::vector<std::string> no_arguments;
    auto answer = co_await run(scripts_.look, sale, no_arguments);
    if (!answer) co_return tl::make_unexpected(std::move(answer.error()));
    if (!answer->status || !answer->status->is_ok() || answer->items.size() != 3) {
        co_return tl::make_unexpected(cold(sale));
    }
    InventoryCount count;
    count.remaining = answer->status->remaining;
    count.terms_version = answer->status->version;
    count.moves = answer->status->moves;
    count.given_back = parse_number(answer->items[0].text);
    count.withdrawing = parse_number(answer->items[1].text);
    count.pending = parse_number(answer->items[2].text);
    co_return count;
}

Task<Result<std::vector<LogRecord>>> RedisInventory::pending(SaleNo sale, Duration older_than,
                                                             std::size_t records_max) {
    const std::vector<std::string> arguments{std::to_string(older_than.count()),
                                             std::to_string(std::min(records_max, kPendingAtOnce))};
    auto answer = co_await run(scripts_.pending, sale, arguments);
    if (!answer) co_return tl::make_unexpected(std::move(answer.error()));
    std::vector<LogRecord> records; // of a cold sale: none, its rebuild ends what it holds
    for (const Reply& item : answer->items) {
        auto record = parse_record(item.text);
        if (!record) co_return fail(Errc::corrupt, "a pending record in Redis");
        records.push_back(std::move(*record));
    }
    co_return records;
}

void RedisInventory::start() {
    auto rethrow = [](std::exception_ptr exception) {
        if (exception) std::rethrow_exception(exception);
    };
    boost::asio::co_spawn(cores_.at(0).executor(), keep_looking(), rethrow);
}

Task<void> RedisInventory::keep_looking() {
    std::size_t first = 0;
    for (int round = 1;; ++round) {
        co_await here().pause.pause(kLookSoldOut);
        const bool is_full = round % kLookAllEvery == 0;
        const auto sales =
            board_.shown(is_full ? SignalBoard::Which::all : SignalBoard::Which::sold_out);
        for (std::size_t i = 0; i < std::min(sales.size(), kLookMax); ++i) {
            const bool is_up = co_await look(sales[(first + i) % sales.size()]);
            if (!is_up) break;
        }
        first = sales.size() > kLookMax ? (first + kLookMax) % sales.size() : 0;
    }
}

Task<bool> RedisInventory::look(SaleNo sale) {
    const std::vector<std::string> no_arguments;
    const auto answer = co_await run(scripts_.look, sale, no_arguments);
    co_return answer.has_value();
}

} // namespace doorbuster::redis
