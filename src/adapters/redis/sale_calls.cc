#include "adapters/redis/sale_calls.h"

#include <chrono>

#include "adapters/redis/sale_keys.h"

namespace doorbuster::redis {
namespace {

// One call, and all of them together: a Redis that comes back within the latter is waited for.
constexpr Duration kCallMax{1'500};
constexpr Duration kInsistMax{5'000};
constexpr Duration kAwayPause{100};

Result<SaleCalls::Answer> read(Reply reply) {
    if (reply.is_error()) return fail(Errc::unavailable, "Redis: " + reply.text);
    if (!reply.is(Reply::Kind::array) || reply.items.empty()) {
        return fail(Errc::unavailable, "Redis: an answer that no script of ours gives");
    }
    SaleCalls::Answer answer;
    answer.word = std::move(reply.items.front().text);
    answer.status = parse_status(answer.word);
    answer.items.assign(std::make_move_iterator(reply.items.begin() + 1),
                        std::make_move_iterator(reply.items.end()));
    return answer;
}

} // namespace

SaleCalls::SaleCalls(Commands& commands, const Clock& clock, std::string prefix)
    : commands_(commands),
      clock_(clock),
      prefix_(std::move(prefix)),
      channel_(channel_of(prefix_)) {}

Task<Result<SaleCalls::Answer>> SaleCalls::run(const Script& script, SaleNo sale,
                                               std::span<const std::string> arguments,
                                               std::span<const std::string> more_keys) {
    const SaleKeys names(prefix_, sale);
    auto keys = names.views();
    keys.insert(keys.end(), more_keys.begin(), more_keys.end());
    const std::string number = std::to_string(sale.get());
    std::vector<std::string_view> words;
    words.reserve(2 + arguments.size());
    words.assign({channel_, number});
    words.insert(words.end(), arguments.begin(), arguments.end());
    const std::int64_t until_ns = clock_.steady_ns() + std::chrono::nanoseconds(kInsistMax).count();
    bool may_be_done = false;
    for (;;) {
        auto reply = co_await commands_.run(script, keys, words, names.routing_key(), kCallMax);
        if (reply) co_return read(std::move(*reply));
        const bool is_away = !reply.error().is(Errc::timeout);
        may_be_done = may_be_done || !is_away;
        if (!may_be_done) co_return tl::make_unexpected(std::move(reply.error()));
        if (clock_.steady_ns() >= until_ns) {
            co_return fail(Errc::timeout, reply.error().context);
        }
        if (is_away) co_await commands_.pause(kAwayPause);
    }
}

} // namespace doorbuster::redis
