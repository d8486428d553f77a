// What the inventory's scripts are told and what they answer, as bytes: see inventory_sale.lua and
// inventory_decide.lua. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "domain/ids.h"
#include "domain/purchase.h"
#include "domain/sale.h"
#include "ports/inventory.h"

namespace doorbuster::redis {

// The status line that every answer begins with.
struct SaleStatus {
    enum class Health : std::uint8_t {
        ok,
        building,    // a rebuild of `epoch` is under way
        missing,     // Redis knows nothing of the sale
        restarted,   // another life of the server: what it has may be old
        failed_over, // another server
    };
    Health health = Health::missing;
    Epoch epoch;              // of what is installed, or is being built
    std::int64_t moves = 0;   // this and the rest of a sale that is ok
    std::int64_t version = 0; // of the terms
    Units remaining = 0;

    [[nodiscard]] bool is_ok() const { return health == Health::ok; }
    // Grows with whatever changes `remaining`, within an epoch.
    [[nodiscard]] std::int64_t stamp() const { return moves + version; }
};

// nullopt: not a status line.
[[nodiscard]] std::optional<SaleStatus> parse_status(std::string_view line);

// "SALE WHAT STATUS", as the scripts publish it.
struct SaleMessage {
    SaleNo sale;
    std::string_view what; // "stock", "terms", "cold", "installed"
    SaleStatus status;
};
[[nodiscard]] std::optional<SaleMessage> parse_message(std::string_view text);

// How an attempt was decided; the characters are the script's.
enum class Decision : char {
    held = 'Y',          // its record is to be appended
    held_and_seen = 'S', // it has been seen in the log
    key_is_free = '-',
    bound_pending = 'P', // detail: the bound order's record
    bound = 'R',         // detail: the bound order
    mismatch = 'M',
    closed = 'C',
    not_started = 'N', // detail: milliseconds
    paused = 'H',
    sold_out = '0',
    limit_pending = 'L', // detail: the latest order's record
    limit = 'l',         // detail: the latest order, or nothing
    too_few = 'F',       // detail: how many are left
    pending_full = 'O',
};
// nullopt: no answer that we know.
[[nodiscard]] std::optional<Decision> parse_decision(std::string_view answer);

// What stands behind a Decision's character.
[[nodiscard]] std::optional<OrderId> parse_order(std::string_view detail);
[[nodiscard]] std::optional<LogRecord> parse_record(std::string_view detail);
[[nodiscard]] std::int64_t parse_number(std::string_view detail); // 0: not one

// Attempts, for the decide script.
[[nodiscard]] std::string purchase_attempt(const PurchaseRequest& request);
[[nodiscard]] std::string key_attempt(const PurchaseRequest& request);
[[nodiscard]] std::string withdrawal_attempt(const Withdrawal& withdrawal);

void append_order(std::string& out, const OrderId& order);     // 20 bytes
void append_print(std::string& out, const Fingerprint& print); // 16 bytes
// A hold as the hash `orders` has it; `before` and `after` are null where there is none.
[[nodiscard]] std::string hold_value(const Fingerprint& user, const OrderId* before,
                                     const OrderId* after, Units units);
// As the hashes `users` and `keys` have it.
[[nodiscard]] std::string order_and_units(const OrderId& order, Units units);

// As write_terms() in inventory_sale.lua takes them.
[[nodiscard]] std::vector<std::string> terms_arguments(const SaleTerms& terms);

} // namespace doorbuster::redis
