#include "adapters/redis/stock_counters.h"

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <charconv>
#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <utility>

#include "base/assert.h"

namespace doorbuster::redis {
namespace {

constexpr Duration kCallWaitMax{1'000};
// Two calls, and a core that is busy: more, and the transaction around it holds its row too long.
constexpr std::chrono::milliseconds kRaiseWaitMax{3'000};

std::optional<std::int64_t> number_of(const std::string& text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

} // namespace

StockCounters::StockCounters(Cores& cores, std::vector<Client*> clients, std::string prefix)
    : cores_(cores), clients_(std::move(clients)), prefix_(std::move(prefix)) {
    DB_ASSERT(clients_.size() == cores_.size());
}

Client& StockCounters::client_here() const {
    for (std::size_t i = 0; i < cores_.size(); ++i) {
        if (cores_.at(i).is_here()) return *clients_[i];
    }
    DB_ASSERT(!"called on a core that is none of these");
    return *clients_.front();
}

std::string StockCounters::key_of(std::string_view what, SaleNo sale) const {
    return prefix_ + ":stock_" + std::string(what) + "_" + std::to_string(sale.get());
}

Task<Result<std::int64_t>> StockCounters::get(std::string key) {
    const std::array<std::string_view, 2> words{"GET", key};
    const auto reply = co_await client_here().call(words, key, kCallWaitMax);
    if (!reply) co_return tl::make_unexpected(reply.error());
    const auto number = reply->is(Reply::Kind::text) ? number_of(reply->text) : std::nullopt;
    if (!number) co_return fail(Errc::unavailable, "Redis has no number under " + key);
    co_return *number;
}

Task<Result<void>> StockCounters::write(std::string command, std::string key, std::string value) {
    const std::array<std::string_view, 3> words{command, key, value};
    const auto reply = co_await client_here().call(words, key, kCallWaitMax);
    if (!reply) co_return tl::make_unexpected(reply.error());
    if (reply->is_error()) co_return fail(Errc::unavailable, "Redis: " + reply->text);
    co_return Result<void>();
}

Task<Result<StockSighting>> StockCounters::look_at_units(SaleNo sale) {
    const auto count = co_await get(key_of("count", sale));
    if (!count) co_return tl::make_unexpected(count.error());
    const auto sold = co_await get(key_of("sale", sale));
    if (!sold) co_return tl::make_unexpected(sold.error());
    StockSighting seen;
    seen.stock = *count;
    seen.sold = *sold;
    co_return seen;
}

Task<Result<void>> StockCounters::look_at_version(SaleNo sale, StockSighting& seen) {
    const auto version = co_await get(key_of("version", sale));
    if (!version) co_return tl::make_unexpected(version.error());
    seen.version = *version;
    co_return Result<void>();
}

Task<Result<void>> StockCounters::preheat(SaleNo sale, const StockSighting& stored) {
    const std::pair<const char*, std::int64_t> all[] = {
        {"count", stored.stock}, {"sale", stored.sold}, {"version", stored.version}};
    for (const auto& [what, number] : all) {
        auto written = co_await write("SET", key_of(what, sale), std::to_string(number));
        if (!written) co_return written;
    }
    co_return Result<void>();
}

Task<Result<void>> StockCounters::raise(SaleNo sale, Units units) {
    auto raised = co_await write("INCRBY", key_of("sale", sale), std::to_string(units));
    if (!raised) co_return raised;
    co_return co_await write("INCRBY", key_of("version", sale), "1");
}

Result<void> StockCounters::raise_blocking(SaleNo sale, Units units) {
    // Shared: whichever of the two comes last.
    const auto raised = std::make_shared<std::promise<Result<void>>>();
    auto when_raised = raised->get_future();
    boost::asio::co_spawn(cores_.owner_of(sale.get()).executor(), raise(sale, units),
                          [raised](const std::exception_ptr& exception, Result<void> result) {
                              if (exception) std::rethrow_exception(exception);
                              raised->set_value(std::move(result));
                          });
    if (when_raised.wait_for(kRaiseWaitMax) != std::future_status::ready) {
        return fail(Errc::timeout, "Redis' counters of the stock");
    }
    return when_raised.get();
}

} // namespace doorbuster::redis
