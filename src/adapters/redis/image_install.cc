#include "adapters/redis/image_install.h"

#include <boost/asio/post.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <span>

#include "adapters/redis/sale_keys.h"

namespace doorbuster::redis {
namespace {

// Fields and values of one call: Redis takes a millisecond for so many.
constexpr std::size_t kStageAtOnce = 1'000;
// What a process that died has staged is gone after this; a part is staged in milliseconds, and
// each puts it off again.
constexpr const char* kStagedKeptMs = "600000";
// Orders that are looked at before others on this core have a turn: some milliseconds' worth.
constexpr std::size_t kTurn = 8'192;

} // namespace

// A user's orders are a line through `image.live`, by index.
struct ImageInstall::Line {
    static constexpr std::uint32_t kNone = UINT32_MAX;
    std::uint32_t last = kNone;
    Units units = 0;
};

ImageInstall::ImageInstall(SaleCalls& calls, const InventoryScripts& scripts,
                           const std::string& prefix, const SaleImage& image, std::uint64_t attempt)
    : calls_(calls),
      scripts_(scripts),
      image_(image),
      epoch_(std::to_string(image.epoch.get())),
      staged_(staged_keys(prefix, image.terms.no, image.epoch, attempt)) {}

Task<Result<std::optional<SaleStatus>>> ImageInstall::run() {
    using Installed = Result<std::optional<SaleStatus>>;
    const auto staged = co_await stage_all();
    if (!staged || *staged == Staged::overtaken) {
        co_await drop();
        if (!staged) co_return tl::make_unexpected(staged.error());
        co_return Installed();
    }
    auto answer = co_await swap_in();
    if (answer && answer->status && answer->status->is_ok()) co_return Installed(answer->status);
    co_await drop();
    if (!answer) co_return tl::make_unexpected(std::move(answer.error()));
    if (answer->word == "overtaken") co_return Installed();
    co_return fail(Errc::unavailable, "Redis lost a part of the rebuilt sale: " + answer->word);
}

Task<Result<ImageInstall::Staged>> ImageInstall::stage_all() {
    auto staged = co_await stage_holds();
    if (staged && *staged == Staged::yes) staged = co_await stage_keys();
    co_return staged;
}

Task<Result<ImageInstall::Staged>> ImageInstall::stage_holds() {
    const auto& live = image_.live;
    boost::unordered_flat_map<Fingerprint, Line, FingerprintHash> lines;
    std::vector<std::uint32_t> before(live.size(), Line::kNone);
    std::vector<std::uint32_t> after(live.size(), Line::kNone);
    for (std::size_t i = 0; i < live.size(); ++i) {
        const auto index = static_cast<std::uint32_t>(i);
        Line& line = lines[live[i].user];
        before[i] = line.last;
        if (line.last != Line::kNone) after[line.last] = index;
        line.last = index;
        line.units += live[i].quantity;
        held_ += live[i].quantity;
        if (i % kTurn == kTurn - 1) co_await boost::asio::post(use_task);
    }
    counts_[users] = lines.size();
    counts_[orders] = live.size();

    const auto order_at = [&live](std::uint32_t index) {
        return index == Line::kNone ? nullptr : &live[index].order;
    };
    std::vector<std::string> entries;
    for (std::size_t i = 0; i < live.size(); ++i) {
        append_order(entries.emplace_back(), live[i].order);
        entries.push_back(
            hold_value(live[i].user, order_at(before[i]), order_at(after[i]), live[i].quantity));
        const auto staged = co_await stage(orders, entries, When::enough);
        if (!staged || *staged == Staged::overtaken) co_return staged;
    }
    auto staged = co_await stage(orders, entries, When::now);
    if (!staged || *staged == Staged::overtaken) co_return staged;
    for (const auto& [user, line] : lines) {
        append_print(entries.emplace_back(), user);
        entries.push_back(order_and_units(live[line.last].order, line.units));
        staged = co_await stage(users, entries, When::enough);
        if (!staged || *staged == Staged::overtaken) co_return staged;
    }
    co_return co_await stage(users, entries, When::now);
}

Task<Result<ImageInstall::Staged>> ImageInstall::stage_keys() {
    boost::unordered_flat_set<Fingerprint, FingerprintHash> known; // the first of a key counts
    std::vector<std::string> entries;
    const auto add = [&](const Fingerprint& key, const OrderId& order, Units quantity) {
        if (!known.insert(key).second) return;
        append_print(entries.emplace_back(), key);
        entries.push_back(order_and_units(order, quantity));
    };
    for (const OrderPlaced& order : image_.live) {
        if (!order.key) continue;
        add(*order.key, order.order, order.quantity);
        const auto staged = co_await stage(keys, entries, When::enough);
        if (!staged || *staged == Staged::overtaken) co_return staged;
    }
    for (const SaleImage::Key& bound : image_.keys_of_finished) {
        add(bound.key, bound.order, bound.quantity);
        const auto staged = co_await stage(keys, entries, When::enough);
        if (!staged || *staged == Staged::overtaken) co_return staged;
    }
    counts_[keys] = known.size();
    co_return co_await stage(keys, entries, When::now);
}

Task<Result<ImageInstall::Staged>> ImageInstall::stage(Part part, std::vector<std::string>& entries,
                                                       When when) {
    if (entries.empty() || (when == When::enough && entries.size() < 2 * kStageAtOnce)) {
        co_return Staged::yes;
    }
    entries.insert(entries.begin(), {epoch_, kStagedKeptMs});
    const std::span<const std::string> key(&staged_[part], 1);
    auto answer = co_await calls_.run(scripts_.stage, image_.terms.no, entries, key);
    entries.clear();
    if (!answer) co_return tl::make_unexpected(std::move(answer.error()));
    co_return answer->word == "ok" ? Staged::yes : Staged::overtaken;
}

Task<Result<SaleCalls::Answer>> ImageInstall::swap_in() {
    std::vector<std::string> arguments{epoch_,
                                       std::to_string(counts_[users]),
                                       std::to_string(counts_[orders]),
                                       std::to_string(counts_[keys]),
                                       std::to_string(held_ + image_.units_elsewhere),
                                       std::to_string(image_.given_back)};
    for (std::string& term : terms_arguments(image_.terms)) arguments.push_back(std::move(term));
    co_return co_await calls_.run(scripts_.install, image_.terms.no, arguments, staged_);
}

// Where that fails, time does it.
Task<void> ImageInstall::drop() {
    const std::span<const std::string> nothing;
    static_cast<void>(co_await calls_.run(scripts_.drop, image_.terms.no, nothing, staged_));
}

} // namespace doorbuster::redis
