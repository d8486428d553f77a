#include "adapters/redis/inventory_wire.h"

#include <array>
#include <charconv>
#include <cstring>

namespace doorbuster::redis {
namespace {

// The word up to the next blank, which is taken off `rest`.
std::string_view next_word(std::string_view& rest) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return word;
}

template <class Integer> bool parse_whole(std::string_view text, Integer& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
}

std::string time_argument(TimePoint time) {
    return std::to_string(time.time_since_epoch().count());
}

constexpr Epoch kLeftOut{0}; // the script writes it into the record

} // namespace

std::optional<SaleStatus> parse_status(std::string_view line) {
    SaleStatus status;
    const std::string_view first = next_word(line);
    std::uint64_t epoch = 0;
    if (first == "ok") {
        status.health = SaleStatus::Health::ok;
        if (!parse_whole(next_word(line), epoch) || !parse_whole(next_word(line), status.moves) ||
            !parse_whole(next_word(line), status.version) ||
            !parse_whole(next_word(line), status.remaining)) {
            return std::nullopt;
        }
        status.epoch = Epoch(epoch);
        return status;
    }
    if (first != "cold") return std::nullopt;
    const std::string_view reason = next_word(line);
    if (reason == "building") {
        status.health = SaleStatus::Health::building;
    } else if (reason == "restarted") {
        status.health = SaleStatus::Health::restarted;
    } else if (reason == "failed_over") {
        status.health = SaleStatus::Health::failed_over;
    } else if (reason != "missing") {
        return std::nullopt;
    }
    if (!parse_whole(next_word(line), epoch)) return std::nullopt;
    status.epoch = Epoch(epoch);
    return status;
}

std::optional<SaleMessage> parse_message(std::string_view text) {
    SaleMessage message;
    std::uint32_t sale = 0;
    if (!parse_whole(next_word(text), sale)) return std::nullopt;
    message.sale = SaleNo(sale);
    message.what = next_word(text);
    const auto status = parse_status(text);
    if (!status) return std::nullopt;
    message.status = *status;
    return message;
}

std::optional<Decision> parse_decision(std::string_view answer) {
    if (answer.empty()) return std::nullopt;
    const auto decision = static_cast<Decision>(answer.front());
    switch (decision) {
    case Decision::held:
    case Decision::held_and_seen:
    case Decision::key_is_free:
    case Decision::bound_pending:
    case Decision::bound:
    case Decision::mismatch:
    case Decision::closed:
    case Decision::not_started:
    case Decision::paused:
    case Decision::sold_out:
    case Decision::limit_pending:
    case Decision::limit:
    case Decision::too_few:
    case Decision::pending_full: return decision;
    }
    return std::nullopt;
}

std::optional<OrderId> parse_order(std::string_view detail) {
    if (detail.size() != OrderId::kBytes) return std::nullopt;
    return OrderId::from_bytes(reinterpret_cast<const std::uint8_t*>(detail.data()));
}

std::optional<LogRecord> parse_record(std::string_view detail) {
    auto records = parse_records(detail, 1);
    if (!records) return std::nullopt;
    return std::move(records->front());
}

std::int64_t parse_number(std::string_view detail) {
    std::int64_t number = 0;
    return parse_whole(detail, number) ? number : 0;
}

std::string purchase_attempt(const PurchaseRequest& request) {
    std::string attempt;
    attempt.reserve(1 + 2 * 16 + 41 + request.user.size() + request.key.size());
    attempt.push_back(request.has_key() ? 'k' : 'p');
    append_print(attempt, request.user_print);
    if (request.has_key()) append_print(attempt, request.key_print);
    append_record(attempt, {LogRecordKind::order, request.sale, kLeftOut, request.order_id,
                            request.quantity, request.user, request.key, request.partition});
    return attempt;
}

std::string key_attempt(const PurchaseRequest& request) {
    std::string attempt(1, 'f');
    append_print(attempt, request.key_print);
    return attempt.append(std::to_string(request.quantity));
}

std::string withdrawal_attempt(const Withdrawal& withdrawal) {
    std::string attempt(1, 'w');
    append_record(attempt,
                  {LogRecordKind::withdraw, withdrawal.sale, kLeftOut, withdrawal.id,
                   withdrawal.units, withdrawal.who, withdrawal.key, withdrawal.partition});
    return attempt;
}

void append_order(std::string& out, const OrderId& order) {
    const auto& bytes = order.bytes();
    out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void append_print(std::string& out, const Fingerprint& print) {
    std::array<char, sizeof print.low + sizeof print.high> bytes;
    std::memcpy(bytes.data(), &print.low, sizeof print.low);
    std::memcpy(bytes.data() + sizeof print.low, &print.high, sizeof print.high);
    out.append(bytes.data(), bytes.size());
}

std::string hold_value(const Fingerprint& user, const OrderId* before, const OrderId* after,
                       Units units) {
    std::string value;
    append_print(value, user);
    if (before != nullptr || after != nullptr) {
        append_order(value, before == nullptr ? OrderId() : *before);
        append_order(value, after == nullptr ? OrderId() : *after);
    }
    return value.append(std::to_string(units));
}

std::string order_and_units(const OrderId& order, Units units) {
    std::string value;
    append_order(value, order);
    return value.append(std::to_string(units));
}

std::vector<std::string> terms_arguments(const SaleTerms& terms) {
    return {std::to_string(terms.version),
            std::to_string(terms.stock),
            std::to_string(terms.per_user_limit),
            time_argument(terms.starts_at),
            terms.ends_at ? time_argument(*terms.ends_at) : std::string(),
            terms.paused ? "1" : "0",
            terms.closed_at ? "1" : "0",
            std::to_string(terms.partition.get()),
            terms.id};
}

} // namespace doorbuster::redis
