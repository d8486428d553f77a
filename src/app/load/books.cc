#include "app/load/books.h"

#include <algorithm>
#include <fmt/format.h>

namespace doorbuster::load {
namespace {

// A server that refuses everybody for the limit must not fill the memory: from then on such
// refusals are believed.
constexpr std::size_t kLimitedMax = 1'000'000;
// Room made in advance, at most: 160 MB. Beyond it the maps grow by themselves, with a pause of
// about half a second each time.
constexpr std::uint64_t kRoomMax = 4'000'000;

} // namespace

// Nobody aims at collisions here, so the key is fixed. Of the 128 bits 64 are kept: among 10^7
// orders two are mixed up with a probability of 3 in 10^6.
Books::Books(const BooksShape& shape) : shape_(shape), prints_(0x646f6f72, 0x627573746572) {
    const std::uint64_t room = std::min(shape.orders_expected, kRoomMax);
    buyers_.reserve(room);
    owners_.reserve(room);
}

std::uint64_t Books::order_print(std::string_view order_id) const {
    return prints_.of(order_id).low;
}

std::uint64_t Books::answer_print(std::string_view order_id, std::string_view created_at) const {
    return prints_.of(prints_.of(order_id), created_at).low;
}

Books::Entry Books::enter(Buyer& entry, std::uint64_t buyer, Units quantity, std::uint64_t order) {
    Entry out;
    out.is_new = true;
    entry.has_order = true;
    entry.units += static_cast<std::uint32_t>(quantity);
    units_ += quantity;
    const auto [owner, is_first] = owners_.try_emplace(order, buyer);
    if (!is_first) {
        out.complaint =
            fmt::format("one order id was given to buyer {} and to buyer {}", owner->second, buyer);
    } else if (entry.units > shape_.sale.per_user_limit) {
        out.complaint = fmt::format("buyer {} has {} units, the limit is {}", buyer, entry.units,
                                    shape_.sale.per_user_limit);
    }
    return out;
}

Books::Entry Books::accepted(std::uint64_t buyer, Units quantity, std::string_view order_id,
                             std::string_view created_at) {
    const std::uint64_t order = order_print(order_id);
    const std::uint64_t answer = shape_.keys ? answer_print(order_id, created_at) : 0;
    const std::scoped_lock lock(mutex_);
    Buyer& entry = buyers_[buyer];
    if (!shape_.keys) return enter(entry, buyer, quantity, order);
    if ((entry.has_order || entry.has_replay) && entry.answer != answer) {
        return {true, fmt::format("buyer {} has two orders under one key", buyer)};
    }
    if (entry.has_order) {
        // Entered already: by a replay after a lost answer, if the server is right.
        if (entry.has_unknown) return {};
        return {true, fmt::format("buyer {} got one order twice, the second time not as a replay",
                                  buyer)};
    }
    entry.answer = answer;
    return enter(entry, buyer, quantity, order);
}

Books::Entry Books::replayed(std::uint64_t buyer, Units quantity, std::string_view order_id,
                             std::string_view created_at) {
    const std::uint64_t order = order_print(order_id);
    const std::uint64_t answer = answer_print(order_id, created_at);
    const std::scoped_lock lock(mutex_);
    Buyer& entry = buyers_[buyer];
    if ((entry.has_order || entry.has_replay) && entry.answer != answer) {
        return {false, fmt::format("a replay to buyer {} differs from the first answer", buyer)};
    }
    entry.answer = answer;
    entry.has_replay = true;
    // The first answer was lost on its way: this is how the buyer learns of the order.
    if (!entry.has_order && entry.has_unknown) return enter(entry, buyer, quantity, order);
    return {};
}

std::string Books::limit_reached(std::uint64_t buyer, Units quantity, std::string_view order_id) {
    const std::scoped_lock lock(mutex_);
    if (!order_id.empty()) {
        const auto owner = owners_.find(order_print(order_id));
        if (owner != owners_.end() && owner->second != buyer) {
            return fmt::format("limit_reached shows buyer {} the order of buyer {}", buyer,
                               owner->second);
        }
    }
    const Units limit = shape_.sale.per_user_limit;
    if (quantity > limit) return {};
    const bool is_fresh = shape_.sale.sold() == 0; // our buyers have no orders from before
    if (!is_fresh) return {};
    if (shape_.keys) {
        return fmt::format("limit_reached for buyer {}, who can only have the order of the key",
                           buyer);
    }
    const auto entry = buyers_.find(buyer);
    if (entry != buyers_.end() &&
        (entry->second.has_unknown || entry->second.units + quantity > limit)) {
        return {};
    }
    if (limited_.size() < kLimitedMax) {
        const auto [known, is_first] = limited_.try_emplace(buyer, quantity);
        if (!is_first) known->second = std::min(known->second, quantity);
    }
    return {};
}

std::string Books::idempotency_mismatch(std::uint64_t buyer) const {
    // This run asks for one quantity a key, so an earlier one must have bound it. Its orders keep
    // their units where nobody has to pay.
    const SaleFacts& before = shape_.sale;
    if (before.sold() > 0 || before.payment_timeout_s != 0) return {};
    return fmt::format("idempotency_mismatch for buyer {}, on a sale that had no orders before",
                       buyer);
}

void Books::outcome_unknown(std::uint64_t buyer) {
    const std::scoped_lock lock(mutex_);
    buyers_[buyer].has_unknown = true;
}

bool Books::is_bound(std::uint64_t buyer) {
    const std::scoped_lock lock(mutex_);
    const auto entry = buyers_.find(buyer);
    return entry != buyers_.end() && (entry->second.has_order || entry->second.has_replay);
}

Units Books::units() {
    const std::scoped_lock lock(mutex_);
    return units_;
}

void Books::close_stock(const End& end, std::vector<std::string>& out) const {
    const SaleFacts& before = shape_.sale;
    const SaleFacts& after = end.sale;
    const Units stock = std::max(before.stock, after.stock);
    // A unit comes back to the sale only by an unpaid order that expires or by a buyer's cancel,
    // and our buyers never cancel.
    const auto timeout_s = static_cast<double>(before.payment_timeout_s);
    const bool keeps_units = before.payment_timeout_s == 0 || end.seconds < timeout_s;
    if (keeps_units && units_ > stock) {
        out.push_back(fmt::format("oversold: {} units accepted, the stock is {}", units_, stock));
    }
    if (before.payment_timeout_s != 0) return;
    const Units sold = after.sold() - before.sold();
    if (sold < units_) {
        out.push_back(fmt::format("{} units accepted, but the sale's books moved by {} (from {} "
                                  "of {} sold to {} of {})",
                                  units_, sold, before.sold(), before.stock, after.sold(),
                                  after.stock));
    }
    const Units refused = end.sold_out_quantity_min;
    if (end.is_undisturbed && refused > 0 && before.stock == after.stock &&
        after.remaining >= refused) {
        out.push_back(fmt::format("sold_out was answered to a buyer of {}, but {} units are left",
                                  refused, after.remaining));
    }
}

std::vector<std::string> Books::close(const End& end) {
    const std::scoped_lock lock(mutex_);
    std::vector<std::string> out;
    close_stock(end, out);
    for (const auto& [buyer, quantity] : limited_) {
        const auto entry = buyers_.find(buyer);
        const bool is_known = entry != buyers_.end();
        if (is_known && entry->second.has_unknown) continue;
        const Units units = is_known ? entry->second.units : 0;
        if (units + quantity > shape_.sale.per_user_limit) continue;
        out.push_back(fmt::format("limit_reached for buyer {}, who has {} units and asked for {}; "
                                  "the limit is {}",
                                  buyer, units, quantity, shape_.sale.per_user_limit));
    }
    if (shape_.sale.sold() == 0) {
        for (const auto& [buyer, entry] : buyers_) {
            if (!entry.has_replay || entry.has_order || entry.has_unknown) continue;
            out.push_back(fmt::format("buyer {} got a replay, but never the order itself", buyer));
        }
    }
    return out;
}

} // namespace doorbuster::load
