#include "domain/ids.h"

#include <algorithm>
#include <cstring>

namespace doorbuster {
namespace {

// Crockford's base 32 (www.crockford.com/base32.html): no i, l, o, u.
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";

constexpr std::array<std::int8_t, 256> make_values() {
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
        values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
    }
    return values;
}
constexpr auto kValues = make_values();

void put_be(std::uint8_t* out, std::uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) {
        out[i] = static_cast<std::uint8_t>(value & 0xff);
        value >>= 8;
    }
}

std::uint64_t get_be(const std::uint8_t* in, int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | in[i];
    return value;
}

// The length of the UTF-8 sequence at the front of `text` if it is well formed and printable
// (RFC 3629; control characters U+0000-001F, U+007F-009F refused), else 0.
std::size_t printable_utf8(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
    const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
    std::uint32_t code = lead & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return 0;
        code = code << 6 | (byte(i) & 0x3fU);
    }
    const std::uint32_t smallest = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    if (code < smallest || code > 0x10ffff || surrogate || code < 0xa0) return 0;
    return length;
}

bool is_printable(std::string_view text, std::size_t characters_max) {
    std::size_t characters = 0;
    while (!text.empty()) {
        const std::size_t length = printable_utf8(text);
        if (length == 0 || ++characters > characters_max) return false;
        text.remove_prefix(length);
    }
    return true;
}

} // namespace

bool is_sale_id(std::string_view text) {
    if (text.empty() || text.size() > kSaleIdMax || text.front() == '-') return false;
    return std::ranges::all_of(
        text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

bool is_user_id(std::string_view text) {
    if (text.empty() || text.front() == ' ' || text.back() == ' ') return false;
    return is_printable(text, kUserIdMax);
}

bool is_idempotency_key(std::string_view text) {
    return !text.empty() && is_printable(text, kIdempotencyKeyMax);
}

OrderId::OrderId(SaleNo sale, TimePoint created_at, std::uint16_t unique_high,
                 std::uint64_t unique_low) {
    put_be(bytes_.data(), sale.get(), 4);
    put_be(bytes_.data() + 4, static_cast<std::uint64_t>(created_at.time_since_epoch().count()), 6);
    put_be(bytes_.data() + 10, unique_high, 2);
    put_be(bytes_.data() + 12, unique_low, 8);
}

std::optional<OrderId> OrderId::parse(std::string_view text) {
    if (text.size() != kTextLength) return std::nullopt;
    OrderId id;
    for (std::size_t group = 0; group < 4; ++group) { // 8 characters are 5 bytes
        std::uint64_t bits = 0;
        for (std::size_t i = 0; i < 8; ++i) {
            const int value = kValues[static_cast<unsigned char>(text[group * 8 + i])];
            if (value < 0) return std::nullopt;
            bits = bits << 5 | static_cast<std::uint64_t>(value);
        }
        put_be(id.bytes_.data() + group * 5, bits, 5);
    }
    return id;
}

OrderId OrderId::first_of(SaleNo sale) { return {sale, TimePoint{}, 0, 0}; }

OrderId OrderId::last_of(SaleNo sale) {
    constexpr Duration kLastMoment{(1LL << 48) - 1};
    return {sale, TimePoint(kLastMoment), UINT16_MAX, UINT64_MAX};
}

OrderId OrderId::from_bytes(const std::uint8_t* bytes) {
    OrderId id;
    std::memcpy(id.bytes_.data(), bytes, kBytes);
    return id;
}

std::string OrderId::text() const {
    std::string out(kTextLength, '0');
    for (std::size_t group = 0; group < 4; ++group) {
        std::uint64_t bits = get_be(bytes_.data() + group * 5, 5);
        for (std::size_t i = 8; i-- > 0;) {
            out[group * 8 + i] = kAlphabet[bits & 31];
            bits >>= 5;
        }
    }
    return out;
}

SaleNo OrderId::sale() const {
    return SaleNo(static_cast<std::uint32_t>(get_be(bytes_.data(), 4)));
}

TimePoint OrderId::created_at() const {
    return TimePoint(Duration(static_cast<std::int64_t>(get_be(bytes_.data() + 4, 6))));
}

std::size_t OrderIdHash::operator()(const OrderId& id) const noexcept {
    // The counter and the time differ between any two ids of a process: mix both.
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    std::memcpy(&low, id.bytes().data() + 12, 8);
    std::memcpy(&high, id.bytes().data() + 4, 8);
    std::uint64_t x = low ^ (high * 0x9e3779b97f4a7c15U);
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93U;
    return x ^ (x >> 32);
}

} // namespace doorbuster
