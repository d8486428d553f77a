#include "adapters/sql/dead_letter_row.h"

#include <algorithm>

#include "adapters/sql/sql_text.h"

namespace doorbuster::sql {
namespace {

constexpr std::size_t kCauseMax = 1'000; // bytes: for people

char hex_digit(unsigned value) { return "0123456789abcdef"[value & 15U]; }

// How many bytes the character at the start takes; 0: it is none that may stand in a text
// (RFC 3629).
std::size_t character_at(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    if (first == 0) return 0;
    if (first < 0x80) return 1;
    const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80) return 0;
    }
    const unsigned second = byte(1);
    const bool is_wrong = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                          (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
    return is_wrong ? 0 : length;
}

} // namespace

std::string storable_text(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        std::size_t length = character_at(text);
        if (length == 0) {
            const auto byte = static_cast<unsigned char>(text[0]);
            out += {'%', hex_digit(byte >> 4U), hex_digit(byte)};
            length = 1;
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(length);
    }
    return out;
}

DeadLetterRow::DeadLetterRow(const LogRecord& record, std::string_view why, Integer now)
    : order_id(record.order.text()),
      user(storable_text(record.user)),
      key(storable_text(record.key)),
      cause(storable_text(why.substr(0, kCauseMax))),
      sale_no(record.sale.get()),
      quantity(record.quantity),
      set_aside_at(now) {}

void DeadLetterRow::make_unreadable(LogPlace place, std::string_view bytes) {
    const auto partition = static_cast<std::uint16_t>(place.partition.get());
    order_id = OrderId(SaleNo(0), TimePoint(), partition, place.position.get()).text();
    user.clear();
    key.clear();
    sale_no = 0;
    quantity = 0;
    for (const char c : bytes.substr(0, kUnreadableMax)) {
        const auto byte = static_cast<unsigned char>(c);
        raw += {hex_digit(byte >> 4U), hex_digit(byte)};
    }
}

void DeadLetterRow::insert(Session& session) const {
    session.run(text::insert_dead_letter, soci::use(order_id, "order_id"),
                soci::use(sale_no, "sale_no"), soci::use(user, "user_id"),
                soci::use(quantity, "quantity"), soci::use(key, "idempotency_key"),
                soci::use(cause, "cause"), soci::use(is_counted, "is_counted"),
                soci::use(raw, "raw"), soci::use(set_aside_at, "set_aside_at"));
}

} // namespace doorbuster::sql
