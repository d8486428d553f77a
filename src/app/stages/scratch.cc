#include "app/stages/scratch.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <chrono>
#include <exception>
#include <future>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/kafka/topic.h"
#include "adapters/redis/client.h"
#include "runtime/core.h"

namespace doorbuster::stages {
namespace {

constexpr Duration kCallMax{5'000};
constexpr Duration kForgottenMax{5'000}; // where nobody cleaned up in order
constexpr std::string_view kKeysAtATime = "1000";

Task<Result<void>> unlink(redis::Client& client, std::vector<std::string> keys) {
    std::vector<std::string_view> words{"UNLINK"};
    words.insert(words.end(), keys.begin(), keys.end());
    const auto reply = co_await client.call(words, keys.front(), kCallMax);
    if (!reply) co_return tl::make_unexpected(reply.error());
    if (reply->is_error()) co_return fail(Errc::unavailable, "Redis: " + reply->text);
    co_return Result<void>();
}

// https://redis.io/commands/scan
Task<Result<void>> delete_all(redis::Client& client, std::string prefix) {
    const bool is_up = co_await client.wait_until_up(kCallMax);
    if (!is_up) co_return fail(Errc::unavailable, "Redis: " + client.state());
    const std::string pattern = prefix + "*";
    std::string cursor = "0";
    do {
        const std::vector<std::string_view> words{"SCAN",  cursor,  "MATCH",
                                                  pattern, "COUNT", kKeysAtATime};
        const auto reply = co_await client.call(words, "", kCallMax);
        if (!reply) co_return tl::make_unexpected(reply.error());
        if (!reply->is_array_of(2)) co_return fail(Errc::unavailable, "Redis: " + reply->text);
        cursor = reply->items[0].text;
        std::vector<std::string> keys;
        for (const redis::Reply& key : reply->items[1].items) keys.push_back(key.text);
        if (keys.empty()) continue;
        auto done = co_await unlink(client, std::move(keys));
        if (!done) co_return done;
    } while (cursor != "0");
    co_return Result<void>();
}

std::string database_name(std::string name) {
    std::ranges::replace(name, '-', '_');
    return name;
}

// The topic and the group that read it.
Result<void> delete_log(const std::string& brokers, const std::string& name, Duration wait_max) {
    kafka::Settings settings;
    settings.brokers = brokers;
    settings.topic = name;
    auto client = kafka::Client::open(settings, kafka::Role::reader, nullptr);
    if (!client) return tl::make_unexpected(std::move(client.error()));
    auto topic = kafka::delete_topic(*client, name, wait_max / 2);
    auto group = kafka::delete_group(*client, name, wait_max / 2);
    return topic ? group : topic;
}

} // namespace

Result<void> delete_keys(const std::string& redis_url, const std::string& prefix,
                         Duration wait_max) {
    auto options = redis::read_options(redis_url, {});
    if (!options) return tl::make_unexpected(std::move(options.error()));
    options->needs_noeviction = false;
    Cores cores(1);
    auto client = redis::Client::open(cores.at(0), std::move(*options));
    if (!client) return tl::make_unexpected(std::move(client.error()));
    cores.start();
    (*client)->start();
    std::promise<Result<void>> deleted;
    auto when_deleted = deleted.get_future();
    boost::asio::co_spawn(cores.at(0).executor(), delete_all(**client, prefix),
                          [&deleted](const std::exception_ptr& error, Result<void> result) {
                              if (error) std::rethrow_exception(error);
                              deleted.set_value(std::move(result));
                          });
    const bool is_done = when_deleted.wait_for(wait_max) == std::future_status::ready;
    cores.stop();
    if (!is_done) return fail(Errc::timeout, "deleting the keys " + prefix + "*");
    return when_deleted.get();
}

Result<std::unique_ptr<Scratch>> Scratch::make(const Engines& engines, const std::string& name) {
    auto folder = ScratchFolder::make();
    if (!folder) return tl::make_unexpected(std::move(folder.error()));
    std::unique_ptr<Scratch> scratch(new Scratch(engines, name, std::move(*folder)));
    if (engines.store.empty()) return scratch;
    auto database = sql::ScratchDatabase::make(engines.store, database_name(name));
    if (!database) {
        scratch->is_clean_ = true;
        return tl::make_unexpected(std::move(database.error()));
    }
    scratch->database_ = std::move(*database);
    return scratch;
}

Scratch::~Scratch() { static_cast<void>(clean_up(kForgottenMax)); }

std::string Scratch::store_url() const {
    return database_ ? database_->url() : "sqlite:" + folder() + "/orders.db";
}

Result<void> Scratch::clean_up(Duration wait_max) {
    if (std::exchange(is_clean_, true)) return {};
    Result<void> first;
    const auto note = [&first](Result<void> done) {
        if (first && !done) first = std::move(done);
    };
    if (database_) note(database_->drop());
    if (!engines_.redis.empty()) note(delete_keys(engines_.redis, name_ + ":", wait_max));
    if (!engines_.kafka.empty()) note(delete_log(engines_.kafka, name_, wait_max));
    return first;
}

} // namespace doorbuster::stages
