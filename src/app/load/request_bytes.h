// RequestBytes: a purchase as it goes over the wire, built once a connection. Only the buyer's
// number and the quantity differ between requests, and they are patched in place: no request is
// composed anew. One connection's thread owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "app/load/plan.h"

namespace doorbuster::load {

struct RequestShape {
    std::string authority;   // for the Host header
    std::string path;        // "/v1/sales/ID/purchases"
    std::string user_prefix; // user ids are this and the buyer's number
    std::uint64_t buyers = 1;
    Units quantity_max = 1;
    bool keys = false; // Idempotency-Key: load- and the buyer's number
};

// How many digits buyers' numbers are written with: at least 6, so that "buyer-000001" sorts.
[[nodiscard]] std::size_t buyer_digits(std::uint64_t buyers);

class RequestBytes {
public:
    explicit RequestBytes(const RequestShape& shape);

    // Views of the same memory each time.
    [[nodiscard]] std::string_view for_attempt(const Attempt& attempt);
    [[nodiscard]] std::string_view user_id() const {
        return std::string_view(bytes_).substr(user_at_, user_size_);
    }

private:
    std::string bytes_;
    std::size_t digits_;
    std::size_t user_at_ = 0;
    std::size_t user_size_ = 0;
    std::size_t key_number_at_ = 0; // 0: no key
    std::size_t quantity_at_ = 0;
    std::size_t quantity_digits_;
};

} // namespace doorbuster::load
