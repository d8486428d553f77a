#include "app/redis_shop.h"

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <spdlog/spdlog.h>
#include <utility>

#include "app/random.h"

namespace doorbuster {
namespace {

constexpr std::chrono::milliseconds kLookEvery{100}; // at the clients' state, for /readyz

using Steady = std::chrono::steady_clock;
using Timer = boost::asio::basic_waitable_timer<Steady, boost::asio::wait_traits<Steady>, Executor>;

} // namespace

Result<std::unique_ptr<RedisShop>> RedisShop::open(const Config& config,
                                                   const std::string& store_name, Cores& cores,
                                                   const Clock& clock,
                                                   std::function<void()> look_soon) {
    auto options = redis::read_options(config.redis.url, config.redis.nodes);
    if (!options) return tl::make_unexpected(std::move(options.error()));
    options->tls_ca = config.redis.tls_ca;
    std::unique_ptr<RedisShop> shop(new RedisShop(cores));
    std::vector<redis::Commands*> commands;
    for (std::size_t i = 0; i < cores.size(); ++i) {
        redis::ClientOptions mine = *options;
        if (i == 0) { // one voice is enough
            mine.tell = [](const std::string& text) { spdlog::warn("redis: {}", text); };
        }
        auto client = redis::Client::open(cores.at(i), std::move(mine));
        if (!client) return tl::make_unexpected(std::move(client.error()));
        shop->clients_.push_back(std::move(*client));
        shop->commands_.push_back(std::make_unique<redis::ClientCommands>(*shop->clients_.back()));
        commands.push_back(shop->commands_.back().get());
    }
    redis::InventoryOptions selling;
    selling.prefix = config.redis.prefix + ":" + store_name;
    selling.process = static_cast<std::uint32_t>(random_number());
    selling.callbacks.on_terms = [look_soon](SaleNo, std::int64_t) { look_soon(); };
    selling.callbacks.on_cold = [look_soon](SaleNo) { look_soon(); };
    selling.callbacks.on_installed = [look_soon](SaleNo, Epoch) { look_soon(); };
    selling.tell = [](const std::string& text) { spdlog::warn("inventory: {}", text); };
    shop->inventory_ = std::make_unique<redis::RedisInventory>(cores, std::move(commands), clock,
                                                               std::move(selling));
    redis::Subscription::Callbacks hearing;
    hearing.on_message = [raw = shop.get()](std::string_view, std::string_view message) {
        raw->inventory_->hear(message);
    };
    hearing.on_connected = look_soon; // messages may have been lost
    auto subscription = redis::Subscription::open(
        cores.at(0), std::move(*options), {shop->inventory_->channel()}, std::move(hearing));
    if (!subscription) return tl::make_unexpected(std::move(subscription.error()));
    shop->subscription_ = std::move(*subscription);
    return shop;
}

void RedisShop::start() {
    for (const auto& client : clients_) client->start();
    subscription_->start();
    inventory_->start();
    boost::asio::co_spawn(cores_.at(0).executor(), watch(), rethrow);
}

void RedisShop::stop() {
    subscription_->close();
    for (const auto& client : clients_) client->close();
}

std::vector<redis::Client*> RedisShop::clients() const {
    std::vector<redis::Client*> all;
    for (const auto& client : clients_) all.push_back(client.get());
    return all;
}

std::uint64_t RedisShop::calls() const {
    std::uint64_t sum = 0;
    for (const auto& client : clients_) sum += client->calls();
    return sum;
}

std::string RedisShop::state() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

Task<void> RedisShop::watch() {
    Timer timer(co_await boost::asio::this_coro::executor);
    for (;;) {
        {
            std::string state = clients_[0]->state();
            const std::lock_guard lock(mutex_);
            state_ = std::move(state);
        }
        timer.expires_after(kLookEvery);
        co_await timer.async_wait(use_task);
    }
}

} // namespace doorbuster
