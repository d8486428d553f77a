// Errors as the contract writes them: application/problem+json (RFC 9457), one row a code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/http/json_in.h"
#include "adapters/http/message.h"
#include "base/error.h"
#include "domain/order.h"
#include "domain/purchase.h"

namespace doorbuster::http {

// The codes of contract.md section 3 that this version answers with.
enum class Code : std::uint8_t {
    sold_out,
    limit_reached,
    not_started,
    paused,
    closed,
    rate_limited,
    overloaded,
    unavailable,
    idempotency_mismatch,
    unauthorized,
    forbidden,
    not_found,
    method_not_allowed,
    timeout,
    payload_too_large,
    uri_too_long,
    unsupported_media_type,
    headers_too_large,
    invalid_request,
    already_exists,
    below_sold,
    not_payable,
    not_cancellable,
    invalid_state,
    lost_race,
};

[[nodiscard]] Code code_of(PurchaseOutcome outcome);
[[nodiscard]] std::string_view name_of(Code code);

// The plain problem with its standing detail; the body is prepared once and shared.
[[nodiscard]] Response problem(Code code);
[[nodiscard]] Response problem(Code code, std::string_view detail);
// invalid_request, naming the field.
[[nodiscard]] Response problem(const InvalidField& wrong);
// 409 to a change of the stock: so many units are free, the others are sold or on their way to it.
[[nodiscard]] Response below_sold(Units remaining);
// not_payable or not_cancellable: with the order's status, so that the caller can refund.
[[nodiscard]] Response refused_change(Code code, const Order& order);
// `unavailable`, for a backend that failed. The cause is for the operator, not for the buyer.
[[nodiscard]] Response problem(const Error& error);

// Turns a refused purchase into its answer. Owned by one core, for its jitter.
class RefusalWriter {
public:
    explicit RefusalWriter(std::uint16_t rate_limited_status)
        : rate_limited_status_(rate_limited_status) {}

    [[nodiscard]] Response write(const Refusal& refusal);
    // "Retry-After: n\r\n": whole seconds, rounded up, plus 0 to 2, so that those who were refused
    // together do not all return together.
    [[nodiscard]] std::string retry_after(Duration wait);

private:
    std::uint16_t rate_limited_status_;
    std::uint32_t jitter_ = 1; // xorshift state
};

} // namespace doorbuster::http
